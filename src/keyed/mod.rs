//! Calls that are made once, however often they are asked for: keys, and what is known of them.
//!
//! A client that does not know whether its call was made sends it again under the same key. What is known of a key is in a
//! [`ledger`], a file that all servers of a user share and that survives them; a [`clerk`] keeps it, on a thread of its
//! own. A server that is alive holds a lock on its file in `owners` (see [`owner`]), which the system takes back however
//! it ends: so a call that was being made by a server that is gone is known to be one nobody knows the end of.
//!
//! ```text
//!            begin                       finish
//!   (none) ─────────► running by us ─────────────► done: its answer, again and again, until it expires
//!     ▲                 │        │
//!     └── release ──────┘        └── the server dies, or the call is cancelled ──► unknown
//!        it was not run                                                    a repeatable tool: begun anew
//! ```
//!
//! Invariant: a call under a key is run only after `running` has reached the disk, and answered only after `done` has.
//! Semantics as in the IETF draft *The Idempotency-Key HTTP Header Field*, where it says anything.

pub mod clerk;
pub mod ledger;
pub mod owner;

pub use clerk::{Keyed, Ticket, Unavailable};
pub use ledger::{Begun, Claim};
