//! What to do: which calls, how often, for how long, over how many connections.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::arguments::Arguments;
use super::deal::MAX_WEIGHT;
use super::protocol::Protocol;
use super::rate::Rate;

/// Calls a second that can be asked for. More than a pipe carries.
const MAX_RATE: f64 = 1_000_000.0;

/// Calls in flight that can be asked for.
const MAX_IN_FLIGHT: usize = 100_000;

/// Connections that can be asked for; each is a server of its own and three threads here.
const MAX_CONNECTIONS: usize = 64;

/// Steps that can be asked for; each has a row in the report.
const MAX_STEPS: usize = 100;

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
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// The clock, whatever the server does.
    Open {
        /// Calls per second of all connections together.
        rate: Rate,
        /// How they are spaced.
        arrivals: Arrivals,
    },
    /// An answer: there are always this many calls in flight.
    Closed {
        /// Calls in flight on all connections together.
        in_flight: usize,
    },
}

/// A call that is made again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The tool's name.
    pub tool: String,
    /// Its arguments.
    pub arguments: Arguments,
    /// How often, beside the other calls of a mix.
    pub weight: u32,
}

impl Call {
    /// A call whose arguments are always the same.
    pub fn new(tool: &str, arguments: &Map<String, Value>) -> Self {
        Self { tool: tool.to_owned(), arguments: Arguments::fixed(arguments), weight: 1 }
    }
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
    /// What is called: one call, or a mix.
    pub calls: Vec<Call>,
    /// What `{{file}}` in arguments stands for, in turn; as the inside of JSON strings.
    pub files: Arc<[String]>,
    /// Connections, each with a server of its own.
    pub connections: usize,
    /// What is spoken.
    pub protocol: Protocol,
    /// What randomness starts from; the same seed makes the same calls.
    pub seed: u64,
}

impl Plan {
    /// One call over one connection for 10 s after 2 s of warm-up.
    pub fn new(mode: Mode, call: Call) -> Self {
        Self {
            mode,
            duration: Duration::from_secs(10),
            warm_up: Duration::from_secs(2),
            drain: Duration::from_secs(10),
            calls: vec![call],
            files: Arc::new([]),
            connections: 1,
            protocol: Protocol::default(),
            seed: 1,
        }
    }

    /// Says what cannot be done, if anything.
    ///
    /// # Errors
    /// A sentence for the person who wrote the plan.
    pub fn check(&self) -> Result<(), String> {
        self.check_mode()?;
        if self.duration.is_zero() {
            return Err("a duration of 0 measures nothing; choose one like 10s".to_owned());
        }
        if [self.duration, self.warm_up, self.drain].into_iter().any(|time| time > MAX_DURATION) {
            return Err("a measurement may take a day at most; choose shorter times".to_owned());
        }
        let connections = self.connections;
        if !(1..=MAX_CONNECTIONS).contains(&connections) {
            return Err(format!("{connections} connections cannot be kept; choose 1 to {MAX_CONNECTIONS}"));
        }
        let weights = self.calls.iter().map(|call| u64::from(call.weight));
        if self.calls.iter().any(|call| call.weight == 0) || !(1..=u64::from(MAX_WEIGHT)).contains(&weights.sum()) {
            return Err(format!("the weights of the calls must be 1 or more, and {MAX_WEIGHT} at most together"));
        }
        if self.files.is_empty() && self.calls.iter().any(|call| call.arguments.need_files()) {
            return Err("{{file}} stands for nothing; name the files with --files".to_owned());
        }
        Ok(())
    }

    fn check_mode(&self) -> Result<(), String> {
        match &self.mode {
            Mode::Open { rate: Rate::Steps(rates), .. } if !(1..=MAX_STEPS).contains(&rates.len()) => {
                return Err(format!("{} steps cannot be reported; choose 1 to {MAX_STEPS}", rates.len()));
            }
            Mode::Open { rate, .. } => {
                if let Some(rate) = rate.named().into_iter().find(|rate| !(*rate > 0.0 && *rate <= MAX_RATE)) {
                    return Err(format!(
                        "a rate of {rate} a second cannot be kept; choose one above 0, up to {MAX_RATE}"
                    ));
                }
            }
            Mode::Closed { in_flight } if !(1..=MAX_IN_FLIGHT).contains(in_flight) => {
                return Err(format!("{in_flight} calls in flight cannot be kept; choose 1 to {MAX_IN_FLIGHT}"));
            }
            Mode::Closed { in_flight } if *in_flight < self.connections => {
                let connections = self.connections;
                return Err(format!(
                    "{in_flight} calls in flight leave some of {connections} connections idle; choose one each or more"
                ));
            }
            Mode::Closed { .. } => {}
        }
        Ok(())
    }

