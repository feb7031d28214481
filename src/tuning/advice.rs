//! What could help a tool that does as these windows say.

use super::knob::{Direction, KnobName};
use super::slo::Slo;
use super::window::WindowSummary;

/// Something worth trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// The knob.
    pub knob: KnobName,
    /// Which way.
    pub direction: Direction,
    /// Why, in words.
    pub why: &'static str,
}

/// Waiting this many times longer than being served is a queue.
const QUEUE: u64 = 2;

/// Calls below this many microseconds are answered several at a time.
const SHORT_US: u64 = 100;

/// What to try, the best first. Nothing when the tool does well.
pub fn advise(recent: &[WindowSummary], slo: &Slo) -> Vec<Advice> {
    let most = |number: fn(&WindowSummary) -> u64| recent.iter().map(number).max().unwrap_or(0);
    let (latency, waits) = (most(|window| window.p95_us), most(|window| window.queue_wait_p95_us));
    let serves = latency.saturating_sub(waits);
    let refuses = recent.iter().any(|window| window.shed_pct > 0.0);
    let faults = recent.iter().any(|window| window.error_pct > slo.error_pct);
    let slow = latency > slo.p95_us;
    let advice = |knob, direction, why| Advice { knob, direction, why };
    let mut all = Vec::new();
    if refuses && waits <= slo.p95_us / 2 {
        all.push(advice(KnobName::LaneDepth, Direction::Up, "calls are refused, and those that wait do not wait long"));
    }
    if waits > serves.saturating_mul(QUEUE) && waits > SHORT_US {
        all.push(advice(
            KnobName::Workers,
            Direction::Up,
            "calls wait longer than they are served; more in its manifest might help",
        ));
        if serves < SHORT_US {
            all.push(advice(KnobName::BatchSize, Direction::Up, "short calls wait for each other"));
        }
    }
    if slow && waits > serves {
        all.push(advice(KnobName::LaneDepth, Direction::Down, "calls are too slow, most of it by waiting"));
    }
    // Answers of longer calls are sent one by one.
    if slow && waits <= serves && serves < SHORT_US {
        all.push(advice(
            KnobName::BatchSize,
            Direction::Down,
            "short calls are too slow, and not by waiting for a worker",
        ));
    }
    if faults {
        all.push(advice(KnobName::ReuseCalls, Direction::Down, "calls fault; instances may be worn"));
    }
    if faults && slow {
        all.push(advice(
            KnobName::DeadlineSlackUs,
            Direction::Up,
            "calls are slow and fault; they may need a moment more",
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLO: Slo = Slo { p95_us: 10_000, error_pct: 5.0, shed_pct: 1.0 };
    const WELL: WindowSummary =
        WindowSummary { calls: 1000, p95_us: 100, queue_wait_p95_us: 10, error_pct: 0.0, shed_pct: 0.0, tunable: true };

    fn first(window: WindowSummary) -> Option<(KnobName, Direction)> {
        advise(&[WELL, window], &SLO).first().map(|advice| (advice.knob, advice.direction))
    }

    #[test]
    fn a_tool_that_does_well_is_left_alone() {
        assert_eq!(first(WELL), None);
    }

    #[test]
    fn each_trouble_has_its_knob() {
        let waiting = WindowSummary { p95_us: 5_000, queue_wait_p95_us: 4_950, ..WELL };
        assert_eq!(first(waiting), Some((KnobName::Workers, Direction::Up)));
        let refusing = WindowSummary { shed_pct: 3.0, ..WELL };
        assert_eq!(first(refusing), Some((KnobName::LaneDepth, Direction::Up)));
        let slow = |p95_us| WindowSummary { p95_us, queue_wait_p95_us: p95_us - 95, ..WELL };
        assert_eq!(first(slow(20_000)), Some((KnobName::Workers, Direction::Up)));
        let strict = Slo { p95_us: 80, ..SLO };
        let short = advise(&[WindowSummary { p95_us: 95, ..WELL }], &strict);
        assert_eq!((short[0].knob, short[0].direction), (KnobName::BatchSize, Direction::Down));
        assert!(
            advise(&[WindowSummary { p95_us: 20_000, ..WELL }], &SLO).is_empty(),
            "no knob makes a long call shorter"
        );
        let faulting = WindowSummary { error_pct: 9.0, ..WELL };
        assert_eq!(first(faulting), Some((KnobName::ReuseCalls, Direction::Down)));
    }
}
