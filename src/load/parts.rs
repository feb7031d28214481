//! What was measured, in parts: by step of the rate, and by call of a mix.

use std::time::Duration;

use serde::Serialize;

use super::metric::median;
use super::plan::Plan;
use super::report::{Report, per_second, rounded};
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

/// A part of the load over several rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepMedian {
    /// When it began, in seconds since the beginning of the measuring time.
    pub from_s: f64,
    /// When it ended.
    pub to_s: f64,
    /// Calls due per second.
    pub offered: f64,
    /// Good answers to them per second, the median of the rounds; nothing, if a round did not come so far.
    pub goodput: Option<f64>,
    /// Microseconds that 99 of 100 good answers had at most, the median of the rounds; nothing, if a round had none.
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

/// The steps of `rounds` that had the same load.
pub(super) fn step_medians(rounds: &[Report]) -> Vec<StepMedian> {
    let longest = rounds.iter().map(|round| &round.steps).max_by_key(|steps| steps.len());
    let medians = |(index, step): (usize, &Step)| {
        let over = |of: fn(&Step) -> Option<f64>| {
            let all: Option<Vec<f64>> = rounds.iter().map(|round| of(round.steps.get(index)?)).collect();
            median(all?).map(rounded)
        };
        let Step { from_s, to_s, offered, .. } = *step;
        StepMedian { from_s, to_s, offered, goodput: over(|step| Some(step.goodput)), p99_us: over(|step| step.p99_us) }
    };
    longest.into_iter().flatten().enumerate().map(medians).collect()
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
    use super::super::recorder::Recorder;
    use super::super::report::{Counted, Watched};
    use super::super::wire::Outcome;
    use super::*;

    #[test]
    fn a_step_has_the_median_of_the_rounds_and_none_where_a_round_did_not_come() {
        let mode = Mode::Open { rate: Rate::Steps(vec![10.0, 20.0]), arrivals: Arrivals::Fixed };
        let plan = Plan::new(mode, Call::new("t", &Default::default()));
        let counted = Counted { record: &Recorder::new(1, 2), open: 0, time: plan.duration };
        let round = |steps: &[(f64, Option<f64>)]| {
            let mut report = Report::new(&plan, &counted, &Watched::default());
            report.steps.truncate(steps.len());
            for (step, (goodput, p99_us)) in report.steps.iter_mut().zip(steps) {
                (step.goodput, step.p99_us) = (*goodput, *p99_us);
            }
            report
        };
        let whole = [round(&[(1.0, Some(5.0)), (9.0, None)]), round(&[(3.0, Some(7.0)), (11.0, Some(1.0))])];
        let seen = |rounds: &[Report]| -> Vec<_> {
            step_medians(rounds).iter().map(|step| (step.from_s, step.goodput, step.p99_us)).collect()
        };
        assert_eq!(seen(&whole), [(0.0, Some(2.0), Some(6.0)), (5.0, Some(10.0), None)]);
        let [first, second] = whole;
        let short = [first, round(&[(5.0, Some(3.0))]), second];
        assert_eq!(seen(&short), [(0.0, Some(3.0), Some(5.0)), (5.0, None, None)]);
        assert_eq!(seen(&[]), []);
    }

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
