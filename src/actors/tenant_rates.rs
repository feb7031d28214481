//! The rates that tenants are held to: a token bucket for each that asks for one with `budgets.rps` of its ContextFrame.
//! A pure core that takes the time as an argument.
//!
//! Clients choose tenant ids, so there are at most 1,024 buckets; the one not used for longest makes way. A
//! bucket that is full by then knows nothing that a new one would not. One that isn't leaves what it has to the
//! newcomer: whoever keeps changing ids gets no more than so many tenants are due, and is not given a full bucket
//! for each new name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::token_bucket::{Rate, TokenBucket};

/// Tenants that are remembered.
const TENANTS: usize = 1024;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct TenantRates {
    buckets: HashMap<Arc<str>, Entry>,
    /// Counts the calls, so that it is known who was here last.
    calls: u64,
}

#[derive(Debug)]
struct Entry {
    bucket: TokenBucket,
    last: u64,
}

impl TenantRates {
    /// Takes one of the calls that `tenant` may make, `rate` a second and one second's worth at once.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&mut self, now: Instant, tenant: &Arc<str>, rate: Rate) -> Result<(), Duration> {
        self.calls += 1;
        let burst = rate.one_second();
        if !self.buckets.contains_key(tenant) {
            let bucket = match self.make_way() {
                Some(mut left) => {
                    left.reshape(now, rate, burst);
                    left
                }
                None => TokenBucket::new(now, rate, burst),
            };
            self.buckets.insert(Arc::clone(tenant), Entry { bucket, last: 0 });
        }
        let entry = self.buckets.get_mut(tenant).expect("it is there or was put there");
        entry.last = self.calls;
        // The rate may differ from call to call; what came in until now came in at the old one.
        entry.bucket.reshape(now, rate, burst);
        entry.bucket.take(now)
    }

    /// Puts a call back that was then not made.
    pub fn give_back(&mut self, tenant: &str) {
        if let Some(entry) = self.buckets.get_mut(tenant) {
            entry.bucket.give_back();
        }
    }

    /// The bucket of whoever has been away for longest, if there is no room for another.
    fn make_way(&mut self) -> Option<TokenBucket> {
        if self.buckets.len() < TENANTS {
            return None;
        }
        let oldest = self.buckets.iter().min_by_key(|(_, entry)| entry.last).map(|(tenant, _)| Arc::clone(tenant))?;
        self.buckets.remove(&oldest).map(|entry| entry.bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: usize) -> Arc<str> {
        format!("tenant {number}").into()
    }

    #[test]
    fn tenants_have_rates_of_their_own() {
        let (mut rates, now, rate) = (TenantRates::default(), Instant::now(), Rate::per_second(2.0));
        let (a, b) = (tenant(0), tenant(1));
        assert_eq!((rates.take(now, &a, rate), rates.take(now, &a, rate)), (Ok(()), Ok(())));
        assert_eq!(rates.take(now, &a, rate), Err(Duration::from_millis(500)));
        assert_eq!(rates.take(now, &b, rate), Ok(()));
        rates.give_back(&a);
        assert_eq!(rates.take(now, &a, rate), Ok(()));
    }

    #[test]
    fn another_rate_is_another_bucket_and_not_a_full_one() {
        let (mut rates, now, a) = (TenantRates::default(), Instant::now(), tenant(0));
        rates.take(now, &a, Rate::per_second(1.0)).unwrap();
        assert!(rates.take(now, &a, Rate::per_second(1000.0)).is_err());
        let later = now + Duration::from_millis(1);
        assert_eq!(rates.take(later, &a, Rate::per_second(1000.0)), Ok(()), "at the new rate from then on");
    }

    #[test]
    fn whoever_changes_names_gets_no_full_bucket_with_each() {
        let (mut rates, now, rate) = (TenantRates::default(), Instant::now(), Rate::per_second(1.0));
        let let_in = (0..10 * TENANTS).filter(|number| rates.take(now, &tenant(*number), rate).is_ok()).count();
        assert_eq!(let_in, TENANTS);
        assert_eq!(rates.buckets.len(), TENANTS);
    }

    #[test]
    fn a_newcomer_after_a_quiet_time_finds_a_full_bucket() {
        let (mut rates, now, rate) = (TenantRates::default(), Instant::now(), Rate::per_second(3.0));
        for number in 0..TENANTS {
            rates.take(now, &tenant(number), rate).unwrap();
        }
        let (later, newcomer) = (now + Duration::from_secs(1), tenant(TENANTS));
        for _ in 0..3 {
            assert_eq!(rates.take(later, &newcomer, rate), Ok(()));
        }
        assert!(rates.take(later, &newcomer, rate).is_err());
    }
}
