//! What was found, where, and how it is replaced.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// What something is that must not leave; its name stands in the replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A value that was registered under this name.
    Registered(Arc<str>),
    /// A private key or certificate in PEM.
    Pem,
    /// Name and password in a URL.
    Credentials,
    /// A key or token by its prefix, or a word that looks random.
    Token,
    /// The value of a key that is named like a secret.
    Secret,
    /// The number of a payment card.
    Card,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// What a pattern of the config file matches.
    Pattern,
    /// The home folder, which becomes `~`.
    Home,
}

impl Kind {
    /// What stands in the place of the finding.
    pub fn replacement(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            // A space, as `secret:NAME` would look like a secret itself.
            Self::Registered(name) => return Cow::Owned(format!("[redacted:secret {name}]")),
            Self::Pem => "[redacted:pem]",
            Self::Credentials => "[redacted:credentials]",
            Self::Token => "[redacted:token]",
            Self::Secret => "[redacted:secret]",
            Self::Card => "[redacted:card]",
            Self::Email => "[redacted:email]",
            Self::Phone => "[redacted:phone]",
            Self::Pattern => "[redacted:pattern]",
            Self::Home => "~",
        })
    }
}

/// One finding in a line.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Its bytes.
    pub at: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// Makes of findings in any order those that do not touch each other, in the order of the line. What overlaps is one,
/// of the kind that was found first in the order of the rules; the home folder only where nothing else is.
pub fn joined(findings: Vec<Finding>) -> Vec<Finding> {
    let mut ranked: Vec<(usize, Finding)> = findings.into_iter().enumerate().collect();
    ranked.sort_by_key(|(_, finding)| finding.at.start);
    let mut joined: Vec<(usize, Finding)> = Vec::new();
    for (rank, finding) in ranked {
        match joined.last_mut() {
            Some((known, last)) if finding.at.start < last.at.end => {
                last.at.end = last.at.end.max(finding.at.end);
                if rank < *known {
                    (*known, last.kind) = (rank, finding.kind);
                }
            }
            _ => joined.push((rank, finding)),
        }
    }
    joined.into_iter().map(|(_, finding)| finding).collect()
}

/// `line` with its findings replaced.
pub fn replaced(line: &[u8], findings: &[Finding]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(line.len());
    let mut from = 0;
    for finding in findings {
        clean.extend_from_slice(&line[from..finding.at.start]);
        clean.extend_from_slice(finding.kind.replacement().as_bytes());
        from = finding.at.end;
    }
    clean.extend_from_slice(&line[from..]);
    clean
}
