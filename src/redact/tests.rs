//! Planted secrets never survive, whatever stands around them; what has none passes as it is.

use std::borrow::Cow;

use proptest::prelude::*;

use super::Redactor;
use super::finding::Finding;
use super::{card, contact, named_value, prefilter, random_word, token};

/// Around a planted secret: words, punctuation, and bytes that are no text, but nothing that could become a part of it.
fn around() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[a-z ]{0,20}".prop_map(String::into_bytes),
        "[ ,;(){}\n\t]{0,5}".prop_map(String::into_bytes),
        prop::collection::vec(0x80_u8..0xa0, 0..5),
        Just(b"2026-11-23T00:17:54.123456Z INFO ".to_vec()),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// What must not survive, and the text in which it stands.
fn planted() -> impl Strategy<Value = (String, String)> {
    let alone = prop_oneof![
        "[a-z]{3,8}[0-9]{2}@[a-z]{3,8}\\.(org|com|de)",
        "\\+[1-9][0-9]{2} [0-9]{3} [0-9]{4}",
        "(ghp_|npm_)[A-Za-z0-9]{36}",
        "sk-(ant-|proj-)?[A-Za-z0-9]{20,40}",
        "(AKIA|ASIA)[A-Z0-9]{16}",
        "eyJ[A-Za-z0-9]{20}\\.[A-Za-z0-9]{30}\\.[A-Za-z0-9_-]{40}",
        // One of each sort, as a word of one sort alone is no word drawn by lot.
        "[a-z][0-9][A-Z]([a-z][0-9][A-Z]){4}[A-Za-z0-9]{20,40}",
        "-----BEGIN PRIVATE KEY-----\n[A-Za-z0-9\n]{40}\n-----END PRIVATE KEY-----",
    ]
    .prop_map(|secret| (secret.clone(), secret));
    let named = ("[A-Za-z0-9!#$%*+./^_~-]{6,20}", 0..6_usize).prop_map(|(secret, way)| {
        let text = match way {
            0 => format!("password={secret}"),
            1 => format!("api_key: {secret}"),
            2 => format!("{{\"token\":\"{secret}\"}}"),
            3 => format!("Login {{ client_secret: Some({secret:?}) }}"),
            4 => format!("--password {secret}"),
            _ => format!("authorization: Basic {secret}"),
        };
        (secret, text)
    });
    let card = "[45][0-9]{14}".prop_map(|beginning| {
        let number = (0..10).map(|last| format!("{beginning}{last}"));
        let number = number.filter(|number| {
            let digits = number.bytes().rev().map(|byte| u32::from(byte - b'0')).enumerate();
            let sum: u32 = digits.map(|(at, n)| if at % 2 == 0 { n } else { n * 2 / 10 + n * 2 % 10 }).sum();
            sum.is_multiple_of(10)
        });
        let number: String = { number }.next().unwrap();
        (number.clone(), number)
    });
    prop_oneof![4 => alone, 3 => named, 1 => card]
}

fn contains(line: &[u8], secret: &str) -> bool {
    memchr::memmem::find(line, secret.as_bytes()).is_some()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_planted_secret_never_survives(before in around(), (secret, text) in planted(), after in around()) {
        let line = [&before, &b" "[..], text.as_bytes(), b" ", &after].concat();
        let clean = Redactor::default().line(&line).into_owned();
        prop_assert!(!contains(&clean, &secret), "{}", String::from_utf8_lossy(&clean));
        prop_assert!(!contains(&clean, &secret[..secret.len() - 1]), "{}", String::from_utf8_lossy(&clean));
    }

    #[test]
    fn a_registered_secret_never_survives_in_any_bytes(before: Vec<u8>, secret in "\\PC{6,40}", after: Vec<u8>) {
        let mut redactor = Redactor::default();
        let known = redactor.secrets().add("S", secret.as_bytes());
        prop_assume!(known && !"[redacted:secret S]".contains(secret.trim()));
        let clean = redactor.line(&[&before, secret.as_bytes(), &after].concat()).into_owned();
        prop_assert!(!contains(&clean, secret.trim()), "{}", String::from_utf8_lossy(&clean));
    }

    #[test]
    fn a_cut_never_lets_half_a_secret_through(before in around(), (secret, text) in planted(), most in 1_usize..200) {
        let line = [&before, &b" "[..], text.as_bytes(), b" and more"].concat();
        let whole = Redactor::default().line(&line).into_owned();
        let cut = Redactor::default().first_bytes(&line, most).into_owned();
        prop_assert!(whole.starts_with(&cut), "{:?} is no part of {:?}", cut, whole);
        prop_assert!(!contains(&cut, &secret));
    }

    #[test]
    fn nothing_is_found_where_the_prefilter_sees_nothing(line in "[ -~]{0,80}|[a-z_=: 0-9+-]{0,80}|(\\PC|\n){0,40}") {
        let line = line.as_bytes();
        let mut findings: Vec<Finding> = Vec::new();
        for find in [token::find, named_value::find, contact::find, card::find, random_word::find] {
            find(line, &mut findings);
        }
        prop_assert!(findings.is_empty() || prefilter::is_suspicious(line), "{findings:?}");
    }

    #[test]
    fn a_secret_the_prefilter_must_see((_, text) in planted()) {
        prop_assert!(prefilter::is_suspicious(text.as_bytes()));
    }

    #[test]
    fn json_stays_json_and_text_stays_text(key in "\\PC{0,20}", (_, text) in planted(), more in "(\\PC|[\"\\\\\n]){0,40}") {
        let value = serde_json::json!({ key: format!("{more}{text}{more}"), "n": 4_111_111_111_111_111_u64 });
        let line = value.to_string().into_bytes();
        let clean = Redactor::default().json_line(&line).into_owned();
        let read: serde_json::Value = serde_json::from_slice(&clean).unwrap();
        prop_assert_eq!(&read["n"], &value["n"]);
        prop_assert!(std::str::from_utf8(&Redactor::default().line(&line)).is_ok());
    }

    #[test]
    fn any_bytes_are_taken(line: Vec<u8>, most in 0_usize..50) {
        let redactor = Redactor::default();
        redactor.line(&line);
        redactor.json_line(&line);
        redactor.cut_line(&line, most);
    }
}

