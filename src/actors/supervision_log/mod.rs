//! The supervision log: what was started, what ended and why, what was done about it.
//!
//! [`Record`] is what supervisors and workers hand over; [`SupervisionLog`] takes it without ever making anyone wait.
//! Its thread joins call faults ([`joined_faults`]), gives every record its number and bytes ([`mod@line`]), appends them to
//! a file that rotates ([`mod@file`]), and says the same to a person ([`words`]). On its way there each is an event, too. `docs/supervision.md` says which events
//! there are and what follows what.

mod event;
pub mod file;
pub mod joined_faults;
pub mod line;
mod record;
pub mod words;
mod writer;

pub use record::{InFlight, Reason, Record, Restart, Server};
pub use writer::SupervisionLog;
