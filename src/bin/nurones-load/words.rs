//! A command as one text, cut into its words as a shell would, quotes honoured and nothing else.

/// The words of `text`.
///
/// # Errors
/// When a quote is not closed.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' | '"' => quoted(letter, &mut letters, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().extend(letters.next()),
            letter if letter.is_whitespace() => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Appends what stands before the closing `quote`. A backslash means something between double quotes only.
fn quoted(quote: char, letters: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    loop {
        match letters.next() {
            Some(letter) if letter == quote => return Ok(()),
            Some('\\') if quote == '"' => match letters.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                other => word.extend(['\\'].into_iter().chain(other)),
            },
            Some(letter) => word.push(letter),
            None => return Err(format!("a {quote} is not closed; add one at the end of what it quotes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_a_shell_cuts_them() {
        for (text, wanted) in [
            ("", &[][..]),
            ("  npx  -y\tserver /data ", &["npx", "-y", "server", "/data"]),
            ("sh -c 'echo \"a b\" \\ c'", &["sh", "-c", "echo \"a b\" \\ c"]),
            (r#"a "b \"c\" \d" e\ f"#, &["a", r#"b "c" \d"#, "e f"]),
            ("--path='a b'c ''", &["--path=a bc", ""]),
        ] {
            assert_eq!(words(text).unwrap(), wanted, "{text}");
        }
        for text in ["'a", "a \"b", "\"a\\\""] {
            assert!(words(text).unwrap_err().contains("not closed"), "{text}");
        }
    }
}
