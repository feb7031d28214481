//! Names that say that what they name is a secret.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::rule::compiled;

/// The end of such a name, without regard to case. `tokens` and `token_count` are none, and neither is `key` alone: too much is called so.
pub const NOUNS: &str = r"(?:pass(?:word|wd|phrase|code)|(?:^|[^a-z])pass|(?:^|[^a-z])pwd|secrets?|secret[_-]?key[_-]?base|token|(?:api|access|account|private|secret|signing|encryption|master|license|service|ssh|storage|shared|webhook|auth)[_-]?key|authorization|auth|credentials?|cookie|session[_-]?id|jwt|(?:^|[^a-z])otp|x-amz-signature|[?&]sig)";

/// What every such name contains.
pub const HINTS: &str = "pass|pwd|secret|token|key|auth|credential|cookie|session|jwt|otp|x-amz-signature|sig=";

static NAME: LazyLock<Regex> = LazyLock::new(|| compiled(&format!("(?i){NOUNS}$")));

/// Whether `name` (of a variable, a field, an attribute) is that of a secret.
pub fn is_secret(name: &[u8]) -> bool {
    NAME.is_match(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_in_every_spelling_and_others_are_not() {
        let secrets = "password DB_PASS dbPassword API_KEY apiKey x-api-key AWS_SECRET_ACCESS_KEY Authorization \
                       GITHUB_TOKEN _authToken Set-Cookie client_secret pwd SECRET_KEY_BASE sessionId PGPASSWORD";
        let others = "path key monkey bypass compass tokens max_tokens token_count author NURONES_TOOLS FS_ALLOWLIST \
                      keyboard digest tool event secretary cwd";
        assert!(secrets.split_whitespace().all(|name| is_secret(name.as_bytes())));
        let wrong: Vec<_> = others.split_whitespace().filter(|name| is_secret(name.as_bytes())).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
