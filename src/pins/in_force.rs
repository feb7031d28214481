//! What a server goes by: nothing unless it was told to.

use std::path::PathBuf;

use super::lock::Lock;
use super::trusted_keys::TrustedKeys;

/// See the module documentation. The default is to go by nothing, at no cost.
#[derive(Debug, Default)]
pub struct Pins {
    /// What was accepted, and the file that says so. Without one, everything is.
    pub lock: Option<(PathBuf, Lock)>,
    /// Whose modules are served. Without it, everybody's.
    pub signatures: Option<Signatures>,
}

/// See [`Pins::signatures`].
#[derive(Debug)]
pub struct Signatures {
    /// Whose signatures count.
    pub keys: TrustedKeys,
    /// Whether what is not signed by them is refused; otherwise that is only said.
    pub refuse: bool,
}

impl Pins {
    /// Whether modules have to be told apart by their digests.
    pub fn are_any(&self) -> bool {
        self.lock.is_some() || self.signatures.is_some()
    }
}
