//! What is taken out of logs, spans and records besides what always is.

use regex::bytes::{Regex, RegexBuilder};

use crate::fields::Fields;
use crate::redact;
use crate::redact::registry::{LONGEST, SHORTEST};

/// Patterns in all, and characters of each: every one is tried on every line.
const PATTERNS: usize = 32;
const PATTERN_CHARS: usize = 1024;

/// Bytes a compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

/// Variables in all.
const VARIABLES: usize = 256;

/// What the config file's `redaction` says.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    /// Whether the home folder becomes `~`.
    pub home_paths: bool,
    /// Environment variables whose values are secret, besides those named like secrets.
    pub secrets: Vec<String>,
    /// What else is secret.
    pub patterns: Vec<Regex>,
}

impl Redaction {
    /// Takes what `redaction` says.
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let home_paths = fields.boolean("homePaths").unwrap_or(false);
        let secrets: Vec<String> =
            fields.strings("secrets").unwrap_or_default().into_iter().map(str::to_owned).collect();
        if secrets.len() > VARIABLES {
            fields.mistake("secrets", format!("must name at most {VARIABLES} variables, not {}", secrets.len()));
        }
        if secrets.iter().any(|name| name.is_empty() || name.contains(['=', '\0'])) {
            fields.mistake("secrets", "must hold names of environment variables; one of them is none");
        }
        let said = fields.strings("patterns").unwrap_or_default();
        if said.len() > PATTERNS {
            fields.mistake("patterns", format!("must hold at most {PATTERNS}, not {}; join some with `|`", said.len()));
        }
        let mut patterns = Vec::new();
        for (index, pattern) in said.into_iter().take(PATTERNS).enumerate() {
            match compiled(pattern) {
                Ok(pattern) => patterns.push(pattern),
                // By its number: the pattern may quote what it is to hide.
                Err(problem) => fields.mistake("patterns", format!("has a mistake in number {}: {problem}", index + 1)),
            }
        }
        fields.refuse_unknown();
        Self { home_paths, secrets, patterns }
    }

    /// What is wrong with the values of the variables, as `env` has them. One that is not set has nothing to hide.
    pub(super) fn problems(&self, env: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let wrong = |name: &&String| env(name).is_some_and(|value| !(SHORTEST..=LONGEST).contains(&value.trim().len()));
        let said = |name: &String| {
            format!(
                "config file, `redaction.secrets`: the value of {name} must have {SHORTEST} to {LONGEST} bytes; shorter \
                 ones stand in half of all lines. Use another secret or take it out of the list"
            )
        };
        self.secrets.iter().filter(wrong).map(said).collect()
    }

    /// Makes it so for this process.
    pub fn install(&self) {
        use std::os::unix::ffi::OsStrExt;
        for name in &self.secrets {
            if let Some(value) = std::env::var_os(name) {
                redact::secrets().add(name, value.as_bytes());
            }
        }
        let home = std::env::var_os("HOME").filter(|_| self.home_paths);
        redact::configure(self.patterns.clone(), home.as_ref().map(|home| home.as_bytes()));
    }
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    if pattern.chars().count() > PATTERN_CHARS {
        return Err(format!("it has more than {PATTERN_CHARS} characters; split it"));
    }
    match RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build() {
        Ok(regex) if regex.is_match(b"") => {
            Err("it matches nothing at all everywhere; say what must be there".to_owned())
        }
        Ok(regex) => Ok(regex),
        Err(regex::Error::CompiledTooBig(_)) => Err("it becomes too big; repeat less".to_owned()),
        Err(_) => Err(
            "it is no regular expression in the syntax of Rust's regex; look-around and back-references are not in it"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &serde_json::Value) -> (Redaction, Vec<String>) {
        let mut fields = Fields::new("redaction", value.as_object().unwrap());
        let redaction = Redaction::read(&mut fields);
        (redaction, fields.finish().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_said_is_taken_and_every_mistake_named() {
        let good = json!({"homePaths": true, "secrets": ["MY_KEY"], "patterns": ["JIRA-[0-9]+"]});
        let (redaction, mistakes) = read(&good);
        assert!(redaction.home_paths && redaction.patterns.len() == 1 && mistakes.is_empty(), "{mistakes:?}");
        assert!(redaction.problems(|_| None).is_empty() && redaction.problems(|_| Some("123456".into())).is_empty());
        assert!(redaction.problems(|_| Some("12345".into()))[0].contains("MY_KEY"));
        for (wrong, said) in [
            (json!({"homePaths": 1}), "true or false"),
            (json!({"secrets": ["a=b"]}), "names of environment variables"),
            (json!({"secrets": vec!["A"; 257]}), "at most 256"),
            (json!({"patterns": ["ok", "("]}), "number 2: it is no regular expression"),
            (json!({"patterns": ["x*"]}), "matches nothing"),
            (json!({"patterns": ["(?:\\w{900}){900}"]}), "too big"),
            (json!({"patterns": ["x".repeat(1025)]}), "more than 1024"),
            (json!({"patterns": vec!["x"; 33]}), "at most 32"),
            (json!({"home": true}), "not a known key"),
        ] {
            let (_, mistakes) = read(&wrong);
            assert!(mistakes.iter().any(|mistake| mistake.contains(said)), "{said}: {mistakes:?}");
        }
    }
}
