//! Where values stand on an axis, and which of them are written there.

use super::text::grouped;

/// How values are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Evenly, from 0 to a round number.
    Linear,
    /// Evenly, from 0 to the last value.
    Exact,
    /// Every factor of ten as long as the next.
    Log,
    /// Quantiles: 90 %, 99 %, 99.9 % equally far apart.
    Nines,
}

/// What values are, for those who read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Seconds,
    PerSecond,
    Microseconds,
    Megabytes,
    Percent,
    Quantile,
    Round,
}

/// See the module documentation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    scale: Scale,
    kind: Kind,
    /// Already spread: see [`Axis::spread`].
    low: f64,
    high: f64,
}

impl Axis {
    /// An axis for `values`.
    pub(super) fn new(scale: Scale, kind: Kind, values: impl Iterator<Item = f64> + Clone) -> Self {
        let (min, max) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max));
        let (low, high) = match scale {
            Scale::Linear => (0.0, round_up(max)),
            Scale::Exact => (0.0, max),
            Scale::Log => {
                let min = if min.is_finite() { min.max(1e-3) } else { 1.0 };
                // One through the next round number of one through it is the round number before it.
                (-round_up(1.0 / min).log10(), round_up(max.max(min * 2.0)).log10())
            }
            Scale::Nines => (0.0, spread_nines(max).max(1.0)),
        };
        Self { scale, kind, low, high: if high > low { high } else { low + 1.0 } }
    }

    /// Where `value` stands: 0 is the start, 1 the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        ((self.spread(value) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn spread(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear | Scale::Exact => value,
            Scale::Log => value.max(1e-9).log10(),
            Scale::Nines => spread_nines(value),
        }
    }

    /// The values that are written.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let within = |value: &f64| (self.low - 1e-9..=self.high + 1e-9).contains(&self.spread(*value));
        match self.scale {
            Scale::Linear | Scale::Exact => {
                let step = round_up(self.high / 6.0);
                let ticks = (0..=12).map(|index| f64::from(index) * step).filter(within);
                ticks.filter(|tick| self.kind != Kind::Round || (*tick >= 1.0 && tick.fract() == 0.0)).collect()
            }
            Scale::Log => {
                let fine: &[f64] = if self.high - self.low <= 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let decades = self.low.floor() as i32..=self.high.ceil() as i32;
                decades
                    .flat_map(|decade| fine.iter().map(move |digit| digit * 10_f64.powi(decade)))
                    .filter(within)
                    .collect()
            }
            Scale::Nines => {
                let nines = (1..10).map(|nines| 1.0 - 10_f64.powi(-nines));
                [0.0, 0.5].into_iter().chain(nines).filter(within).collect()
            }
        }
    }

    /// `value` as it is written.
    pub(super) fn shown(&self, value: f64) -> String {
        match self.kind {
            Kind::Seconds => format!("{} s", plain(value)),
            Kind::PerSecond => grouped(value),
            Kind::Microseconds => match value {
                _ if value < 1e3 => format!("{} µs", plain(value)),
                _ if value < 1e6 => format!("{} ms", plain(value / 1e3)),
                _ => format!("{} s", plain(value / 1e6)),
            },
            Kind::Megabytes => format!("{} MB", plain(value)),
            Kind::Percent => format!("{} %", plain(value)),
            Kind::Round => format!("round {}", plain(value)),
            Kind::Quantile => {
                let text = format!("{:.7}", value * 100.0);
                format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
            }
        }
    }
}

/// Three digits, and no zeros behind the point.
fn plain(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn spread_nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-12).log10()
}

/// The next of 1, 2, 5, 10, 20, 50 and so on.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let decade = 10_f64.powf(value.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * decade >= value * (1.0 - 1e-9));
    digit.unwrap_or(10.0) * decade
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let shown = |scale, kind, max| {
            let axis = Axis::new(scale, kind, [max, max / 3.0].into_iter());
            axis.ticks().into_iter().map(|tick| axis.shown(tick)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(Scale::Linear, Kind::PerSecond, 9_800.0), "0 2,000 4,000 6,000 8,000 10,000");
        assert_eq!(shown(Scale::Exact, Kind::Seconds, 10.0), "0 s 2 s 4 s 6 s 8 s 10 s");
        assert_eq!(shown(Scale::Exact, Kind::Round, 3.0), "round 1 round 2 round 3");
        assert_eq!(shown(Scale::Log, Kind::Microseconds, 1_500.0), "500 µs 1 ms 2 ms");
        assert_eq!(shown(Scale::Nines, Kind::Quantile, 0.9999), "0 % 50 % 90 % 99 % 99.9 % 99.99 %");
    }

    proptest! {
        #[test]
        fn every_value_has_its_place_and_larger_ones_are_not_before_it(
            mut values in prop::collection::vec(0.0f64..1e7, 1..20), log: bool,
        ) {
            let scale = if log { Scale::Log } else { Scale::Linear };
            let axis = Axis::new(scale, Kind::Microseconds, values.clone().into_iter());
            values.sort_by(f64::total_cmp);
            let places: Vec<f64> = values.iter().map(|value| axis.place(*value)).collect();
            prop_assert!(places.is_sorted() && places.iter().all(|place| (0.0..=1.0).contains(place)));
            prop_assert!((1..=25).contains(&axis.ticks().len()), "{:?}", axis.ticks());
        }
    }
}
