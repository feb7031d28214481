//! Durations in bins of a fixed size: four to each doubling, from a microsecond to an hour.
//!
//! A window needs one number of it, the 95th percentile, and a bin is never wider than a quarter of what is in it.

use std::time::Duration;

/// Four bins for each of the 32 doublings up to an hour, and the first four.
pub const BINS: usize = 4 * 32;

/// See the module documentation.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: [u64; BINS],
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BINS], total: 0 }
    }
}

impl Histogram {
    /// With so many durations in each bin.
    pub fn of(counts: [u64; BINS]) -> Self {
        Self { total: counts.iter().sum(), counts }
    }

    /// One more duration.
    pub fn add(&mut self, duration: Duration) {
        self.counts[bin(duration)] += 1;
        self.total += 1;
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The microseconds that 95 of 100 do not exceed, as the upper end of their bin; 0 when there are none.
    pub fn p95_us(&self) -> u64 {
        let rank = (self.total * 95).div_ceil(100);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank && rank > 0
        });
        found.map_or(0, upper_end)
    }
}

/// The bin of `duration`; those over an hour are in the last.
pub fn bin(duration: Duration) -> usize {
    bin_of(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

fn bin_of(micros: u64) -> usize {
    if micros < 4 {
        return micros as usize;
    }
    let doubling = micros.ilog2() as usize;
    let quarter = (micros >> (doubling - 2)) as usize & 3;
    (4 * (doubling - 1) + quarter).min(BINS - 1)
}

/// The largest number that falls into `bin`.
fn upper_end(bin: usize) -> u64 {
    if bin < 4 {
        return bin as u64;
    }
    let (doubling, quarter) = (bin / 4 + 1, bin as u64 % 4);
    ((5 + quarter) << (doubling - 2)) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bin_ends_where_the_next_begins_and_is_narrow(micros in 0_u64..3_600_000_000) {
            let end = upper_end(bin_of(micros));
            prop_assert!(end >= micros && end <= micros + micros / 4);
            prop_assert_eq!(bin_of(end), bin_of(micros));
            prop_assert_eq!(bin_of(end + 1), bin_of(micros) + 1);
        }

        #[test]
        fn p95_is_the_sorted_ones_to_a_quarter(mut micros in proptest::collection::vec(0_u64..100_000_000, 1..300)) {
            let mut histogram = Histogram::default();
            micros.iter().for_each(|each| histogram.add(Duration::from_micros(*each)));
            micros.sort_unstable();
            let exact = micros[(micros.len() * 95).div_ceil(100) - 1];
            let p95 = histogram.p95_us();
            prop_assert!(p95 >= exact && p95 <= exact + exact / 4, "{p95} is not {exact}");
        }
    }

    #[test]
    fn nothing_has_no_p95() {
        assert_eq!(Histogram::default().p95_us(), 0);
    }
}
