//! What the context engine is told about the calls of one tool: gathered where they end, read once a window.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::gate::Verdict;
use super::message::Deadline;
use super::sheds::Sheds;
use crate::tuning::shared_window::SharedWindow;
use crate::tuning::window::{Observation, Outcome, WindowSummary};

/// A call, as far as it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// When it is due, and so when it began.
    pub deadline: Deadline,
    /// When a worker took it, if one did.
    pub taken: Option<Instant>,
    /// Whether it may move knobs.
    pub tunable: bool,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Meter {
    window: SharedWindow,
    /// Refusals for want of room when the last window ended.
    shed: AtomicU64,
}

impl Meter {
    /// A call ended. One that says nothing about its tool is not counted.
    pub fn ended(&self, call: Measured, now: Instant, verdict: Verdict) {
        let outcome = match verdict {
            Verdict::Good => Outcome::Good,
            Verdict::Faulted => Outcome::Fault,
            Verdict::Unknown => return,
        };
        let began = call.deadline.began();
        let latency = now.saturating_duration_since(began);
        let queue_wait = call.taken.unwrap_or(now).saturating_duration_since(began);
        self.window.add(&Observation { latency, queue_wait, outcome, tunable: call.tunable });
    }

    /// Ends the window. Refused for want of room: the lane was full, or calls in it waited for too long.
    pub fn end_window(&self, sheds: &Sheds) -> WindowSummary {
        let shed = sheds.for_want_of_room();
        let before = self.shed.swap(shed, Ordering::Relaxed);
        self.window.take(shed.saturating_sub(before)).summary()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::event_bus::EventBus;
    use super::super::message::Refusal;
    use super::*;

    #[test]
    fn a_window_has_what_ended_and_what_was_refused_since_the_last() {
        let (meter, sheds) = (Meter::default(), Sheds::new("tool".into(), EventBus::default()));
        let deadline = Deadline::starting_now(Duration::from_secs(10), None);
        let call = Measured { deadline, taken: Some(deadline.began()), tunable: true };
        [Verdict::Good, Verdict::Faulted, Verdict::Unknown]
            .into_iter()
            .for_each(|verdict| meter.ended(call, deadline.at, verdict));
        let refusals = [Refusal::QueueFull, Refusal::Codel, Refusal::BreakerOpen, Refusal::Inflight];
        refusals.into_iter().for_each(|why| sheds.note(why, None));
        let summary = meter.end_window(&sheds);
        assert_eq!((summary.calls, summary.error_pct, summary.shed_pct, summary.tunable), (4, 50.0, 50.0, true));
        assert_eq!(meter.end_window(&sheds).calls, 0);
    }
}
