//! The supervision log: what was started, what ended and why, what was done about it.
//!
//! [`Record`] is what supervisors and workers hand over; [`SupervisionLog`] takes it without ever making anyone wait,
//! and its thread writes it. `docs/supervision.md` says which events there are and what follows what.

mod record;
mod writer;

pub use record::{InFlight, Reason, Record, Restart, Server};
pub use writer::SupervisionLog;
