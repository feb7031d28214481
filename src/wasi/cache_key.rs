//! What a compiled module is kept under: the module and everything that decides what the compiler makes of it.

use std::fmt;
use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};

use crate::pins::Fingerprint;

/// SHA-256 of a module together with the engine's version, settings and machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The key of `module` compiled by `engine`.
    pub fn new(engine: &wasmtime::Engine, module: &[u8]) -> Self {
        Self::continuing(engine, Sha256::new_with_prefix(module))
    }

    /// The same, with the fingerprint of the module alone; its bytes are gone through once.
    pub fn with_fingerprint(engine: &wasmtime::Engine, module: &[u8]) -> (Self, Fingerprint) {
        let digest = Sha256::new_with_prefix(module);
        (Self::continuing(engine, digest.clone()), Fingerprint::from(digest))
    }

    fn continuing(engine: &wasmtime::Engine, mut digest: Sha256) -> Self {
        // Two releases of ours may link tools differently with the same wasmtime.
        digest.update(env!("CARGO_PKG_VERSION"));
        let mut compatibility = Feed(digest);
        engine.precompile_compatibility_hash().hash(&mut compatibility);
        Self(compatibility.0.finalize().into())
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Feeds what is hashed to a digest that is the same in every process.
struct Feed(Sha256);

impl Hasher for Feed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("only the whole digest is asked for")
    }
}
