//! One look at a line that tells whether any rule could find anything in it.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::rule::compiled;
use super::{name, random_word, token};

/// What every finding contains: an `@`, enough digits, a long word, part of the name of a secret, or the beginning of a
/// token.
static SUSPICIOUS: LazyLock<Regex> = LazyLock::new(|| {
    let (names, tokens, long) = (name::HINTS, token::HINTS, random_word::LEAST);
    compiled(&format!(
        r"@|%40|\+[1-9]|[0-9](?:[ .()/-]{{0,2}}[0-9]){{8}}|(?i:{names})|{tokens}|[A-Za-z0-9+/_-]{{{long}}}"
    ))
});

/// Whether a rule could find something in `line`. False is certain.
pub fn is_suspicious(line: &[u8]) -> bool {
    SUSPICIOUS.is_match(line)
}
