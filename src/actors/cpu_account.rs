//! The CPU time that may still be used, at so much a minute. A pure core that takes the time as an argument.
//!
//! What a call takes is known when it has ended, so it is charged then and not before: an account can fall below zero, and
//! nothing is let in until it is above again. Over any time no more is used than what came in, one minute's worth, and
//! what those calls take that were let in together while there was still something.

use std::time::{Duration, Instant};

/// Levels are counted in parts of a nanosecond, as many as there are nanoseconds in a minute, so that nothing is rounded.
const PARTS: i128 = 60_000_000_000;

/// See the module documentation.
#[derive(Debug)]
pub struct CpuAccount {
    /// Nanoseconds that come in each minute, which is also the most that is saved up.
    per_minute_ns: i128,
    /// What is left, in parts.
    level: i128,
    /// When that was so.
    at: Instant,
}

impl CpuAccount {
    /// An account with a minute's worth in it.
    pub fn new(now: Instant, per_minute: Duration) -> Self {
        let per_minute_ns = nanos(per_minute);
        Self { per_minute_ns, level: per_minute_ns * PARTS, at: now }
    }

    /// Whether anything is left.
    ///
    /// # Errors
    /// How long until there is.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.level > 0 {
            return Ok(());
        }
        let wait_ns = (1 - self.level).div_euclid(self.per_minute_ns) + 1;
        Err(Duration::from_nanos(wait_ns.try_into().unwrap_or(u64::MAX)))
    }

    /// So much was used.
    pub fn charge(&mut self, used: Duration) {
        self.level -= nanos(used) * PARTS;
    }

    /// From now on another allowance, with what is left as far as that goes.
    pub fn reshape(&mut self, now: Instant, per_minute: Duration) {
        self.fill(now);
        self.per_minute_ns = nanos(per_minute);
        self.level = self.level.min(self.per_minute_ns * PARTS);
    }

    fn fill(&mut self, now: Instant) {
        let passed = nanos(now.saturating_duration_since(self.at));
        self.level = (self.level + passed * self.per_minute_ns).min(self.per_minute_ns * PARTS);
        self.at = self.at.max(now);
    }
}

/// Whole milliseconds are configured, and times of this world pass: none of it comes near the limits of the type.
fn nanos(time: Duration) -> i128 {
    i128::from(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_was_used_comes_back_within_a_minute() {
        let start = Instant::now();
        let mut account = CpuAccount::new(start, ms(6_000));
        account.charge(ms(7_000));
        let wait = account.admit(start).unwrap_err();
        assert!(wait > ms(10_000) && wait <= ms(10_000) + Duration::from_nanos(2), "{wait:?}");
        assert!(account.admit(start + ms(10_000)).is_err());
        assert_eq!(account.admit(start + wait), Ok(()));
    }

    #[test]
    fn no_more_than_a_minutes_worth_is_saved_up() {
        let start = Instant::now();
        let mut account = CpuAccount::new(start, ms(100));
        assert_eq!(account.admit(start + ms(3_600_000)), Ok(()));
        account.charge(ms(100));
        assert!(account.admit(start + ms(3_600_000)).is_err());
    }

    #[test]
    fn another_allowance_is_not_a_full_account() {
        let start = Instant::now();
        let mut account = CpuAccount::new(start, ms(100));
        account.charge(ms(150));
        account.reshape(start, ms(60_000));
        assert!(account.admit(start).is_err());
        assert_eq!(account.admit(start + ms(51)), Ok(()), "at a millisecond a millisecond");
    }

    proptest! {
        /// What is let in, one after the other, never uses more than what came in, a minute's worth and the last call.
        #[test]
        fn nothing_drifts(
            per_minute_ms in 1_u64..120_000,
            calls in proptest::collection::vec((0_u64..20_000_000_000, 1_u64..5_000_000_000), 1..200),
        ) {
            let start = Instant::now();
            let mut account = CpuAccount::new(start, ms(per_minute_ms));
            let (mut now_ns, mut used_ns, mut last_ns) = (0_u64, 0_u128, 0_u128);
            for (gap_ns, takes_ns) in calls {
                now_ns += gap_ns;
                match account.admit(start + Duration::from_nanos(now_ns)) {
                    Ok(()) => {
                        account.charge(Duration::from_nanos(takes_ns));
                        used_ns += u128::from(takes_ns);
                        last_ns = u128::from(takes_ns);
                    }
                    Err(wait) => {
                        let back = start + Duration::from_nanos(now_ns) + wait;
                        prop_assert!(account.admit(back).is_ok());
                        now_ns += wait.as_nanos() as u64;
                    }
                }
                let came_in = u128::from(per_minute_ms) * 1_000_000 * (u128::from(now_ns) + 60_000_000_000) / 60_000_000_000;
                prop_assert!(used_ns <= came_in + last_ns);
            }
        }
    }
}
