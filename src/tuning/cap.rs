//! How far a knob may be from where it was within a day.
//!
//! Two values are *near* when the larger is at most the cap's percentage above the smaller. That is a little stricter
//! than ± the percentage of the older one, and it is the same in both directions: so going back to a value that was
//! in force within the day is always allowed, and a rollback can never break the cap.
//!
//! A value is allowed when it is near every value that was in force in the last 24 hours, not only the one exactly 24
//! hours ago. So it stays within the cap of its own past however long it stands, and steps cannot be compounded.

use std::ops::RangeInclusive;

/// The window of the cap.
pub const DAY_MS: u64 = 24 * 3600 * 1000;

const WHOLE_PPM: u128 = 1_000_000;

/// The largest change within a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeCap {
    ppm: u32,
}

impl ChangeCap {
    /// The most a person may allow, in percent.
    pub const MOST_PCT: f64 = 10.0;

    /// A cap of so many percent; at most [`ChangeCap::MOST_PCT`].
    pub fn from_pct(pct: f64) -> Self {
        Self { ppm: (pct.clamp(0.0, Self::MOST_PCT) * 10_000.0) as u32 }
    }

    /// In percent.
    pub fn pct(self) -> f64 {
        f64::from(self.ppm) / 10_000.0
    }

    /// The values near every one of `values`; all there are, if there is none. It may be empty.
    pub fn near_all(self, values: impl IntoIterator<Item = u64>) -> RangeInclusive<u64> {
        let scale = WHOLE_PPM + u128::from(self.ppm);
        let narrow = |range: RangeInclusive<u64>, value: u64| {
            let value = u128::from(value);
            let lowest = u64::try_from((value * WHOLE_PPM).div_ceil(scale)).expect("it is not above the value");
            let highest = u64::try_from(value * scale / WHOLE_PPM).unwrap_or(u64::MAX);
            lowest.max(*range.start())..=highest.min(*range.end())
        };
        values.into_iter().fold(0..=u64::MAX, narrow)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tenth_of_a_small_number_is_no_step() {
        let cap = ChangeCap::from_pct(10.0);
        assert_eq!(cap.near_all([9]), 9..=9);
        assert_eq!(cap.near_all([10]), 10..=11);
        assert_eq!(cap.near_all([1024]), 931..=1126);
        assert_eq!(cap.near_all([100, 110]), 100..=110);
        assert_eq!(ChangeCap::from_pct(50.0), cap);
        assert_eq!(ChangeCap::from_pct(0.0).near_all([1000]), 1000..=1000);
    }

    proptest! {
        #[test]
        fn near_is_within_the_percentage_and_the_same_in_both_directions(
            a in 1_u64..10_000_000, b in 1_u64..10_000_000, close in 0_u64..12, pct in 0_u64..=10,
        ) {
            let cap = ChangeCap::from_pct(pct as f64);
            for b in [b, a + a * close / 100, a - a * close / 100] {
                let near = cap.near_all([a]).contains(&b);
                prop_assert_eq!(near, cap.near_all([b]).contains(&a));
                prop_assert!(!near || a.abs_diff(b) * 100 <= pct * a);
            }
        }
    }
}
