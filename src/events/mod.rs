//! Events: what happens in the server, told to whoever wants to know, without ever making anyone wait.
//!
//! ```text
//!  publishers ── Intake: one bounded queue, the lesser classes are shed first ──► Hub ──► each subscriber's own queue
//!                                                                      repeats out, numbers on, the last ones kept
//! ```
//!
//! Nothing in here has a thread: the event bus in `actors` moves what the [`Intake`] holds to the [`Hub`].
//! [`class`], [`dedupe`] and [`ring`] are pure.
//!
//! Invariant: every event that was offered is accepted or counted as shed, by class; every one accepted gets an offset,
//! in the order of the queue, or is counted as a repeat; every subscriber gets what it wants of those or counts it as lost.

pub mod class;
pub mod dedupe;
mod event;
pub mod hub;
pub mod intake;
pub mod ring;

pub use class::Class;
pub use event::Event;
pub use hub::{Hub, Subscription};
pub use intake::{Counts, Intake};

use std::sync::Arc;

/// Events that go on together, in order.
pub type Batch = Arc<[Event]>;
