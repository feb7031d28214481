//! Values of keys that are named like secrets: `key=value`, `key: value`, `--key value`, JSON, and Rust's Debug, also escaped
//! once or twice, and in the colours of our own log.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::finding::{Finding, Kind};
use super::name::NOUNS;
use super::rule::compiled;

/// From the end of the name to the beginning of the value. Colours may stand between the two.
static KEY: LazyLock<Regex> = LazyLock::new(|| {
    const COLOUR: &str = r"(?:\x1b\[[0-9;]*m)*";
    let assigned = format!(r#"(?:\\{{0,3}}["'`])?\]?{COLOUR}[ \t]{{0,3}}(?:=>|=|:){COLOUR}[ \t\n]{{0,3}}{COLOUR}"#);
    let listed = r#"(?:\\{0,3}["'])[ \t]{0,3},[ \t\n]{0,9}(?P<listed>\\{0,3}["'])"#;
    compiled(&format!("(?i)(?:(?:^|[^a-z])--[a-z0-9-]*)?{NOUNS}(?:{assigned}|{listed}|(?P<spaced>[ \t]+))"))
});

/// Words that say that there is no value, or only of what kind it is.
const HARMLESS: [&[u8]; 8] = [b"true", b"false", b"null", b"none", b"nil", b"undefined", b"()", b"unset"];

/// Adds what is found in `line`.
pub fn find(line: &[u8], findings: &mut Vec<Finding>) {
    let mut from = 0;
    while let Some(found) = KEY.captures_at(line, from) {
        let key = found.get(0).expect("the whole match is always there");
        from = key.end();
        // `--password value`, and only with the two dashes: anything may follow the word in prose.
        if found.name("spaced").is_some() && !key.as_bytes().windows(2).any(|two| two == b"--") {
            from = key.end() - 1;
            continue;
        }
        if is_rust_path(line, key.range()) {
            continue;
        }
        let start = found.name("listed").map_or(key.end(), |quote| quote.start());
        let value = value(line, start, key.as_bytes());
        let said = &line[value.clone()];
        let is_redacted = said.starts_with(b"[redacted:") && said.ends_with(b"]");
        let is_harmless = is_redacted || HARMLESS.iter().any(|word| said.eq_ignore_ascii_case(word));
        if !value.is_empty() && !is_harmless {
            from = value.end.max(from);
            findings.push(Finding { at: value, kind: Kind::Secret });
        }
    }
}

/// `crate::token::parse` and the target `rmcp::auth: …` are no keys.
fn is_rust_path(line: &[u8], key: Range<usize>) -> bool {
    if line[key.clone()].ends_with(b":") && line.get(key.end) == Some(&b':') {
        return true;
    }
    let part_of_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let before = line[..key.start + 1].iter().rev().take_while(|byte| part_of_a_name(byte)).count();
    line[..key.start + 1 - before].ends_with(b"::")
}

/// The bytes of the value that begins at `start`.
fn value(line: &[u8], start: usize, key: &[u8]) -> Range<usize> {
    let slashes = line[start..].iter().take(3).take_while(|byte| **byte == b'\\').count();
    let open = start + slashes;
    match line.get(open) {
        Some(quote @ (b'"' | b'\'' | b'`')) => quoted(line, open + 1, *quote, slashes),
        Some(b'{' | b'[' | b'(') => start..group_end(line, open),
        Some(_) => bare(line, start, key),
        None => start..start,
    }
}

/// From `start` to the quote that is escaped as often as the first was, or to the end of the line.
fn quoted(line: &[u8], start: usize, quote: u8, slashes: usize) -> Range<usize> {
    let mut escapes = 0;
    for (offset, byte) in line[start..].iter().enumerate() {
        match *byte {
            b'\\' => escapes += 1,
            // An escaped quote inside has more of them before it.
            byte if byte == quote && escapes <= slashes => return start..start + offset - escapes,
            _ => escapes = 0,
        }
    }
    start..line.len()
}

/// Where the group ends that opens at `start`: a list, an object, the fields of a struct. Unfinished, at the end of the line.
fn group_end(line: &[u8], start: usize) -> usize {
    let (mut depth, mut in_quotes, mut escaped) = (0_usize, false, false);
    for (offset, byte) in line[start..].iter().enumerate() {
        match *byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' => escaped = true,
            b'"' => in_quotes = !in_quotes,
            b'{' | b'[' | b'(' if !in_quotes => depth += 1,
            b'}' | b']' | b')' if !in_quotes => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return start + offset + 1;
                }
            }
            _ => {}
        }
    }
    line.len()
}

