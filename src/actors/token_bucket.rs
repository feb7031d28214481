//! A token bucket: so many calls a second on average, so many at once at most. A pure core that takes the time as an
//! argument.
//!
//! Levels are whole numbers of the smallest part that a nanosecond can bring, so nothing is rounded and nothing drifts:
//! over any time exactly what the rate says comes in, up to what the bucket holds.

use std::time::{Duration, Instant};

/// Parts of a token: what a rate of a thousandth of a call a second brings in a nanosecond.
const TOKEN: u64 = 1_000_000_000_000;

/// Calls at once that a bucket can hold at most: a level must fit its type.
pub const MOST_BURST: u64 = 1_000_000;

/// How many calls a second, in thousandths; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(u64);

impl Rate {
    /// So many calls a second, to a thousandth.
    pub fn per_second(calls: f64) -> Self {
        Self(((calls * 1000.0).round() as u64).max(1))
    }

    /// The calls of one second, as a burst.
    pub fn one_second(self) -> u64 {
        (self.0 / 1000).clamp(1, MOST_BURST)
    }
}

/// See the module documentation.
#[derive(Debug)]
pub struct TokenBucket {
    rate: Rate,
    /// What it holds when it is full, in parts.
    full: u64,
    /// What it holds, in parts.
    level: u64,
    /// When that was so.
    at: Instant,
}

impl TokenBucket {
    /// A bucket full of `burst` tokens, of which `rate` come back.
    pub fn new(now: Instant, rate: Rate, burst: u64) -> Self {
        let full = burst.clamp(1, MOST_BURST) * TOKEN;
        Self { rate, full, level: full, at: now }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// There is none; how long until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.level >= TOKEN {
            self.level -= TOKEN;
            return Ok(());
        }
        Err(Duration::from_nanos((TOKEN - self.level).div_ceil(self.rate.0)))
    }

    /// Puts a token back that was taken and not used.
    pub fn give_back(&mut self) {
        self.level = (self.level + TOKEN).min(self.full);
    }

    /// From now on it is another bucket, with what is in this one as far as that goes.
    pub fn reshape(&mut self, now: Instant, rate: Rate, burst: u64) {
        self.fill(now);
        self.rate = rate;
        self.full = burst.clamp(1, MOST_BURST) * TOKEN;
        self.level = self.level.min(self.full);
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_nanos();
        let come = passed.saturating_mul(u128::from(self.rate.0));
        // No more than a full bucket, which fits.
        self.level = (u128::from(self.level).saturating_add(come)).min(u128::from(self.full)) as u64;
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_goes_through_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start, Rate::per_second(4.0), 3);
        for _ in 0..3 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(Duration::from_millis(250)));
        assert_eq!(bucket.take(start + Duration::from_millis(100)), Err(Duration::from_millis(150)));
        assert_eq!(bucket.take(start + Duration::from_millis(250)), Ok(()));
        assert!(bucket.take(start + Duration::from_millis(250)).is_err());
    }

    #[test]
    fn a_token_that_was_not_used_comes_back_and_never_overfills() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start, Rate::per_second(0.001), 1);
        bucket.take(start).unwrap();
        assert_eq!(bucket.take(start), Err(Duration::from_secs(1000)));
        bucket.give_back();
        bucket.give_back();
        assert_eq!(bucket.take(start), Ok(()));
        assert!(bucket.take(start).is_err());
    }

    #[test]
    fn another_shape_keeps_what_fits() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start, Rate::per_second(100.0), 100);
        bucket.reshape(start, Rate::per_second(2.0), 2);
        assert_eq!((bucket.take(start), bucket.take(start)), (Ok(()), Ok(())));
        bucket.reshape(start, Rate::per_second(100.0), 100);
        assert_eq!(bucket.take(start), Err(Duration::from_millis(10)), "a wider bucket is not a full one");
    }

    proptest! {
        /// Against a model that sums exactly: what was let in never exceeds burst + rate × time in any stretch, and a
        /// refused call gets in exactly when it was told to come back.
        #[test]
        fn nothing_drifts(
            thousandths in 1_u64..5_000_000,
            burst in 1_u64..50,
            steps in proptest::collection::vec(0_u64..50_000_000_000, 1..200),
        ) {
            let start = Instant::now();
            let mut bucket = TokenBucket::new(start, Rate(thousandths), burst);
            let (mut now_ns, mut level) = (0_u64, u128::from(burst) * u128::from(TOKEN));
            for step in steps {
                now_ns += step;
                level = (level + u128::from(step) * u128::from(thousandths)).min(u128::from(burst) * u128::from(TOKEN));
                let taken = bucket.take(start + Duration::from_nanos(now_ns));
                prop_assert_eq!(taken.is_ok(), level >= u128::from(TOKEN));
                match taken {
                    Ok(()) => level -= u128::from(TOKEN),
                    Err(wait) => {
                        let missing = u128::from(TOKEN) - level;
                        let comes = wait.as_nanos() * u128::from(thousandths);
                        prop_assert!(comes >= missing && comes - u128::from(thousandths) < missing);
                    }
                }
            }
        }
    }
}
