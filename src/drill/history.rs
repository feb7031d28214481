//! What the driver saw, in the order it saw it: what it sent and every line that came back. The checker works from
//! this and the supervision log alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The id of a request. The driver numbers them from 0, so it is also a position.
pub type Id = u64;

/// Why a request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Of the background load: a call that must go well, whatever happens to others.
    Healthy,
    /// Part of the fault.
    Fault,
    /// To look, or to know that something has passed.
    Control,
}

/// One request. Times are nanoseconds since the session began.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its id. Sent twice, there are two requests of one id.
    pub id: Id,
    /// Why it was sent.
    pub class: Class,
    /// The tool it calls; empty for other methods.
    pub tool: Arc<str>,
    /// When it was due; for other than background calls when it was sent.
    pub due_ns: u64,
    /// When it was handed to the writer.
    pub sent_ns: u64,
    /// Its deadline, where it is to be judged.
    pub deadline_ms: Option<u32>,
}

/// A cancellation.
#[derive(Debug, Clone, Copy)]
pub struct Cancel {
    /// Whose.
    pub id: Id,
    /// When it was handed to the writer.
    pub sent_ns: u64,
    /// How many requests were written before it.
    pub after: usize,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A result that is no error.
    Good,
    /// A result with `isError`, and the code of its fault.
    ToolError(Arc<str>),
    /// A JSON-RPC error.
    Error {
        /// Its code.
        code: i64,
        /// `data.reason`, if there is one.
        reason: Arc<str>,
        /// `data.retryAfterMs`, if there is one.
        retry_after_ms: Option<u64>,
    },
}

impl Outcome {
    /// Whether it is the tool error `code`.
    pub fn is_fault(&self, code: &str) -> bool {
        matches!(self, Self::ToolError(seen) if **seen == *code)
    }

    /// Whether it is a JSON-RPC error with this `data.reason`.
    pub fn is_refused(&self, reason: &str) -> bool {
        matches!(self, Self::Error { reason: seen, .. } if **seen == *reason)
    }
}

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An answer; without an id when it has none that could be ours.
    Answer(Option<Id>, Outcome),
    /// A notification, or a request of the server.
    Other,
    /// No JSON-RPC 2.0 message, and why.
    Unreadable(&'static str),
}

/// One line of the server's output.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was read.
    pub recv_ns: u64,
    /// What it is.
    pub heard: Heard,
}

/// What was done to the healthy calls for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing.
    Quiet,
    /// The fault.
    Fault,
}

/// A time in which healthy calls are looked at. Each fault belongs to the quiet time before it.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Which.
    pub phase: Phase,
    /// Calls due from here on…
    pub from_ns: u64,
    /// …and before this.
    pub until_ns: u64,
}

/// One look at the server's process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Memory in RAM.
    pub rss_bytes: u64,
    /// The most of it so far, between looks too.
    pub peak_bytes: u64,
    /// Open descriptors.
    pub fds: u64,
    /// Threads.
    pub threads: u64,
    /// Calls in the fullest lane, when the server said so.
    pub queue_depth: u64,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct History {
    /// Requests with smaller ids were judged and [put away](super::past::Past).
    pub first: Id,
    /// In the order in which they were written.
    pub requests: Vec<Request>,
    /// In the order in which they were sent.
    pub cancels: Vec<Cancel>,
    /// In the order in which they came.
    pub lines: Vec<Line>,
    /// Answers without an id of ours that are owed for malformed lines.
    pub unnamed: u64,
    /// When the driver did not read, so that answers were late on its own account.
    pub deaf: Vec<(u64, u64)>,
    /// When healthy calls are looked at.
    pub spans: Vec<Span>,
    /// Looks at the process, the first before anything was done to it.
    pub gauges: Vec<Gauge>,
    /// The last requests may have been sent to a server that was made to die at once: no answer is owed to those that
    /// were open then.
    pub killed: bool,
}

impl History {
    /// The position of what belongs to `id` in a list by id; none when that was put away.
    pub fn slot(&self, id: Id) -> Option<usize> {
        id.checked_sub(self.first).map(|slot| slot as usize)
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.requests.iter().filter_map(|request| self.slot(request.id)).max().map_or(0, |last| last + 1)
    }

    /// How many of the requests `ids` have a first answer that `is` says yes to.
    pub fn answers_to(&self, ids: &[Id], is: impl Fn(&Outcome) -> bool) -> u64 {
        let mut wanted: HashSet<Id> = ids.iter().copied().collect();
        let answers = self.lines.iter().filter_map(|line| match &line.heard {
            Heard::Answer(Some(id), outcome) => Some((*id, outcome)),
            _ => None,
        });
        answers.filter(|(id, outcome)| wanted.remove(id) && is(outcome)).count() as u64
    }

    /// How long the first answers to `ids` took, in milliseconds, as far as `is` says yes to them.
    pub fn took_ms(&self, ids: &[Id], is: impl Fn(&Outcome) -> bool) -> Vec<f64> {
        let mut sent: HashMap<Id, u64> = ids.iter().map(|id| (*id, 0)).collect();
        for request in &self.requests {
            sent.entry(request.id).and_modify(|sent_ns| *sent_ns = request.sent_ns);
        }
        let mut took = Vec::new();
        for line in &self.lines {
            if let Heard::Answer(Some(id), outcome) = &line.heard
                && let Some(sent_ns) = sent.remove(id)
                && is(outcome)
            {
                took.push(line.recv_ns.saturating_sub(sent_ns) as f64 / 1e6);
            }
        }
        took
    }
}