/// A word without quotes, with the words that belong to it: those of a header, the fields of a type.
fn bare(line: &[u8], start: usize, key: &[u8]) -> Range<usize> {
    let end = word_end(line, start);
    let word = &line[start..end];
    if matches!(line.get(end), Some(b'(')) || line[end..].starts_with(b" {") {
        return start..group_end(line, end);
    }
    let of = |name: &[u8]| key.to_ascii_lowercase().windows(name.len()).any(|part| part == name);
    if of(b"cookie") {
        return start..line_end(line, end);
    }
    let scheme = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
    if scheme(&["digest", "aws4-hmac-sha256"]) {
        return start..line_end(line, end);
    }
    if scheme(&["bearer", "basic", "token", "negotiate", "apikey"]) && line.get(end) == Some(&b' ') {
        return start..word_end(line, end + 1);
    }
    start..end
}

fn word_end(line: &[u8], start: usize) -> usize {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b",;&(){}[]\"'`\\<>\x1b".contains(byte);
    line[start..].iter().position(ends).map_or(line.len(), |length| start + length)
}

fn line_end(line: &[u8], start: usize) -> usize {
    let ends = |byte: &u8| b"\n\r\"".contains(byte);
    line[start..].iter().position(ends).map_or(line.len(), |length| start + length)
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;

    fn clean(line: &str) -> String {
        String::from_utf8(Redactor::default().line(line.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn every_way_to_write_a_key_and_its_value_is_seen() {
        for (line, expected) in [
            ("password=hunter2 user=a", "password=[redacted:secret] user=a"),
            ("a DB_PASS: hunter2, b", "a DB_PASS: [redacted:secret], b"),
            (r#"{"password":"hun\"ter2","n":1}"#, r#"{"password":"[redacted:secret]","n":1}"#),
            (r#"x \"api_key\": \"hunter2\", y"#, r#"x \"api_key\": \"[redacted:secret]\", y"#),
            (r#"Login { token: Some("hunter2"), n: 1 }"#, "Login { token: [redacted:secret], n: 1 }"),
            (r#"Login { token: Token { inner: "hunter2" }, n: 1 }"#, "Login { token: [redacted:secret], n: 1 }"),
            (r#"{"secret":{"a":"hunter2}"},"n":1}"#, r#"{"secret":[redacted:secret],"n":1}"#),
            (r#"("authorization", "Basic hunter2")"#, r#"("authorization", "[redacted:secret]")"#),
            ("Authorization: Basic aHVudGVyMg== x", "Authorization: [redacted:secret] x"),
            ("cookie: a=hunter2; b=hunter2", "cookie: [redacted:secret]"),
            ("run --password hunter2 --n 1", "run --password [redacted:secret] --n 1"),
            ("http://h/?token=hunter2&n=1", "http://h/?token=[redacted:secret]&n=1"),
            (
                "\x1b[3mpassword\x1b[0m\x1b[2m=\x1b[0mhunter2\x1b[0m",
                "\x1b[3mpassword\x1b[0m\x1b[2m=\x1b[0m[redacted:secret]\x1b[0m",
            ),
            ("password=\"hunter2", "password=\"[redacted:secret]"),
        ] {
            assert_eq!(clean(line), expected);
        }
    }

    #[test]
    fn what_only_looks_like_a_key_is_left_alone() {
        for line in [
            "rmcp::auth: the session ended",
            "crate::token::parse",
            "max_tokens: 4096 tokens=7 token_count=3",
            "password: None, token: null, auth=false",
            "a token is missing",
            "the password of the user",
            "author: somebody",
        ] {
            assert_eq!(clean(line), line);
        }
    }
}