    /// What is called, in a few words.
    pub(super) fn tools(&self) -> String {
        let name = |call: &Call| match call.weight {
            1 => call.tool.clone(),
            weight => format!("{weight}*{}", call.tool),
        };
        self.calls.iter().map(name).collect::<Vec<String>>().join(" + ")
    }

    /// In how many equal parts of its time it is reported.
    pub(super) fn parts(&self) -> usize {
        match &self.mode {
            Mode::Open { rate, .. } => rate.parts(),
            Mode::Closed { .. } => 1,
        }
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

/// Reads a rate like `500`, `10k` or `1.5k`.
///
/// # Errors
/// A sentence for the person who wrote it.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let (number, thousands) = text.strip_suffix('k').map_or((text, 1.0), |number| (number, 1000.0));
    let number: Option<f64> = number.parse().ok().filter(|number: &f64| number.is_finite());
    number
        .map(|number| number * thousands)
        .ok_or_else(|| format!("{text:?} is no rate; write calls per second, for example 500 or 10k"))
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
    fn rates_may_be_thousands() {
        for (text, rate) in [("500", 500.0), ("10k", 10_000.0), ("1.5k", 1500.0), ("0.5", 0.5)] {
            assert_eq!(parse_rate(text), Ok(rate), "{text}");
        }
        for text in ["", "k", "ten", "inf", "NaN", "1m", "1 k"] {
            assert!(parse_rate(text).unwrap_err().contains("10k"), "{text}");
        }
    }

    fn plan(mode: Mode) -> Plan {
        Plan::new(mode, Call::new("t", &Map::new()))
    }

    fn open(rate: Rate) -> Plan {
        plan(Mode::Open { rate, arrivals: Arrivals::Fixed })
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for rate in [0.5, 10_000.0, 1e6] {
            assert_eq!(open(Rate::Steady(rate)).check(), Ok(()));
        }
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e6] {
            assert!(open(Rate::Steady(rate)).check().is_err(), "{rate}");
            assert!(open(Rate::Ramp { from: 1.0, to: rate }).check().is_err(), "{rate}");
            assert!(open(Rate::Steps(vec![1.0, rate])).check().is_err(), "{rate}");
        }
        assert!(open(Rate::Steps(vec![])).check().is_err());
        for in_flight in [0, 100_001] {
            assert!(plan(Mode::Closed { in_flight }).check().is_err(), "{in_flight}");
        }
        let good = plan(Mode::Closed { in_flight: 4 });
        assert_eq!(good.check(), Ok(()));
        for connections in [0, 5, 65] {
            assert!(Plan { connections, ..good.clone() }.check().is_err(), "{connections}");
        }
        for seconds in [0, 100_000] {
            assert!(Plan { duration: Duration::from_secs(seconds), ..good.clone() }.check().is_err(), "{seconds}");
        }
    }

    #[test]
    fn a_mix_has_weights_and_the_files_it_names() {
        let good = plan(Mode::Closed { in_flight: 1 });
        let with = |weight, arguments| {
            let call = Call { tool: "t".to_owned(), arguments: Arguments::parse(arguments).unwrap(), weight };
            Plan { calls: vec![call, good.calls[0].clone()], ..good.clone() }.check()
        };
        assert_eq!(with(3, "{}"), Ok(()));
        assert!(with(0, "{}").is_err() && with(10_000, "{}").is_err() && with(u32::MAX, "{}").is_err());
        assert!(with(1, r#"{"path":"{{file}}"}"#).unwrap_err().contains("--files"));
        assert!(Plan { calls: vec![], ..good.clone() }.check().is_err());
    }
}
