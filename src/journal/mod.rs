//! The journal: events that outlive the server, in a file that all servers of a user share.
//!
//! A [`keeper`] on a thread of its own takes events from the bus and writes many in one transaction to [`mod@file`]; nobody
//! who serves waits for it. [`read`] is for whoever wants to know later, also while servers run.
//!
//! Invariant: what a server has written is a gap-free sequence, numbered per boot from 0 and thinned from the oldest end
//! only, however the process ends. Events that could not be taken are counted in an `events_lost` that stands where they
//! are missing.

pub mod file;
pub mod keeper;
pub mod read;

#[cfg(test)]
mod tests;

pub use keeper::{Journal, WAITING};
pub use read::{Entry, Query, Reader};

/// The file's name in the state folder. One of its own: its transactions must not hold up calls with idempotency keys.
pub const FILE: &str = "events.db";
