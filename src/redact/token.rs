//! Keys and tokens that say by their form what they are.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::finding::{Finding, Kind};
use super::rule::compiled;

/// By the prefix that its issuer gives it. The one group is the token; short prefixes need a boundary before them, which may
/// be an escaped newline.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    let long = [
        "gh[oprsu]_[A-Za-z0-9]{16,}",
        "github_pat_[A-Za-z0-9_]{16,}",
        "glpat-[A-Za-z0-9_-]{16,}",
        "xox[abceoprs]-[A-Za-z0-9-]{10,}",
        "xapp-[A-Za-z0-9-]{10,}",
        "(?:AKIA|ASIA)[A-Z0-9]{16}",
        "AIza[A-Za-z0-9_-]{30,}",
        r"ya29\.[A-Za-z0-9_-]{20,}",
        "npm_[A-Za-z0-9]{30,}",
        "pypi-[A-Za-z0-9_-]{40,}",
        "dop_v1_[a-f0-9]{40,}",
        "AGE-SECRET-KEY-1[0-9A-Z]{40,}",
        r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
        // A JWT: the header is an object, so it begins like this.
        r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
    ];
    let short = ["[sr]k-[A-Za-z0-9_-]{16,}", "[sr]k_(?:live|test)_[A-Za-z0-9]{10,}", "hf_[A-Za-z0-9]{20,}"];
    let (long, short) = (long.join("|"), short.join("|"));
    compiled(&format!(r"(?P<long>{long})|(?:^|[^A-Za-z0-9]|\\[nrt])(?P<short>{short})"))
});

static BEARER: LazyLock<Regex> = LazyLock::new(|| compiled(r"(?i)bearer[ \t]+([a-z0-9._~+/=-]{6,})"));

/// A block that never ends reaches to the end of the line.
static PEM: LazyLock<Regex> =
    LazyLock::new(|| compiled(r"-----BEGIN [A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\z)"));

static CREDENTIALS: LazyLock<Regex> = LazyLock::new(|| compiled(r#"[a-z]://([^/\s@"'<>\\]+)@"#));

/// What one of these contains, whatever its case. (`@` is an e-mail's hint.)
pub const HINTS: &str = r"gh[oprsu]_|github_pat_|glpat-|xox[abceoprs]-|xapp-|AKIA|ASIA|AIza|ya29\.|npm_|pypi-|dop_v1_|AGE-SECRET|SG\.|eyJ|[sr]k[_-]|hf_|-----BEGIN|[Bb][Ee][Aa][Rr][Ee][Rr]";

/// Adds what is found in `line`.
pub fn find(line: &[u8], findings: &mut Vec<Finding>) {
    findings.extend(PEM.find_iter(line).map(|found| Finding { at: found.range(), kind: Kind::Pem }));
    for (rule, kind) in [(&*CREDENTIALS, Kind::Credentials), (&*BEARER, Kind::Token), (&*TOKEN, Kind::Token)] {
        let groups = rule.captures_iter(line).filter_map(|found| found.iter().skip(1).flatten().next());
        findings.extend(groups.map(|group| Finding { at: group.range(), kind: kind.clone() }));
    }
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;

    #[test]
    fn tokens_are_known_by_their_form() {
        let clean = |line: &str| String::from_utf8(Redactor::default().line(line.as_bytes()).into_owned()).unwrap();
        for token in [
            "sk-ant-api03-abcdefghijklmnop",
            "sk_live_abcdefghij0",
            "ghp_abcdefghijklmnopqrst",
            "github_pat_11ABCDEFG0abcdefgh_ij",
            "glpat-abcdefghijklmnopqrst",
            "xoxb-1234567890-abcdef",
            "AKIAIOSFODNN7EXAMPLE",
            "AIzaSyA-abcdefghijklmnopqrstuvwxyz01234",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        ] {
            for (before, after) in [("", ""), ("a ", " b"), ("\"", "\","), ("(", ")"), ("\\n", "\\n"), ("key=", "&x")] {
                assert_eq!(clean(&format!("{before}{token}{after}")), format!("{before}[redacted:token]{after}"));
            }
        }
        assert_eq!(clean("sent bearer abc123 on"), "sent bearer [redacted:token] on");
        assert_eq!(clean("to postgres://me:hunter2@db/x"), "to postgres://[redacted:credentials]@db/x");
        let block = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----";
        assert_eq!(clean(&format!("a {block} b")), "a [redacted:pem] b");
        assert_eq!(clean("a -----BEGIN PRIVATE KEY-----\\nMIIE"), "a [redacted:pem]");
        for line in ["task-list-of-the-whole-project", "risk_free", "disk-usage-of-everything-here", "a bearer of news"]
        {
            assert_eq!(clean(line), line);
        }
    }
}
