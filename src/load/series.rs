//! How it went, second by second: what was asked, what came back, and what the servers used.

use serde::Serialize;

use super::offer::Offer;
use super::report::{per_second, rounded};
use super::tally::Tally;
use super::usage::Usage;

/// About a second of the measurement. Answers are in the second in which they came, offers in that in which they were
/// due; all four are per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Second {
    /// When it ended, in seconds since the beginning of the measuring time.
    pub t_s: f64,
    /// Calls that were due; of a closed loop, calls sent.
    pub offered: f64,
    /// Good answers.
    pub good: f64,
    /// Refusals for want of room.
    pub shed: f64,
    /// Errors.
    pub errors: f64,
    /// Of the good answers that came: latency in microseconds that half of them had at most.
    pub p50_us: Option<f64>,
    /// The same for 99 of 100.
    pub p99_us: Option<f64>,
    /// Memory of the servers in RAM at its end, in MB (10⁶ bytes).
    pub rss_mb: Option<f64>,
    /// CPU time of the servers: 100 is one core.
    pub cpu_percent: Option<f64>,
}

/// The seconds so far.
pub(super) struct Series {
    seconds: Vec<Second>,
    /// Nothing in a closed loop.
    offer: Option<Offer>,
    /// Where the last second ended, and what was used by then.
    last_ns: u64,
    last: Option<Usage>,
}

impl Series {
    /// Nothing has passed. What is used now is the beginning.
    pub(super) fn new(offer: Option<Offer>, now: Option<Usage>) -> Self {
        Self { seconds: Vec::new(), offer, last_ns: 0, last: now }
    }

    /// What came since the last second ended is a second that ends at `at_ns` after the beginning. Calls are due up to
    /// `until_ns`.
    pub(super) fn end_second(&mut self, at_ns: u64, until_ns: u64, came: &Tally, now: Option<Usage>) {
        let passed = std::time::Duration::from_nanos(at_ns.saturating_sub(self.last_ns));
        if passed.is_zero() {
            return;
        }
        let asked = self.offer.as_mut().map_or(came.sent, |offer| offer.before(at_ns.min(until_ns)));
        let used = self.last.zip(now).map(|(last, now)| now.cpu.saturating_sub(last.cpu).as_secs_f64());
        self.seconds.push(Second {
            t_s: rounded(at_ns as f64 / 1e9),
            offered: per_second(asked, passed),
            good: per_second(came.good(), passed),
            shed: per_second(came.shed, passed),
            errors: per_second(came.errors, passed),
            p50_us: came.latency.quantile_us(0.5),
            p99_us: came.latency.quantile_us(0.99),
            rss_mb: now.filter(|now| now.rss_bytes > 0).map(|now| rounded(now.rss_bytes as f64 / 1e6)),
            cpu_percent: used.map(|used| rounded(used * 100.0 / passed.as_secs_f64())),
        });
        (self.last_ns, self.last) = (at_ns, now);
    }

    /// Where the last second ended, in nanoseconds after the beginning.
    pub(super) fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// The second that ended last.
    pub(super) fn latest(&self) -> Option<Second> {
        self.seconds.last().copied()
    }

    /// All of them.
    pub(super) fn into_seconds(self) -> Vec<Second> {
        self.seconds
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::plan::{Arrivals, Call, Mode, Plan};
    use super::super::rate::Rate;
    use super::super::wire::Outcome;
    use super::*;

    const S: u64 = 1_000_000_000;

    fn usage(cpu_ms: u64, megabytes: u64) -> Option<Usage> {
        Some(Usage { cpu: Duration::from_millis(cpu_ms), rss_bytes: megabytes * 1_000_000 })
    }

    fn answers(good: u64, shed: u64) -> Tally {
        let mut tally = Tally::new();
        (0..good).for_each(|_| tally.answered(&Outcome::Good, 0, 2000));
        (0..shed).for_each(|_| tally.answered(&Outcome::Shed(String::new()), 0, 2000));
        tally
    }

    #[test]
    fn a_second_has_rates_of_its_own_time_whatever_its_length() {
        let mode = Mode::Open { rate: Rate::Steady(100.0), arrivals: Arrivals::Fixed };
        let plan = Plan::new(mode, Call::new("t", &Default::default()));
        let mut series = Series::new(Some(Offer::new(&plan)), usage(1000, 10));
        series.end_second(S, 10 * S, &answers(80, 20), usage(1500, 20));
        series.end_second(3 * S, 10 * S, &answers(10, 0), usage(1700, 30));
        series.end_second(12 * S, 10 * S, &answers(0, 0), None);
        let seconds = series.into_seconds();
        let rates: Vec<[f64; 3]> = seconds.iter().map(|s| [s.offered, s.good, s.shed]).collect();
        assert_eq!(rates, [[100.0, 80.0, 20.0], [100.0, 5.0, 0.0], [77.778, 0.0, 0.0]]);
        let used: Vec<_> = seconds.iter().map(|s| (s.cpu_percent, s.rss_mb)).collect();
        assert_eq!(used, [(Some(50.0), Some(20.0)), (Some(10.0), Some(30.0)), (None, None)]);
        assert_eq!((seconds[0].p50_us, seconds[2].p50_us), (Some(2.0), None));
    }
}