/// Lines of ours and of those we live with, in which there is nothing to hide.
const PLAIN: &str = r#"
2026-11-23T00:17:54.123456Z  INFO supervision: fs_read/w0 ended (host_panic: worker.recv), restarted in 51 ms
2026-11-23T00:17:54.123456Z  WARN guest: the disk is full tool=probe
2026-11-23T00:17:54.123456Z ERROR nurones_mcp::cli::serve: not served: `deadline_ms` must be a whole number from 1 to 3600000, not 0 manifest=/home/me/project/.mcp/tools/probe.json
2026-11-23T00:17:54.123456Z DEBUG rmcp::service: received request id=NumberOr(12345) method="tools/call"
{"v":1,"seq":7,"boot":"019ac0de-1234-7890-8abc-def012345678","ts":"2026-11-23T00:17:54.123456Z","mono_us":1763857074123456,"event":"child_exited","path":"root/tools/fs_read/w0","restart":{"what":"worker","window":"3/5@10s","backoff_ms":51}}
traceparent 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 tracestate rojo=00f067aa0ba902b7,congo=t61
commit 7862fb6d0e0e47364bf92f3577b34da6a3ce929d on main, tree 7862fb6
took 8.90 µs, 1763857074123456789 ns since 1970, 12345678901234567890 in all, 4096 lines, 99.9 %
wasm://fs-read.wasm imports wasi:io/streams@0.2.3 and wasi:filesystem/types@0.2.3
thread main: panicked at src/actors/worker_thread.rs:123:45: index out of bounds: the len is 3 but the index is 3
spans do not reach http://127.0.0.1:4318/v1/traces: error sending request; is a collector there? this is said once
/home/me/.cache/nurones-mcp/modules/3f786850e387550fdab836ed7e6dc881de23001b9f786850e387550fdab836ed is not used
sha256:3f786850e387550fdab836ed7e6dc881de23001b9f786850e387550fdab836ed
tests/it/supervision.rs::worker_restarts_after_trap_and_keeps_its_place_in_the_tree
"#;

#[test]
fn what_has_no_secret_passes_byte_for_byte() {
    let redactor = Redactor::default();
    for line in PLAIN.lines() {
        assert!(matches!(redactor.line(line.as_bytes()), Cow::Borrowed(_)), "{:?}", redactor.text(line));
    }
    assert!(matches!(redactor.line(PLAIN.as_bytes()), Cow::Borrowed(_)), "and all of them together");
}

#[test]
fn usual_lines_do_not_get_past_the_prefilter() {
    let usual = PLAIN.lines().filter(|line| !prefilter::is_suspicious(line.as_bytes())).count();
    assert!(usual >= 3, "only {usual} lines of {}", PLAIN.lines().count());
}

#[test]
fn what_is_redacted_stays_as_it_is() {
    let mut redactor = Redactor::default();
    redactor.secrets().add("DB_PASSWORD", b"hunter2");
    let line = b"a hunter2 token=hunter2x b@c.de -----BEGIN X----- z";
    let once = redactor.line(line).into_owned();
    assert_eq!(redactor.line(&once), &once[..], "{}", String::from_utf8_lossy(&once));
}

#[test]
fn home_and_patterns_are_found_when_the_config_says_so() {
    let mut redactor = Redactor::default();
    let patterns = vec![regex::bytes::Regex::new("JIRA-[0-9]+").unwrap(), regex::bytes::Regex::new("x*").unwrap()];
    redactor.configure(patterns, Some(b"/home/ann/"));
    let line = "/home/ann/JIRA-12/a /home/anna /home/ann: b@c.de";
    assert_eq!(redactor.text(line), "~/[redacted:pattern]/a /home/anna ~: [redacted:email]");
    redactor.configure(Vec::new(), Some(b"/"));
    assert_eq!(redactor.text("/a/b"), "/a/b");
}

#[test]
fn a_line_that_is_too_long_says_so() {
    let line = [&b"a ".repeat(50)[..], b"ann@example.org ", &b"b ".repeat(50), b"\n"].concat();
    let clean = |most| String::from_utf8(Redactor::default().cut_line(&line, most).into_owned()).unwrap();
    assert!(clean(110).ends_with(" a [redacted:email] [cut: the line is longer than a line of the log may be]\n"));
    assert!(clean(50).ends_with("a a  [cut: the line is longer than a line of the log may be]\n"));
    assert_eq!(clean(1000).len(), line.len() - "ann@example.org".len() + "[redacted:email]".len());
}
