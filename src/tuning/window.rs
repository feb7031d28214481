//! What happened to the calls of one tool within one window.

use std::time::Duration;

use super::histogram::Histogram;

/// The length of a window. A regression that begins within one fills the next, so it is seen 20 s after it began at the
/// latest; 30 s are promised.
pub const WINDOW: Duration = Duration::from_secs(10);

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Good,
    /// It ended in a fault.
    Fault,
    /// It was refused because there was too much to do.
    Shed,
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// From being taken in to its answer, waiting included.
    pub latency: Duration,
    /// How much of that it waited.
    pub queue_wait: Duration,
    /// What became of it.
    pub outcome: Outcome,
    /// Its ContextFrame lets knobs be moved: its risk is 0 and `allow_autotune` is not false. One that does not is not
    /// measured either.
    pub tunable: bool,
}

/// Gathers the calls of a window.
#[derive(Debug, Clone, Default)]
pub struct Window {
    pub(super) latency: Histogram,
    pub(super) queue_wait: Histogram,
    pub(super) faults: u64,
    pub(super) shed: u64,
    pub(super) not_tunable: bool,
}

impl Window {
    /// One more call.
    pub fn add(&mut self, observation: &Observation) {
        if !observation.tunable {
            self.not_tunable = true;
            return;
        }
        if observation.outcome == Outcome::Shed {
            self.shed += 1;
            return;
        }
        self.faults += u64::from(observation.outcome == Outcome::Fault);
        self.latency.add(observation.latency);
        self.queue_wait.add(observation.queue_wait);
    }

    /// What it comes to.
    pub fn summary(&self) -> WindowSummary {
        let served = self.latency.total();
        let percent = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 * 100.0 / of as f64 };
        WindowSummary {
            calls: served + self.shed,
            p95_us: self.latency.p95_us(),
            queue_wait_p95_us: self.queue_wait.p95_us(),
            error_pct: percent(self.faults, served),
            shed_pct: percent(self.shed, served + self.shed),
            tunable: !self.not_tunable,
        }
    }
}

/// A window in six numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowSummary {
    /// Calls, refused ones included.
    pub calls: u64,
    /// Latency of those that were served.
    pub p95_us: u64,
    /// How long they waited of that.
    pub queue_wait_p95_us: u64,
    /// Faults among those that were served.
    pub error_pct: f64,
    /// Refused among all.
    pub shed_pct: f64,
    /// Every call's frame lets knobs be moved.
    pub tunable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_tells_served_refused_and_faulted_apart() {
        let mut window = Window::default();
        let call = Observation {
            latency: Duration::from_micros(3),
            queue_wait: Duration::from_micros(1),
            outcome: Outcome::Good,
            tunable: true,
        };
        (0..6).for_each(|_| window.add(&call));
        (0..2).for_each(|_| window.add(&Observation { outcome: Outcome::Fault, ..call }));
        (0..2).for_each(|_| window.add(&Observation { outcome: Outcome::Shed, latency: Duration::MAX, ..call }));
        let summary = window.summary();
        assert_eq!((summary.calls, summary.p95_us, summary.queue_wait_p95_us), (10, 3, 1));
        assert_eq!((summary.error_pct, summary.shed_pct, summary.tunable), (25.0, 20.0, true));
        window.add(&Observation { tunable: false, ..call });
        assert!(!window.summary().tunable);
        assert_eq!(Window::default().summary().shed_pct, 0.0);
    }
}
