//! What to do: which call, how often, for how long.

use std::time::Duration;

use serde_json::{Map, Value};

/// Calls a second that can be asked for. More than a pipe carries.
const MAX_RATE: f64 = 1_000_000.0;

/// Calls in flight that can be asked for.
const MAX_IN_FLIGHT: usize = 100_000;

/// The longest time that can be asked for.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// When the calls of an open loop are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly spaced.
    Fixed,
    /// Independent of each other: exponential gaps, as many callers who know nothing of each other make them.
    Poisson,
}

/// What decides that a call is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// The clock, whatever the server does.
    Open {
        /// Calls per second.
        rate: f64,
        /// How they are spaced.
        arrivals: Arrivals,
        /// What the randomness of [`Arrivals::Poisson`] starts from.
        seed: u64,
    },
    /// An answer: there are always this many calls in flight.
    Closed {
        /// Calls in flight.
        in_flight: usize,
    },
}

/// The call that is made again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The tool's name.
    pub tool: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What decides that a call is sent.
    pub mode: Mode,
    /// How long it measures.
    pub duration: Duration,
    /// How long it does the same before that without counting.
    pub warm_up: Duration,
    /// How long after the end answers are waited for; what is missing then is lost.
    pub drain: Duration,
    /// The call.
    pub call: Call,
}

impl Plan {
    /// Says what cannot be done, if anything.
    ///
    /// # Errors
    /// A sentence for the person who wrote the plan.
    pub fn check(&self) -> Result<(), String> {
        match self.mode {
            Mode::Open { rate, .. } if !(rate > 0.0 && rate <= MAX_RATE) => {
                return Err(format!("a rate of {rate} a second cannot be kept; choose one above 0, up to {MAX_RATE}"));
            }
            Mode::Closed { in_flight } if !(1..=MAX_IN_FLIGHT).contains(&in_flight) => {
                return Err(format!("{in_flight} calls in flight cannot be kept; choose 1 to {MAX_IN_FLIGHT}"));
            }
            _ => {}
        }
        if self.duration.is_zero() {
            return Err("a duration of 0 measures nothing; choose one like 10s".to_owned());
        }
        if [self.duration, self.warm_up, self.drain].into_iter().any(|time| time > MAX_DURATION) {
            return Err("a measurement may take a day at most; choose shorter times".to_owned());
        }
        Ok(())
    }
}

/// Reads a time like `500ms`, `1.5s` or `2m`.
///
/// # Errors
/// A sentence for the person who wrote it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; write a number with ms, s or m, for example 500ms, 10s or 2m");
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let seconds_of_unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds_of_unit).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        for (text, milliseconds) in [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1.5s", 1500), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "10", "s", "10h", "-1s", "1e400s", "NaNs", "ten s", "10 sec"] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains("500ms"), "{text}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let open = |rate| Mode::Open { rate, arrivals: Arrivals::Fixed, seed: 0 };
        let plan = |mode, duration| Plan {
            mode,
            duration: Duration::from_secs(duration),
            warm_up: Duration::ZERO,
            drain: Duration::ZERO,
            call: Call { tool: "t".to_owned(), arguments: Map::new() },
        };
        for rate in [0.5, 10_000.0, 1e6] {
            assert_eq!(plan(open(rate), 1).check(), Ok(()));
        }
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e6] {
            assert!(plan(open(rate), 1).check().is_err(), "{rate}");
        }
        for in_flight in [0, 100_001] {
            assert!(plan(Mode::Closed { in_flight }, 1).check().is_err(), "{in_flight}");
        }
        assert!(plan(open(1.0), 0).check().is_err());
        assert!(plan(open(1.0), 100_000).check().is_err());
    }
}
