//! E-mail addresses and telephone numbers.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::finding::{Finding, Kind};
use super::rule::compiled;

/// Also with the `@` of a URL.
static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    compiled(r"[A-Za-z0-9._%+'\x80-\xff-]+(?:@|%40)(?:[A-Za-z0-9\x80-\xff-]+\.)+[A-Za-z\x80-\xff]{2,}")
});

/// With a `+`, as E.164 has it; as North America writes them; with the zero that other countries begin theirs with.
static PHONE: LazyLock<Regex> = LazyLock::new(|| {
    compiled(
        r"\+[1-9](?:[ .()/-]{0,2}[0-9]){6,14}|\(?[2-9][0-9]{2}\)?[ .-][2-9][0-9]{2}[ .-][0-9]{4}|0[1-9][0-9]{1,4}[ /-][0-9]{3,}(?:[ /-][0-9]{2,}){0,3}",
    )
});

/// Adds what is found in `line`.
pub fn find(line: &[u8], findings: &mut Vec<Finding>) {
    findings.extend(EMAIL.find_iter(line).map(|found| Finding { at: found.range(), kind: Kind::Email }));
    let mut from = 0;
    while let Some(found) = PHONE.find_at(line, from) {
        let start = found.start();
        // What follows may have been taken for more of it: a time, another number.
        let shorter =
            |end: usize| line[start..end].iter().rposition(|byte| b" .()/-".contains(byte)).map(|at| start + at);
        let mut ends = std::iter::successors(Some(found.end()), |end| shorter(*end).filter(|end| *end > start));
        match ends.find(|end| is_phone(line, start, *end)) {
            Some(end) => {
                findings.push(Finding { at: start..end, kind: Kind::Phone });
                from = end;
            }
            None => from = start + 1,
        }
    }
}

/// Whether it stands alone, and has as many digits as a telephone number: parts of ids, dates and decimals do not.
fn is_phone(line: &[u8], start: usize, end: usize) -> bool {
    let escaped = line[..start].ends_with(b"\\n") || line[..start].ends_with(b"\\t");
    // A plus begins a number wherever it is no sum; a digit may be in the middle of a path or a version.
    let joins: &[u8] = if line[start] == b'+' { b"+" } else { b"+_-./" };
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || joins.contains(byte);
    let begins = escaped || !line[..start].last().is_some_and(inside);
    let goes_on = |rest: &[u8]| match rest {
        [byte, ..] if byte.is_ascii_alphanumeric() || *byte == b'_' => true,
        // The end of a sentence, or more of an id.
        [b'.' | b'-' | b':' | b'/', next, ..] => next.is_ascii_alphanumeric(),
        _ => false,
    };
    let digits = line[start..end].iter().filter(|byte| byte.is_ascii_digit()).count();
    let enough = if line[start] == b'+' { 7..=15 } else { 9..=14 };
    begins && !goes_on(&line[end..]) && enough.contains(&digits)
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;

    fn clean(line: &str) -> String {
        String::from_utf8(Redactor::default().line(line.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn addresses_and_numbers_are_found() {
        for (line, expected) in [
            ("to ann.b+x@mail.example.org.", "to [redacted:email]."),
            ("?to=ann%40example.org&n=1", "?to=[redacted:email]&n=1"),
            ("jörg@müller.example", "[redacted:email]"),
            ("call +49 30 1234-5678 now", "call [redacted:phone] now"),
            ("tel:+14155550123,", "tel:[redacted:phone],"),
            ("(415) 555-0123", "[redacted:phone]"),
            ("none/+49 30 1234-5678", "none/[redacted:phone]"),
            ("415-555-0123.", "[redacted:phone]."),
            ("030/12345678", "[redacted:phone]"),
            ("tel 0301 23456789", "tel [redacted:phone]"),
            (r#""a\n+4930123456""#, r#""a\n[redacted:phone]""#),
        ] {
            assert_eq!(clean(line), expected);
        }
    }

    #[test]
    fn times_numbers_and_versions_are_none() {
        for line in [
            "2026-11-23T00:17:54.123456Z INFO",
            "2026-11-23 00:17:54+01:00 x",
            "took 1763857074123456 ns, 12.345678901 s, 1e+10, 0.123 456 789",
            "wasi:io/streams@0.2.3 nurones:tool@1.1.0 git@localhost",
            "019ac0de-1234-7890-8123-456789012345",
            "192.168.100.200:4318 10.0.0.1",
            "at src/a.rs:123:45",
        ] {
            assert_eq!(clean(line), line);
        }
    }
}
