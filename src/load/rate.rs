//! How the rate of an open loop goes over the time: steady, a ramp, or steps; and its integral, the calls due so far.

const NS: f64 = 1e9;

/// Calls per second over the measuring time.
#[derive(Debug, Clone, PartialEq)]
pub enum Rate {
    /// The same from start to end.
    Steady(f64),
    /// From one rate to another in a straight line.
    Ramp {
        /// At the start.
        from: f64,
        /// At the end.
        to: f64,
    },
    /// One rate after the other, each for the same time.
    Steps(Vec<f64>),
}

/// In so many equal parts of its time a ramp is reported.
const RAMP_PARTS: usize = 10;

impl Rate {
    /// The rate it starts with, which is that of the warm-up.
    pub(super) fn first(&self) -> f64 {
        match self {
            Self::Steady(rate) => *rate,
            Self::Ramp { from, .. } => *from,
            Self::Steps(rates) => rates.first().copied().unwrap_or_default(),
        }
    }

    /// Every rate that is named.
    pub(super) fn named(&self) -> Vec<f64> {
        match self {
            Self::Steady(rate) => vec![*rate],
            Self::Ramp { from, to } => vec![*from, *to],
            Self::Steps(rates) => rates.clone(),
        }
    }

    /// In how many equal parts of its time it is reported.
    pub(super) fn parts(&self) -> usize {
        match self {
            Self::Steady(_) => 1,
            Self::Ramp { .. } => RAMP_PARTS,
            Self::Steps(rates) => rates.len(),
        }
    }
}

/// A rate over a length of time, as straight pieces.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    start_ns: f64,
    /// Calls due before it.
    calls_before: f64,
    /// Its rates, per second.
    from: f64,
    to: f64,
    seconds: f64,
}

impl Curve {
    /// `rate` over `seconds`.
    pub(super) fn new(rate: &Rate, seconds: f64) -> Self {
        let ends: Vec<(f64, f64)> = match rate {
            Rate::Steady(rate) => vec![(*rate, *rate)],
            Rate::Ramp { from, to } => vec![(*from, *to)],
            Rate::Steps(rates) => rates.iter().map(|rate| (*rate, *rate)).collect(),
        };
        let each = seconds / ends.len() as f64;
        let mut calls_before = 0.0;
        let pieces = ends.into_iter().enumerate().map(|(index, (from, to))| {
            let piece = Piece { start_ns: index as f64 * each * NS, calls_before, from, to, seconds: each };
            calls_before = piece.calls_after();
            piece
        });
        Self { pieces: pieces.collect() }
    }

    /// When `calls` are due, in nanoseconds from the start; past the last piece, as if that went on. `piece` is where the
    /// search begins, and is moved to where it ended: who asks for rising numbers does not search twice.
    pub(super) fn time_ns(&self, calls: f64, piece: &mut usize) -> f64 {
        while *piece + 1 < self.pieces.len() && calls >= self.pieces[*piece].calls_after() {
            *piece += 1;
        }
        self.pieces.get(*piece).map_or(f64::INFINITY, |piece| piece.time_ns(calls))
    }
}

impl Piece {
    fn calls_after(&self) -> f64 {
        self.calls_before + (self.from + self.to) / 2.0 * self.seconds
    }

    /// Solves `from·t + slope·t²/2 = calls` in the form that is exact for a slope of 0 and near it.
    fn time_ns(&self, calls: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds;
        let within = calls - self.calls_before;
        let root = (self.from * self.from + 2.0 * slope * within).max(0.0).sqrt();
        self.start_ns + 2.0 * within * NS / (self.from + root)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The integral of `rate` from 0 to `at` of `seconds`, by its definition.
    fn integral(rate: &Rate, at: f64, seconds: f64) -> f64 {
        match rate {
            Rate::Steady(rate) => rate * at,
            Rate::Ramp { from, to } => from * at + (to - from) / seconds * at * at / 2.0,
            Rate::Steps(rates) => {
                let each = seconds / rates.len() as f64;
                rates.iter().enumerate().map(|(i, rate)| rate * (at - i as f64 * each).clamp(0.0, each)).sum()
            }
        }
    }

    fn any_rate() -> impl Strategy<Value = Rate> {
        let number = 0.5f64..50_000.0;
        prop_oneof![
            number.clone().prop_map(Rate::Steady),
            (number.clone(), number.clone()).prop_map(|(from, to)| Rate::Ramp { from, to }),
            prop::collection::vec(number, 1..12).prop_map(Rate::Steps),
        ]
    }

    proptest! {
        #[test]
        fn the_time_of_a_call_is_where_the_integral_reaches_its_number(
            rate in any_rate(), part in 0.0f64..1.0, seconds in 0.1f64..100.0,
        ) {
            let calls = integral(&rate, seconds, seconds) * part;
            let time_ns = Curve::new(&rate, seconds).time_ns(calls, &mut 0);
            let due = integral(&rate, time_ns / NS, seconds);
            prop_assert!((due - calls).abs() <= 1e-6 * calls.max(1.0), "{due} calls are due, not {calls}");
        }
    }

    #[test]
    fn a_ramp_makes_the_mean_of_its_ends() {
        let curve = Curve::new(&Rate::Ramp { from: 1000.0, to: 50_000.0 }, 10.0);
        assert!((curve.time_ns(255_000.0, &mut 0) - 10.0 * NS).abs() < 1.0);
        let down = Curve::new(&Rate::Ramp { from: 50_000.0, to: 1000.0 }, 10.0);
        assert!((down.time_ns(255_000.0, &mut 0) - 10.0 * NS).abs() < 1.0);
    }
}
