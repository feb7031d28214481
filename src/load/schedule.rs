//! When calls are due: a pure sequence of times that knows neither the clock nor the server.

use std::time::Duration;

use super::plan::Arrivals;

const NS: f64 = 1e9;

/// The times at which calls are due, in nanoseconds from the start, rising, all before the end.
#[derive(Debug)]
pub struct Schedule {
    rate: f64,
    end_ns: u64,
    gaps: Gaps,
}

#[derive(Debug)]
enum Gaps {
    /// Counted, so that rounding does not add up.
    Fixed {
        next: u64,
    },
    Poisson {
        random: fastrand::Rng,
        next_ns: f64,
    },
}

impl Schedule {
    /// `rate` calls a second for `length`.
    pub fn new(rate: f64, arrivals: Arrivals, seed: u64, length: Duration) -> Self {
        let gaps = match arrivals {
            Arrivals::Fixed => Gaps::Fixed { next: 0 },
            Arrivals::Poisson => {
                let mut random = fastrand::Rng::with_seed(seed);
                let next_ns = exponential(&mut random, rate);
                Gaps::Poisson { random, next_ns }
            }
        };
        Self { rate, end_ns: u64::try_from(length.as_nanos()).unwrap_or(u64::MAX), gaps }
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let due = match &mut self.gaps {
            Gaps::Fixed { next } => {
                let due = *next as f64 * NS / self.rate;
                *next += 1;
                due
            }
            Gaps::Poisson { random, next_ns } => {
                let due = *next_ns;
                *next_ns += exponential(random, self.rate);
                due
            }
        };
        // Whole nanoseconds, rounded down: what is due before the end stays before it.
        let due = due as u64;
        (due < self.end_ns).then_some(due)
    }
}

/// A gap in nanoseconds whose mean is 1/`rate` seconds.
fn exponential(random: &mut fastrand::Rng, rate: f64) -> f64 {
    // 1 - f64() is never 0, whose logarithm would be infinite.
    -(1.0 - random.f64()).ln() * NS / rate
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
            let exact = index as f64 * NS / rate;
            assert!((*time as f64 - exact).abs() <= 1.0, "call {index} is due at {time}, not {exact}");
        }
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_spread_of_their_rate() {
        let times = all(10_000.0, Arrivals::Poisson, 7, Duration::from_secs(10));
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
    }
}
