//! What an open loop asks of the server, whether or not it can be sent: the calls due on each connection, and how many
//! were due in any part of the time.

use std::iter::Peekable;
use std::time::Duration;

use super::plan::{Mode, Plan};
use super::rate::Rate;
use super::schedule::{Schedule, Share};

/// Calls that count, from the beginning of the measuring time. Nothing in a closed loop.
pub(super) fn counted(plan: &Plan, share: Share) -> impl Iterator<Item = u64> + Send + use<> {
    schedule(plan, share, plan.duration, plan.seed, Rate::clone)
}

/// Calls before that.
pub(super) fn warm_up(plan: &Plan, share: Share) -> impl Iterator<Item = u64> + Send + use<> {
    schedule(plan, share, plan.warm_up, !plan.seed, |rate| Rate::Steady(rate.first()))
}

fn schedule(
    plan: &Plan,
    share: Share,
    length: Duration,
    seed: u64,
    of: fn(&Rate) -> Rate,
) -> impl Iterator<Item = u64> + Send + use<> {
    let schedule = match &plan.mode {
        Mode::Open { rate, arrivals } => Some(Schedule::shared(&of(rate), *arrivals, seed, length, share)),
        Mode::Closed { .. } => None,
    };
    schedule.into_iter().flatten()
}

/// Counts what all connections are asked for. The schedules are run a second time for it: what was sent says nothing when
/// a server takes no more.
pub(super) struct Offer(Vec<Peekable<Box<dyn Iterator<Item = u64> + Send>>>);

impl Offer {
    /// Nothing is counted yet.
    pub(super) fn new(plan: &Plan) -> Self {
        let all = (0..plan.connections).map(|index| {
            let times = counted(plan, Share { index, of: plan.connections });
            let times: Box<dyn Iterator<Item = u64> + Send> = Box::new(times);
            times.peekable()
        });
        Self(all.collect())
    }

    /// How many calls are due before `until_ns` and were not counted yet.
    pub(super) fn before(&mut self, until_ns: u64) -> u64 {
        let mut count = 0;
        for times in &mut self.0 {
            while times.next_if(|due| *due < until_ns).is_some() {
                count += 1;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Arrivals, Call};
    use super::*;

    #[test]
    fn every_call_is_counted_once_whoever_makes_it() {
        let mode = Mode::Open { rate: Rate::Ramp { from: 100.0, to: 300.0 }, arrivals: Arrivals::Fixed };
        let plan = Plan { connections: 3, ..Plan::new(mode, Call::new("t", &Default::default())) };
        let mut offer = Offer::new(&plan);
        let seconds = [5, 5, 10, 20].map(|second| offer.before(second * 1_000_000_000));
        assert_eq!(seconds, [750, 0, 1250, 0]);
    }
}
