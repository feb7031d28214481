//! Where it is written what tools were accepted as, and whose modules are trusted. What that says is for `pins` to read.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// See the module documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pinning {
    /// The lock, if there is a place for one.
    pub lock: Option<PathBuf>,
    /// Whether there is to be one: it was named, or there is something of its name.
    pub is_locked: bool,
    /// Whose modules are served.
    pub require: RequireSignatures,
    /// The keys that are trusted, if there is a place for them.
    pub keys: Option<PathBuf>,
    /// The file that says all this. Whoever can write to it can say something else.
    pub config: Option<PathBuf>,
}

/// `signatures.require`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequireSignatures {
    /// Signatures are not looked at.
    #[default]
    Off,
    /// What is not signed by whom one trusts is served, and that is said.
    Warn,
    /// It is not served.
    All,
}

impl Pinning {
    /// The lock that was `named`, or else the one beside the config file.
    pub(super) fn lock(named: Option<PathBuf>, config: Option<&Path>) -> (Option<PathBuf>, bool) {
        match (named, config.and_then(Path::parent)) {
            (Some(named), _) => (Some(named), true),
            (None, None) => (None, false),
            (None, Some(folder)) => {
                let beside = folder.join("nurones.lock");
                // Not `exists`: a lock that cannot be looked at must not count as none.
                let is_absent =
                    std::fs::symlink_metadata(&beside).is_err_and(|error| error.kind() == ErrorKind::NotFound);
                (Some(beside), !is_absent)
            }
        }
    }
}
