//! What tools were accepted as, and whose modules are trusted: the defence against a tool that changes after it was let in.
//!
//! A [`Lock`] holds what somebody has looked at and accepted of each tool: its module, its permissions and its [`Face`]. A
//! [`Signature`] says who made a module. Both are checked by `wasi`, which knows modules; nothing in here does. See
//! `docs/pins.md`, and `docs/adr/0011-what-a-lock-holds.md` for why.
//!
//! Invariant: a file that cannot be read, understood or trusted is an error in words, never an absent one.
//!
//! | file | noun |
//! |---|---|
//! | `fingerprint.rs` | a SHA-256 |
//! | `face.rs`, `canonical.rs`, `change.rs` | what clients see of a tool, its one spelling, and how two of them differ |
//! | `lock.rs` | what was accepted of all tools |
//! | `signature.rs`, `secret_key.rs`, `trusted_keys.rs` | who made a module |
//! | `visible.rs` | text in which nothing hides from who is to accept it |
//! | `own_file.rs` | the files that all this is kept in |
//! | `in_force.rs` | what of it a server goes by |

mod canonical;
mod change;
mod face;
mod fingerprint;
mod in_force;
mod lock;
mod own_file;
mod secret_key;
mod signature;
mod trusted_keys;
mod visible;

pub use change::Change;
pub use face::{Annotations, Face};
pub use fingerprint::Fingerprint;
pub use in_force::{Pins, Signatures};
pub use lock::{Lock, Pin};
pub use secret_key::SecretKey;
pub use signature::{Signature, beside};
pub use trusted_keys::{KeyId, PublicKey, TrustedKeys};
pub use visible::visible;
