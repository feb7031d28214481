//! Long words that look drawn by lot: keys and tokens without a prefix of their own.
//!
//! A word is taken apart at its hyphens, underscores and slashes. Parts that people and programs write (words, numbers, UUIDs,
//! ids of traces, hashes of git) do not count; what is left must be long and varied. A digest passes where it is called
//! one, `sha256:…`, and as the name of a file.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::finding::{Finding, Kind};
use super::rule::compiled;

/// Characters of a word that is looked at.
pub const LEAST: usize = 32;

/// Characters of it that must look random, and how many bits each of them must tell of itself.
const RANDOM: usize = 20;
const BITS: f64 = 3.5;

/// The longest part that is a word of somebody's. Longer ones are not pronounced.
const WORD: usize = 24;

static LONG: LazyLock<Regex> = LazyLock::new(|| compiled(&format!("[A-Za-z0-9+/_-]{{{LEAST},}}={{0,2}}")));

/// Adds what is found in `line`.
pub fn find(line: &[u8], findings: &mut Vec<Finding>) {
    for long in LONG.find_iter(line) {
        // The letter of an escaped newline or tab is no part of it.
        let is_escape = line[..long.start()].ends_with(b"\\") && b"nrt".contains(&line[long.start()]);
        let start = long.start() + usize::from(is_escape);
        let word = &line[start..long.end()];
        if is_called_digest(&line[..start], word) {
            continue;
        }
        let mut add = |at| findings.push(Finding { at, kind: Kind::Token });
        if !word.contains(&b'/') {
            if is_random(word) {
                add(start..long.end());
            }
            continue;
        }
        // What begins like a path is looked at name by name, before it is taken for one word.
        let tokens = tokens_in_path(word);
        if is_base64(word) && (tokens.is_empty() || !word.starts_with(b"/")) {
            add(start..long.end());
        } else {
            tokens.into_iter().for_each(|at| add(start + at.start..start + at.end));
        }
    }
}

/// The names in a path that are tokens. Lower case alone is none: stores name folders by their hashes.
fn tokens_in_path(path: &[u8]) -> Vec<Range<usize>> {
    let mut from = 0;
    let mut tokens = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        let cases = [u8::is_ascii_uppercase, u8::is_ascii_lowercase, u8::is_ascii_digit];
        if part.len() >= LEAST && cases.iter().all(|case| part.iter().any(case)) && is_random(part) {
            tokens.push(from..from + part.len());
        }
        from += part.len() + 1;
    }
    tokens
}

/// `sha256:0123…`, or `sha256-` and base64 as browsers have it.
fn is_called_digest(before: &[u8], word: &[u8]) -> bool {
    let called = [&b"sha256:"[..], b"sha256=", b"sha256 ", b"SHA-256 "].iter().any(|name| before.ends_with(name));
    (called && word.len() == 64 && is_hex(word)) || (word.starts_with(b"sha256-") && word.len() <= 51)
}

fn is_hex(part: &[u8]) -> bool {
    part.iter().all(u8::is_ascii_hexdigit)
}

fn is_random(word: &[u8]) -> bool {
    let parts = word.split(|byte| b"-_+=".contains(byte)).filter(|part| !is_written(part));
    let left: Vec<u8> = parts.flatten().copied().collect();
    left.len() >= RANDOM && bits(&left) >= BITS
}

/// Whether a part is a word, a number, or an id that is no secret.
fn is_written(part: &[u8]) -> bool {
    let count = |is: fn(&u8) -> bool| part.iter().filter(|byte| is(byte)).count();
    let (digits, upper) = (count(u8::is_ascii_digit), count(u8::is_ascii_uppercase));
    if is_hex(part) && (part.len() <= 32 || part.len() == 40) || digits == part.len() {
        return true;
    }
    // Capitals begin words, or all of them are.
    let is_spelled = upper * 3 <= part.len() || upper + digits == part.len();
    let changes = part.windows(2).filter(|two| two[0].is_ascii_digit() != two[1].is_ascii_digit()).count();
    let is_word = digits == 0 || (changes <= 2 && part.len() <= WORD);
    is_spelled && is_word
}

/// Base64 with slashes: capitals, small letters and digits in about the shares they have there, and no path has.
fn is_base64(word: &[u8]) -> bool {
    let share = |is: fn(&u8) -> bool| word.iter().filter(|byte| is(byte)).count() * 100 / word.len();
    let (upper, lower, digit) =
        (share(u8::is_ascii_uppercase), share(u8::is_ascii_lowercase), share(u8::is_ascii_digit));
    (20..=75).contains(&upper) && (20..=75).contains(&lower) && digit >= 1 && bits(word) >= 4.0
}

/// Shannon's entropy of its characters, in bits per character.
fn bits(word: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    word.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let all = word.len() as f64;
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / all);
    shares.map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;

    fn clean(line: &str) -> String {
        String::from_utf8(Redactor::default().line(line.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn words_drawn_by_lot_are_found() {
        for word in [
            "q7Zt3mVx9LpK2nR8sWd4fHj6bYc1gTe5",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dz",
            "3f786850e387550fdab836ed7e6dc881de23001b9f786850e387550fdab836ed",
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
        ] {
            for (before, after) in [("", ""), ("a ", " b"), ("\"", "\""), ("x=", ";")] {
                assert_eq!(clean(&format!("{before}{word}{after}")), format!("{before}[redacted:token]{after}"));
            }
        }
        assert_eq!(clean("http://h/q7Zt3mVx9LpK2nR8sWd4fHj6bYc1gTe5/x"), "http://h/[redacted:token]/x");
    }

    #[test]
    fn what_people_and_programs_write_is_not() {
        for line in [
            "019ac0de-1234-7890-8abc-def012345678",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "7862fb6d0e0e47364bf92f3577b34da6a3ce929d is HEAD",
            "sha256:3f786850e387550fdab836ed7e6dc881de23001b9f786850e387550fdab836ed",
            "/home/me/.cache/nurones-mcp/modules/3f786850e387550fdab836ed7e6dc881de23001b9f786850e387550fdab836ed.cwasm",
            "/nix/store/mfrggzdfmztwq2lknnwg23tpobyxe43u-rust-1.95",
            "a_reader_that_does_not_read_costs_lines_and_is_told_how_many",
            "/work/project/target/release/deps/nurones_mcp-0123456789abcdef",
            "opentelemetry_sdk::trace::BatchSpanProcessorBuilderWithEverything",
            "x86_64-unknown-linux-gnu-wasm32-wasip2-release-v48",
            "================================================",
            "https://example.org/a/very/long/path/with/NoSecret/in/it/at/all",
        ] {
            assert_eq!(clean(line), line);
        }
    }
}
