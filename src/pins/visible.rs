//! Characters that nobody sees, made visible: words for a model can hide in them from the person who is to accept them.

/// `text` with invisible and direction-changing characters written as `\u{…}`. Control characters are left to whoever
/// prints it.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

/// Unicode's format characters and default ignorables, and spaces of no width.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
        | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_shown_and_what_does_not_is_left_alone() {
        assert_eq!(
            visible("Says it\u{E0073}\u{E0065}\u{202E}\u{200B}"),
            "Says it\\u{e0073}\\u{e0065}\\u{202e}\\u{200b}"
        );
        for plain in ["Says it", "Grüße, 日本語, 😀 – \"x\"", "a\tb\n"] {
            assert_eq!(visible(plain), plain);
        }
    }
}
