//! The audit trail: who called which tool, by which rule, with what and to what end.
//!
//! ```text
//!  a call ── Story (notes steps as it goes) ── its end ──► Entry ──► keeper's thread ──► book: audit.db
//!                                                                     redacted,            each entry hashed
//!                                                                     in batches           with the one before
//! ```
//!
//! Nobody who serves waits for it. An entry that is not taken is counted, and the count becomes an entry. Arguments and
//! results are there as digest, size and shape; the arguments themselves only when the config says so.
//!
//! Invariant: an entry, once written, cannot be changed, removed or put elsewhere without a break in the chain, but for the
//! oldest, which retention removes and accounts for, and the newest, whose loss only a head kept elsewhere can show.

mod book;
mod chain;
mod entry;
mod keeper;
mod story;

pub use book::{Book, Verdict};
pub use chain::Head;
pub use entry::{CallEntry, Decision, Digest, Entry};
pub use keeper::Trail;
pub use story::{Step, Steps, Story};

#[cfg(test)]
mod tests;
