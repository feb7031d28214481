//! Patterns over bytes: a line of a log need not be UTF-8.

use regex::bytes::{Regex, RegexBuilder};

/// Compiles a pattern of ours. A dot matches newlines too, case counts unless the pattern says otherwise.
pub fn compiled(pattern: &str) -> Regex {
    let built = RegexBuilder::new(pattern).unicode(false).dot_matches_new_line(true).build();
    built.expect("the patterns of the rules are constants, and tested")
}
