//! What became of some of the calls: those of a second, of a step, or of one kind.

use super::times::Times;
use super::wire::Outcome;

/// See the module documentation.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    /// Calls issued.
    pub(super) sent: u64,
    /// Answers that are refusals for want of room.
    pub(super) shed: u64,
    /// Answers that are errors.
    pub(super) errors: u64,
    /// Latencies of good answers.
    pub(super) latency: Times,
}

impl Tally {
    /// Nothing has happened.
    pub(super) fn new() -> Self {
        Self { sent: 0, shed: 0, errors: 0, latency: Times::new() }
    }

    /// A call that was due at `due_ns` was answered at `now_ns`.
    pub(super) fn answered(&mut self, outcome: &Outcome, due_ns: u64, now_ns: u64) {
        match outcome {
            Outcome::Good => self.latency.record(due_ns, now_ns),
            Outcome::Shed(_) => self.shed += 1,
            Outcome::Error(_) => self.errors += 1,
        }
    }

    /// Good answers.
    pub(super) fn good(&self) -> u64 {
        self.latency.len()
    }

    /// Adds what `other` counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.shed += other.shed;
        self.errors += other.errors;
        self.latency.add(&other.latency);
    }
}
