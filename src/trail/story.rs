//! What happens to one call on its way, noted by whoever has it in hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::redact;

/// Steps that are kept; a guest may log more lines than anybody wants to read.
const STEPS: usize = 80;

/// Bytes of a guest's line that are kept.
const LINE_BYTES: usize = 256;

/// A step of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// It was let in and put into its tool's lane.
    Queued {
        /// Calls that waited there already.
        behind: usize,
    },
    /// A worker took it.
    Taken {
        /// The worker's place in the supervision tree.
        worker: String,
        /// Which of its lives.
        incarnation: u64,
    },
    /// It entered its Store.
    Entered {
        /// Calls that the Store had served before; absent if it was made for this one alone.
        #[serde(skip_serializing_if = "Option::is_none")]
        served: Option<u64>,
    },
    /// The guest wrote a line to the log.
    Said {
        /// Of which severity.
        level: String,
        /// The beginning of it.
        line: String,
    },
    /// The guest was left.
    Left {
        /// `returned`, `faulted`, `cancelled`, `interrupted` or `deadline`.
        how: String,
    },
}

/// The steps of a call, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// Each with the microseconds since the call arrived.
    pub steps: Vec<Timed>,
    /// How many more there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_steps: u64,
}

/// A step and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// Microseconds since the call arrived.
    pub at_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub step: Step,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// See the module documentation. Shared by all who have the call in hand, one after the other.
#[derive(Debug)]
pub struct Story {
    call_id: Arc<str>,
    began: Instant,
    steps: Mutex<Steps>,
}

impl Story {
    /// The story of the call of this name begins now.
    pub fn begin(call_id: Arc<str>) -> Self {
        Self { call_id, began: Instant::now(), steps: Mutex::default() }
    }

    /// The name of the call.
    pub fn call_id(&self) -> Arc<str> {
        Arc::clone(&self.call_id)
    }

    /// How long it has been going on.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Something happened.
    pub fn note(&self, step: Step) {
        let at_us = self.age().as_micros() as u64;
        let mut steps = self.steps.lock();
        let is_line = matches!(step, Step::Said { .. });
        // Lines of the guest must not crowd out what comes after them.
        if steps.steps.len() < if is_line { STEPS } else { 2 * STEPS } {
            steps.steps.push(Timed { at_us, step });
        } else {
            steps.more_steps += 1;
        }
    }

    /// The guest wrote `line`.
    pub fn said(&self, level: &str, line: &str) {
        let line = redact::first_of_text(line, LINE_BYTES).into_owned();
        self.note(Step::Said { level: level.to_owned(), line });
    }

    /// What has happened so far.
    pub fn steps(&self) -> Steps {
        self.steps.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_guest_that_never_stops_are_counted_and_crowd_nothing_out() {
        let story = Story::begin("call".into());
        story.note(Step::Queued { behind: 0 });
        (0..1000).for_each(|_| story.said("info", &"x".repeat(1000)));
        story.note(Step::Left { how: "returned".to_owned() });
        let Steps { steps, more_steps } = story.steps();
        assert_eq!((steps.len() as u64 + more_steps, steps.len()), (1002, STEPS + 1));
        assert_eq!(steps.last().unwrap().step, Step::Left { how: "returned".to_owned() });
        assert!(steps.iter().all(|timed| serde_json::to_string(timed).unwrap().len() < 2 * LINE_BYTES));
    }

    #[test]
    fn a_guests_line_is_redacted_before_it_is_cut() {
        let story = Story::begin("call".into());
        story.said("warn", &format!("{} ann@example.org", "x".repeat(LINE_BYTES - 5)));
        let steps = serde_json::to_string(&story.steps()).unwrap();
        assert!(!steps.contains("ann"), "{steps}");
    }
}
