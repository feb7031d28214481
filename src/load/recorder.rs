//! What became of the measured calls of one connection: counts, latencies, and the first texts of what went wrong.

use serde::Serialize;

use super::tally::Tally;
use super::times::Times;
use super::wire::Outcome;

/// Different texts of errors that are kept; more only count.
const TEXTS: usize = 5;

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

/// Where a call belongs when there are several places. One that does not exist is not counted: with one call, or one
/// step, everything is in the whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Which call of the mix it is.
    pub(super) call: usize,
    /// In which part of the time it is due.
    pub(super) part: usize,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Recorder {
    /// All of it.
    pub(super) whole: Tally,
    /// What came since it was taken last.
    pub(super) recent: Tally,
    /// By call of the mix.
    pub(super) calls: Vec<Tally>,
    /// By the part of the time in which calls are due.
    pub(super) parts: Vec<Tally>,
    /// Calls answered, whatever the answer.
    pub(super) answered: u64,
    /// Of the calls issued: those that never left.
    pub(super) unsent: u64,
    /// Lines that answer no open call.
    pub(super) unexpected: u64,
    /// How long refusals took.
    pub(super) shed_latency: Times,
    /// How late calls were sent.
    pub(super) lag: Times,
    /// When the first call was due.
    pub(super) first_due_ns: Option<u64>,
    /// When the last answer came.
    pub(super) last_answer_ns: Option<u64>,
    seen: Vec<Seen>,
    /// Errors whose text found no place in `seen`.
    unseen: u64,
}

impl Recorder {
    /// Nothing has happened yet to so many different calls in so many parts of the time.
    pub(super) fn new(calls: usize, parts: usize) -> Self {
        let several = |count: usize| vec![Tally::new(); if count > 1 { count } else { 0 }];
        Self {
            whole: Tally::new(),
            recent: Tally::new(),
            calls: several(calls),
            parts: several(parts),
            answered: 0,
            unsent: 0,
            unexpected: 0,
            shed_latency: Times::new(),
            lag: Times::new(),
            first_due_ns: None,
            last_answer_ns: None,
            seen: Vec::new(),
            unseen: 0,
        }
    }

    /// A call that was due at `due_ns` is sent at `now_ns`.
    pub(super) fn sent(&mut self, place: Place, due_ns: u64, now_ns: u64) {
        self.first_due_ns.get_or_insert(due_ns);
        self.lag.record(due_ns, now_ns);
        self.tallies(place).for_each(|tally| tally.sent += 1);
    }

    /// A call was due and can no longer be sent.
    pub(super) fn never_sent(&mut self, place: Place) {
        self.unsent += 1;
        self.tallies(place).for_each(|tally| tally.sent += 1);
    }

    /// A call that was due at `due_ns` was answered at `now_ns`.
    pub(super) fn answered(&mut self, place: Place, outcome: Outcome, due_ns: u64, now_ns: u64) {
        self.answered += 1;
        self.last_answer_ns = Some(now_ns);
        self.tallies(place).for_each(|tally| tally.answered(&outcome, due_ns, now_ns));
        match outcome {
            Outcome::Good => {}
            Outcome::Shed(text) => {
                self.shed_latency.record(due_ns, now_ns);
                self.saw("shed", text, 1);
            }
            Outcome::Error(text) => self.saw("error", text, 1),
        }
    }

    /// A line came that answers no open call.
    pub(super) fn unexpected(&mut self, text: String) {
        self.unexpected += 1;
        self.whole.errors += 1;
        self.recent.errors += 1;
        self.saw("unexpected", text, 1);
    }

    /// The first texts of what went wrong, and how many had no place among them.
    pub(super) fn seen(&self) -> (Vec<Seen>, u64) {
        (self.seen.clone(), self.unseen)
    }

    /// Adds what another connection's counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.whole.add(&other.whole);
        self.recent.add(&other.recent);
        self.calls.iter_mut().zip(&other.calls).for_each(|(tally, other)| tally.add(other));
        self.parts.iter_mut().zip(&other.parts).for_each(|(tally, other)| tally.add(other));
        self.answered += other.answered;
        self.unsent += other.unsent;
        self.unexpected += other.unexpected;
        self.shed_latency.add(&other.shed_latency);
        self.lag.add(&other.lag);
        let first = self.first_due_ns.into_iter().chain(other.first_due_ns).min();
        self.first_due_ns = first;
        self.last_answer_ns = self.last_answer_ns.max(other.last_answer_ns);
        for seen in &other.seen {
            self.saw(seen.kind, seen.message.clone(), seen.count);
        }
        self.unseen += other.unseen;
    }

    fn tallies(&mut self, place: Place) -> impl Iterator<Item = &mut Tally> {
        let (call, part) = (self.calls.get_mut(place.call), self.parts.get_mut(place.part));
        [&mut self.whole, &mut self.recent].into_iter().chain(call).chain(part)
    }

    fn saw(&mut self, kind: &'static str, message: String, count: u64) {
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.kind == kind && seen.message == message) {
            seen.count += count;
        } else if self.seen.len() < TEXTS {
            self.seen.push(Seen { kind, message, count });
        } else {
            self.unseen += count;
        }
    }
}
