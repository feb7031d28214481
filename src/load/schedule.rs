//! When calls are due: a pure sequence of times that knows neither the clock nor the server.

use std::time::Duration;

use super::plan::Arrivals;
use super::rate::{Curve, Rate};

/// Which of several connections makes these calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// The connection, from 0.
    pub(super) index: usize,
    /// How many there are.
    pub(super) of: usize,
}

impl Share {
    /// The only connection's.
    pub(super) const ALL: Self = Self { index: 0, of: 1 };
}

/// The times at which calls are due, in nanoseconds from the start, rising, all before the end.
#[derive(Debug, Clone)]
pub struct Schedule {
    curve: Curve,
    /// Of the curve, where the next call is.
    piece: usize,
    end_ns: u64,
    /// The next call's place in the integral of the rate.
    next: Next,
    share: Share,
}

#[derive(Debug, Clone)]
enum Next {
    /// Counted, so that rounding does not add up.
    Fixed(u64),
    Poisson {
        random: fastrand::Rng,
        calls: f64,
    },
}

impl Schedule {
    /// `rate` calls a second for `length`.
    pub fn new(rate: f64, arrivals: Arrivals, seed: u64, length: Duration) -> Self {
        Self::shared(&Rate::Steady(rate), arrivals, seed, length, Share::ALL)
    }

    /// The part of one connection. All parts together have `rate`; of Poisson arrivals, which are independent of each
    /// other, each part has its own, and together they are Poisson arrivals again.
    pub(super) fn shared(rate: &Rate, arrivals: Arrivals, seed: u64, length: Duration, share: Share) -> Self {
        let next = match arrivals {
            Arrivals::Fixed => Next::Fixed(0),
            Arrivals::Poisson => {
                let mut random = fastrand::Rng::with_seed(seed.wrapping_add((share.index as u64) << 32));
                let calls = exponential(&mut random, share);
                Next::Poisson { random, calls }
            }
        };
        let end_ns = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        Self { curve: Curve::new(rate, length.as_secs_f64()), piece: 0, end_ns, next, share }
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let calls = match &mut self.next {
            Next::Fixed(turn) => {
                let calls = *turn * self.share.of as u64 + self.share.index as u64;
                *turn += 1;
                calls as f64
            }
            Next::Poisson { random, calls } => {
                let next = *calls + exponential(random, self.share);
                std::mem::replace(calls, next)
            }
        };
        // Whole nanoseconds, rounded down: what is due before the end stays before it.
        let due = self.curve.time_ns(calls, &mut self.piece) as u64;
        (due < self.end_ns).then_some(due)
    }
}

/// A gap whose mean is as many calls as there are connections.
fn exponential(random: &mut fastrand::Rng, share: Share) -> f64 {
    // 1 - f64() is never 0, whose logarithm would be infinite.
    -(1.0 - random.f64()).ln() * share.of as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(rate: f64, arrivals: Arrivals, seed: u64, length: Duration) -> Vec<u64> {
        Schedule::new(rate, arrivals, seed, length).collect()
    }

    #[test]
    fn fixed_arrivals_do_not_drift() {
        let rate = 30_000.0; // its gap is no whole number of nanoseconds
        let times = all(rate, Arrivals::Fixed, 0, Duration::from_secs(20));
        assert_eq!(times.len(), 600_000);
        for (index, time) in times.iter().enumerate() {
            let exact = index as f64 * 1e9 / rate;
            assert!((*time as f64 - exact).abs() <= 1.0, "call {index} is due at {time}, not {exact}");
        }
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_spread_of_their_rate() {
        let times = all(10_000.0, Arrivals::Poisson, 7, Duration::from_secs(10));
        assert_is_poisson(&times);
    }

    #[test]
    fn the_parts_of_several_connections_are_poisson_arrivals_together() {
        let part = |index| {
            let share = Share { index, of: 4 };
            Schedule::shared(&Rate::Steady(10_000.0), Arrivals::Poisson, 7, Duration::from_secs(10), share)
        };
        let mut times: Vec<u64> = (0..4).flat_map(part).collect();
        times.sort_unstable();
        assert_is_poisson(&times);
    }

    /// Ten seconds at 10,000 a second.
    fn assert_is_poisson(times: &[u64]) {
        // 100,000 expected; the standard deviation is about 316.
        assert!((98_000..102_000).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 100_000.0 - 1.0).abs() < 0.02, "mean gap {mean} ns");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "of an exponential, mean and deviation are equal");
    }

    #[test]
    fn a_seed_makes_it_reproducible() {
        let times = |seed| all(1000.0, Arrivals::Poisson, seed, Duration::from_secs(2));
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
    }

    #[test]
    fn a_ramp_has_as_many_calls_in_each_part_as_its_integral() {
        let rate = Rate::Ramp { from: 1000.0, to: 3000.0 };
        let times: Vec<u64> =
            Schedule::shared(&rate, Arrivals::Fixed, 0, Duration::from_secs(10), Share::ALL).collect();
        assert_eq!(times.len(), 20_000);
        let first_half = times.iter().filter(|time| **time < 5_000_000_000).count();
        assert_eq!(first_half, 7500);
    }

    proptest! {
        #[test]
        fn times_rise_and_end_before_the_end(
            rate in 0.1f64..100_000.0, poisson: bool, seed: u64, ms in 1u64..500,
        ) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Fixed };
            let times = all(rate, arrivals, seed, Duration::from_millis(ms));
            prop_assert!(times.is_sorted());
            prop_assert!(times.iter().all(|time| *time < ms * 1_000_000));
            if !poisson {
                prop_assert_eq!(times.len(), (rate * ms as f64 / 1e3).ceil() as usize);
            }
        }

        #[test]
        fn however_many_connections_share_it_the_fixed_times_are_the_same(
            rates in prop::collection::vec(1.0f64..20_000.0, 1..6), of in 1usize..9,
        ) {
            let (rate, length) = (Rate::Steps(rates), Duration::from_millis(300));
            let part = |share| Schedule::shared(&rate, Arrivals::Fixed, 0, length, share);
            let mut dealt: Vec<u64> = (0..of).flat_map(|index| part(Share { index, of })).collect();
            dealt.sort_unstable();
            prop_assert_eq!(dealt, part(Share::ALL).collect::<Vec<u64>>());
        }
    }
}
