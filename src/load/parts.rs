//! What was measured, in parts: by step of the rate, and by call of a mix.

use std::time::Duration;

use serde::Serialize;

use super::plan::Plan;
use super::report::{per_second, rounded};
use super::tally::Tally;

/// The calls that were due in one step, or in one tenth of a ramp.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Step {
    /// When it began, in seconds since the beginning of the measuring time.
    pub from_s: f64,
    /// When it ended.
    pub to_s: f64,
    /// Calls due per second.
    pub offered: f64,
    /// Good answers to them per second.
    pub goodput: f64,
    /// How many of them were refused for want of room.
    pub shed: u64,
    /// How many of the answers were errors.
    pub errors: u64,
    /// How many were not answered.
    pub lost: u64,
    /// Latency of the good answers in microseconds that half of them had at most.
    pub p50_us: Option<f64>,
    /// The same for 99 of 100.
    pub p99_us: Option<f64>,
}

/// What became of one call of a mix.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallShare {
    /// The tool.
    pub tool: String,
    /// How often it was to be called, beside the others.
    pub weight: u32,
    /// How often it was.
    pub sent: u64,
    /// Good answers.
    pub good: u64,
    /// Refusals for want of room.
    pub shed: u64,
    /// Answers that are errors.
    pub errors: u64,
    /// Latency of the good answers in microseconds that half of them had at most.
    pub p50_us: Option<f64>,
    /// The same for 99 of 100.
    pub p99_us: Option<f64>,
}

/// A step for each of `tallies` that began within `time`.
pub(super) fn steps(plan: &Plan, tallies: &[Tally], time: Duration) -> Vec<Step> {
    let each = plan.duration / tallies.len().max(1) as u32;
    let begun = tallies.iter().enumerate().map(|(index, tally)| (each * index as u32, tally));
    let begun = begun.take_while(|(from, _)| *from < time);
    let step = |(from, tally): (Duration, &Tally)| {
        let to = (from + each).min(time);
        Step {
            from_s: rounded(from.as_secs_f64()),
            to_s: rounded(to.as_secs_f64()),
            offered: per_second(tally.sent, to - from),
            goodput: per_second(tally.good(), to - from),
            shed: tally.shed,
            errors: tally.errors,
            lost: tally.sent - tally.good() - tally.shed - tally.errors,
            p50_us: tally.latency.quantile_us(0.5),
            p99_us: tally.latency.quantile_us(0.99),
        }
    };
    begun.map(step).collect()
}

/// One for each call of a mix.
pub(super) fn call_shares(plan: &Plan, tallies: &[Tally]) -> Vec<CallShare> {
    let share = |(call, tally): (&super::plan::Call, &Tally)| CallShare {
        tool: call.tool.clone(),
        weight: call.weight,
        sent: tally.sent,
        good: tally.good(),
        shed: tally.shed,
        errors: tally.errors,
        p50_us: tally.latency.quantile_us(0.5),
        p99_us: tally.latency.quantile_us(0.99),
    };
    plan.calls.iter().zip(tallies).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Arrivals, Call, Mode};
    use super::super::rate::Rate;
    use super::super::wire::Outcome;
    use super::*;

    #[test]
    fn steps_after_the_end_are_not_told_and_the_last_may_be_short() {
        let rate = Rate::Steps(vec![10.0, 20.0, 40.0, 80.0]);
        let mode = Mode::Open { rate, arrivals: Arrivals::Fixed };
        let plan = Plan { duration: Duration::from_secs(8), ..Plan::new(mode, Call::new("t", &Default::default())) };
        let mut tally = Tally::new();
        tally.sent = 20;
        (0..15).for_each(|_| tally.answered(&Outcome::Good, 0, 1000));
        tally.answered(&Outcome::Error(String::new()), 0, 1000);
        let tallies = vec![tally; 4];
        let steps = steps(&plan, &tallies, Duration::from_secs(5));
        let seen: Vec<_> = steps.iter().map(|s| (s.from_s, s.to_s, s.offered, s.goodput, s.lost)).collect();
        assert_eq!(seen, [(0.0, 2.0, 10.0, 7.5, 4), (2.0, 4.0, 10.0, 7.5, 4), (4.0, 5.0, 20.0, 15.0, 4)]);
    }
}
