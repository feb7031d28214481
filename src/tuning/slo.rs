//! What a tool has to keep to: its service level objective.
//!
//! A person may say it. What is not said is taken from the first windows in which the tool did well.

use super::window::WindowSummary;

/// Calls of a window below which it is not taken for a good one.
pub const ENOUGH_CALLS: u64 = 20;

/// Windows the objective is taken from.
const FIRST_WINDOWS: usize = 3;

/// Faults allowed unless said otherwise, in percent.
const ERROR_PCT: f64 = 5.0;

/// Refusals allowed unless said otherwise, in percent.
const SHED_PCT: f64 = 1.0;

/// How much slower than its first windows a tool may become.
const SLOWER: f64 = 1.5;

/// The objective as far as a person has said it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SloTargets {
    /// 95 of 100 calls are answered within so many milliseconds.
    pub p95_ms: Option<f64>,
    /// At most so many percent fault.
    pub error_pct: Option<f64>,
    /// At most so many percent are refused.
    pub shed_pct: Option<f64>,
}

/// The objective of one tool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slo {
    /// 95 of 100 calls are answered within so many microseconds.
    pub p95_us: u64,
    /// At most so many percent fault.
    pub error_pct: f64,
    /// At most so many percent are refused.
    pub shed_pct: f64,
}

impl Slo {
    /// Whether `window` keeps to it, with enough calls to say so.
    pub fn is_good(&self, window: &WindowSummary) -> bool {
        window.calls >= ENOUGH_CALLS && self.breach(window, None).is_none()
    }

    /// What `window` breaks, in words; only what is worse than in `before`, if that is given. However few the calls are:
    /// going back costs little.
    pub fn breach(&self, window: &WindowSummary, before: Option<&WindowSummary>) -> Option<String> {
        let worse = |now: f64, most: f64, then: fn(&WindowSummary) -> f64| {
            now > most && before.is_none_or(|before| now > then(before))
        };
        if worse(window.p95_us as f64, self.p95_us as f64, |window| window.p95_us as f64) {
            Some(format!("95 of 100 calls took up to {} µs, more than {} µs", window.p95_us, self.p95_us))
        } else if worse(window.error_pct, self.error_pct, |window| window.error_pct) {
            Some(format!("{:.1} % of the calls faulted, more than {:.1} %", window.error_pct, self.error_pct))
        } else if worse(window.shed_pct, self.shed_pct, |window| window.shed_pct) {
            Some(format!("{:.1} % of the calls were refused, more than {:.1} %", window.shed_pct, self.shed_pct))
        } else {
            None
        }
    }
}

/// Finds the objective of one tool.
#[derive(Debug, Clone)]
pub struct SloFinder {
    targets: SloTargets,
    slowest_us: u64,
    good: usize,
}

impl SloFinder {
    /// Begins with what a person said.
    pub fn new(targets: SloTargets) -> Self {
        Self { targets, slowest_us: 0, good: 0 }
    }

    /// One more window, which counts if it is one of the first good ones.
    pub fn see(&mut self, window: &WindowSummary) {
        let rest = self.with_p95(u64::MAX);
        if self.good < FIRST_WINDOWS && rest.is_good(window) {
            self.slowest_us = self.slowest_us.max(window.p95_us);
            self.good += 1;
        }
    }

    /// The p95 in microseconds that the first good windows come to, once there are enough, and unless a person said it.
    pub fn derived_us(&self) -> Option<u64> {
        let is_known = self.targets.p95_ms.is_none() && self.good == FIRST_WINDOWS;
        is_known.then(|| ((self.slowest_us as f64 * SLOWER) as u64).max(1))
    }

    /// The objective, once it is known. `kept_us` is what was derived in an earlier life, which goes before what is now.
    pub fn found(&self, kept_us: Option<u64>) -> Option<Slo> {
        let said_us = self.targets.p95_ms.map(|ms| (ms * 1000.0) as u64);
        said_us.or(kept_us).or_else(|| self.derived_us()).map(|p95_us| self.with_p95(p95_us))
    }

    fn with_p95(&self, p95_us: u64) -> Slo {
        Slo {
            p95_us,
            error_pct: self.targets.error_pct.unwrap_or(ERROR_PCT),
            shed_pct: self.targets.shed_pct.unwrap_or(SHED_PCT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(p95_us: u64, error_pct: f64) -> WindowSummary {
        WindowSummary { calls: 100, p95_us, queue_wait_p95_us: 0, error_pct, shed_pct: 0.0, tunable: true }
    }

    #[test]
    fn the_objective_comes_from_the_first_good_windows() {
        let mut finder = SloFinder::new(SloTargets::default());
        finder.see(&window(9_000, 50.0));
        finder.see(&WindowSummary { calls: 3, ..window(9_000, 0.0) });
        [100, 200, 120].iter().for_each(|p95_us| {
            assert_eq!(finder.found(None), None);
            finder.see(&window(*p95_us, 0.0));
        });
        finder.see(&window(9_000, 0.0));
        assert_eq!(finder.found(None), Some(Slo { p95_us: 300, error_pct: 5.0, shed_pct: 1.0 }));
        assert_eq!(finder.found(Some(500)).unwrap().p95_us, 500, "what an earlier life found stays");
    }

    #[test]
    fn what_a_person_says_needs_no_window() {
        let said = SloTargets { p95_ms: Some(2.5), error_pct: Some(0.5), shed_pct: None };
        let slo = SloFinder::new(said).found(Some(500)).unwrap();
        assert_eq!(slo, Slo { p95_us: 2500, error_pct: 0.5, shed_pct: 1.0 });
        assert!(slo.is_good(&window(2500, 0.5)));
        assert!(slo.breach(&window(2501, 0.0), None).unwrap().contains("2501 µs"));
    }

    #[test]
    fn a_trial_is_not_blamed_for_what_was_so_before() {
        let slo = Slo { p95_us: 100, error_pct: 5.0, shed_pct: 1.0 };
        assert_eq!(slo.breach(&window(200, 0.0), Some(&window(200, 0.0))), None);
        assert!(slo.breach(&window(201, 0.0), Some(&window(200, 0.0))).is_some());
        assert!(slo.breach(&window(200, 6.0), Some(&window(200, 0.0))).unwrap().contains("faulted"));
    }
}
