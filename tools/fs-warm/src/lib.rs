//! What the warm file tools share: the granted directories, kept across calls, and WASI's errors in words.
//!
//! The tools call WASI's own file interface instead of std: every crossing into the host costs more than the work between
//! two of them, and std makes about twice as many.
#![forbid(unsafe_code)]

mod cause;
mod granted;

pub use cause::{cause, fault};
pub use granted::{Granted, granted};
