//! What became of the measured calls: counts, latencies, and the first texts of what went wrong.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::wire::Outcome;

/// Different texts of errors that are kept; more only count.
const TEXTS: usize = 5;

/// Latencies are told apart to three digits, up to an hour.
const DIGITS: u8 = 3;
const LONGEST_NS: u64 = 3_600_000_000_000;

/// An error as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// `error`, `shed` or `unexpected`.
    pub kind: &'static str,
    /// What the server said.
    pub message: String,
    /// How often.
    pub count: u64,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Recorder {
    /// Calls issued.
    pub(super) sent: u64,
    /// Calls answered, whatever the answer.
    pub(super) answered: u64,
    /// Answers that are errors.
    pub(super) errors: u64,
    /// Answers that are refusals for want of room.
    pub(super) shed: u64,
    /// Lines that answer no open call.
    pub(super) unexpected: u64,
    /// Latencies of good answers in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// How late calls were sent, in nanoseconds.
    pub(super) lag: Histogram<u64>,
    /// When the first call was due.
    pub(super) first_due_ns: Option<u64>,
    /// When the last answer came.
    pub(super) last_answer_ns: Option<u64>,
    seen: Vec<Seen>,
    /// Errors whose text found no place in `seen`.
    unseen: u64,
}

impl Recorder {
    /// Nothing has happened.
    pub(super) fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("these bounds are allowed");
        Self {
            sent: 0,
            answered: 0,
            errors: 0,
            shed: 0,
            unexpected: 0,
            latency: histogram(),
            lag: histogram(),
            first_due_ns: None,
            last_answer_ns: None,
            seen: Vec::new(),
            unseen: 0,
        }
    }

    /// A call that was due at `due_ns` is sent at `now_ns`.
    pub(super) fn sent(&mut self, due_ns: u64, now_ns: u64) {
        self.sent += 1;
        self.first_due_ns.get_or_insert(due_ns);
        self.lag.saturating_record(now_ns.saturating_sub(due_ns).max(1));
    }

    /// A call that was due at `due_ns` was answered at `now_ns`.
    pub(super) fn answered(&mut self, outcome: Outcome, due_ns: u64, now_ns: u64) {
        self.answered += 1;
        self.last_answer_ns = Some(now_ns);
        match outcome {
            Outcome::Good => self.latency.saturating_record(now_ns.saturating_sub(due_ns).max(1)),
            Outcome::Shed(text) => {
                self.shed += 1;
                self.saw("shed", text);
            }
            Outcome::Error(text) => {
                self.errors += 1;
                self.saw("error", text);
            }
        }
    }

    /// A line came that answers no open call.
    pub(super) fn unexpected(&mut self, text: String) {
        self.errors += 1;
        self.unexpected += 1;
        self.saw("unexpected", text);
    }

    /// The first texts of what went wrong, and how many had no place among them.
    pub(super) fn seen(&self) -> (Vec<Seen>, u64) {
        (self.seen.clone(), self.unseen)
    }

    fn saw(&mut self, kind: &'static str, message: String) {
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.kind == kind && seen.message == message) {
            seen.count += 1;
        } else if self.seen.len() < TEXTS {
            self.seen.push(Seen { kind, message, count: 1 });
        } else {
            self.unseen += 1;
        }
    }
}
