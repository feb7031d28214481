//! Many times, told apart to three digits: an HDR histogram that grows with what it holds, and its quantiles.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Times are told apart to three digits, up to an hour.
const DIGITS: u8 = 3;
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Points of a curve between one nine and the next, as 99 % and 99.9 %.
const POINTS_PER_NINE: u32 = 12;

/// See the module documentation.
#[derive(Debug, Clone)]
pub(super) struct Times(Histogram<u32>);

impl Times {
    /// No times.
    pub(super) fn new() -> Self {
        Self(Histogram::new(DIGITS).expect("three digits are allowed"))
    }

    /// From `from_ns` to `to_ns`.
    pub(super) fn record(&mut self, from_ns: u64, to_ns: u64) {
        let ns = to_ns.saturating_sub(from_ns).clamp(1, LONGEST_NS);
        self.0.record(ns).expect("it grows, and an hour fits");
    }

    /// Adds those of `other`.
    pub(super) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("it grows, and an hour fits");
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The quantile, 0 to 1, in microseconds; nothing when there is no time.
    pub(super) fn quantile_us(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1e3)
    }

    /// The usual quantiles.
    pub(super) fn latency(&self) -> Latency {
        let at = |quantile| self.quantile_us(quantile);
        let max = (!self.0.is_empty()).then(|| self.0.max() as f64 / 1e3);
        Latency { p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99), p99_9: at(0.999), max }
    }

    /// Quantiles and their microseconds, ever closer to 1, as far as there are times to tell them apart.
    pub(super) fn curve(&self) -> Vec<(f64, f64)> {
        let count = self.len() as f64;
        let nines = (0..).map(|point| f64::from(point) / f64::from(POINTS_PER_NINE));
        let quantiles =
            nines.map(|nines| 1.0 - 10_f64.powf(-nines)).take_while(|quantile| (1.0 - quantile) * count >= 1.0);
        quantiles.filter_map(|quantile| Some((quantile, self.quantile_us(quantile)?))).collect()
    }
}

/// Quantiles in microseconds; nothing where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the field's")]
pub struct Latency {
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub p99_9: Option<f64>,
    pub max: Option<f64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_beyond_an_hour_is_an_hour_and_none_at_all_a_nanosecond() {
        let mut times = Times::new();
        times.record(0, u64::MAX);
        times.record(5, 4);
        assert_eq!(times.len(), 2);
        let hour_us = times.latency().max.unwrap();
        assert!((hour_us / 3.6e9 - 1.0).abs() < 0.002, "{hour_us}");
    }

    #[test]
    fn a_curve_rises_and_ends_where_single_times_begin() {
        let mut times = Times::new();
        assert_eq!(times.curve(), []);
        (1..=10_000).for_each(|us| times.record(0, us * 1000));
        let curve = times.curve();
        assert!(curve.is_sorted() && curve[0].0 == 0.0, "{curve:?}");
        let last = curve.last().unwrap().0;
        assert!((0.9998..=0.9999).contains(&last), "{last}");
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_a_sorted_list_to_three_digits(
            mut ns in prop::collection::vec(1u64..10_000_000_000, 1..300), split in any::<prop::sample::Index>(),
        ) {
            let (mut times, mut others) = (Times::new(), Times::new());
            let split = split.index(ns.len());
            ns[..split].iter().for_each(|ns| times.record(0, *ns));
            ns[split..].iter().for_each(|ns| others.record(0, *ns));
            times.add(&others);
            ns.sort_unstable();
            for quantile in [0.5, 0.9, 0.99] {
                let place = ((ns.len() as f64 * quantile).ceil() as usize).clamp(1, ns.len());
                let wanted_us = ns[place - 1] as f64 / 1e3;
                let us = times.quantile_us(quantile).unwrap();
                prop_assert!((us - wanted_us).abs() <= wanted_us * 0.001 + 0.001, "{us}, not {wanted_us}");
            }
        }
    }
}
