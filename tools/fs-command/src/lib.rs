//! What the file commands share: the granted directories and the JSON envelope of the command kind.
//!
//! A command is a fresh process per call: arguments as JSON on stdin, `{"ok":true,...}` or `{"ok":false,"error":...}` on
//! stdout. Its libc knows WASI preview 1 only, which can neither copy permission bits nor tell the output limit.
#![deny(unsafe_code)]

mod cause;
mod envelope;
mod granted;

pub use cause::fault;
pub use envelope::{Answer, run};
pub use granted::Granted;

/// The most a result may hold. Preview 1 can't ask the host, so this is the host's default.
pub const OUTPUT_LIMIT: u64 = 4096 * 1024;
