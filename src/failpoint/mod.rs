//! Failpoints: places where a fault drill makes the server fail on purpose.
//!
//! They are always compiled in, so that what is drilled is what is shipped, and cost one relaxed load each. Nothing
//! arms them but the `drill` command, over a pipe that the server it starts has inherited ([`control`]): neither
//! configuration, nor environment, nor a client can. The idea is SQLite's fault injection and FreeBSD's `fail(9)`.
//!
//! There are two sorts ([`points`]). A *fault* is what can happen by itself: a panic, an error of the system, a delay.
//! The server must keep its promises with any of them armed. A *mutant* takes a protection away; with one armed, a
//! drill has to fail, which is how the drills themselves are tested.

pub mod control;
mod point;
pub mod points;

pub use point::{Action, Failpoint, Injected, Plan, Sort};
