//! What was measured. As JSON it is what scripts read: keys are only ever added.

use std::time::Duration;

use serde::Serialize;

use super::parts::{CallShare, Step, call_shares, steps};
use super::plan::{Arrivals, Mode, Plan};
use super::recorder::{Recorder, Seen};
use super::series::Second;
use super::times::Latency;
use super::usage::Usage;

/// What was measured; see `docs/load.md` for what the figures mean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Calls due per second of the measuring time.
    pub offered_rps: f64,
    /// Good answers per second, from the first call's due time to the last answer, but at least of the measuring time.
    pub achieved_rps: f64,
    /// The same, by the name it has in steps, in seconds, and in what is asserted.
    pub goodput: f64,
    /// Good answers per hundred calls that were due.
    pub goodput_percent: f64,
    /// Good answers.
    pub good: u64,
    /// Calls that were due.
    pub sent: u64,
    /// Calls that were answered, whatever the answer.
    pub answered: u64,
    /// Answers that are errors, unexpected ones included; sheds are not.
    pub errors: u64,
    /// Calls refused for want of room (JSON-RPC error −31503).
    pub shed: u64,
    /// Calls without an answer.
    pub lost: u64,
    /// Latency of the good answers in microseconds.
    pub latency_us: Latency,
    /// How long refusals took.
    pub shed_latency_us: Latency,
    /// What the server used meanwhile.
    pub server: ServerUse,
    /// Of the errors: lines that answer no open call, or are no JSON-RPC message.
    pub unexpected: u64,
    /// Of the lost calls: those that never left, because the server took no more input.
    pub unsent: u64,
    /// The first different texts of what went wrong.
    pub first_errors: Vec<Seen>,
    /// How many errors had texts beyond those.
    pub other_errors: u64,
    /// Why it ended before its time: what the server's end looked like. Nothing, if it did not.
    pub ended_early: Option<String>,
    /// Whether the observer stopped it.
    pub stopped: bool,
    /// `open` or `closed`.
    pub mode: &'static str,
    /// `fixed` or `poisson`, the arrivals of an open loop.
    pub arrivals: Option<&'static str>,
    /// The tool that was called; of a mix, all of them.
    pub tool: String,
    /// Connections, each to a server of its own.
    pub connections: usize,
    /// The version of MCP that the server agreed to; nothing, if it named none.
    pub protocol: Option<String>,
    /// Calls in flight of a closed loop.
    pub in_flight: Option<usize>,
    /// The measuring time in seconds: how long calls could become due.
    pub duration_s: f64,
    /// What this program used, and how late it was.
    pub generator: Generator,
    /// By step, or by tenth of a ramp; empty when the rate was steady.
    pub steps: Vec<Step>,
    /// By call; empty when there was only one.
    pub calls: Vec<CallShare>,
    /// Second by second.
    pub series: Vec<Second>,
    /// The latency of good answers as a curve: quantiles and their microseconds, ever closer to 1.
    pub latency_curve: Vec<(f64, f64)>,
}

/// What the server's process and all that it started used; nothing where the system does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ServerUse {
    /// CPU seconds from the beginning of the measuring time to the last answer.
    pub cpu_s: Option<f64>,
    /// Memory in RAM after the warm-up, in MB (10⁶ bytes).
    pub rss_mb_start: Option<f64>,
    /// Memory in RAM at the end.
    pub rss_mb_end: Option<f64>,
    /// The most memory that was seen, looking twice a second.
    pub rss_mb_peak: Option<f64>,
    /// CPU microseconds per answered call; nothing, when it was less than a tick of the system's clock in all.
    pub cpu_us_per_call: Option<f64>,
    /// CPU time as a part of the time that passed: 100 is one core.
    pub cpu_percent: Option<f64>,
}

/// What this program used, and how late it sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Generator {
    /// CPU seconds of this process in the same time.
    pub cpu_s: Option<f64>,
    /// How long after they were due the calls of an open loop were sent, in microseconds; part of their latency.
    pub lag_us: Option<Latency>,
}

/// How the CPU and memory figures of a run were taken.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) start: Option<Usage>,
    pub(super) end: Option<Usage>,
    pub(super) peak_bytes: u64,
    pub(super) own_cpu: Option<Duration>,
    /// Between start and end.
    pub(super) elapsed: Duration,
}

/// What the ledger holds at the end.
pub(super) struct Counted<'a> {
    pub(super) record: &'a Recorder,
    /// Calls sent and not answered.
    pub(super) open: u64,
    /// How long calls could become due.
    pub(super) time: Duration,
}

impl Report {
    pub(super) fn new(plan: &Plan, counted: &Counted<'_>, watched: &Watched) -> Self {
        let record = counted.record;
        let (sent, good) = (record.whole.sent, record.whole.good());
        let (mode, arrivals, in_flight) = match plan.mode {
            Mode::Open { arrivals: Arrivals::Fixed, .. } => ("open", Some("fixed"), None),
            Mode::Open { arrivals: Arrivals::Poisson, .. } => ("open", Some("poisson"), None),
            Mode::Closed { in_flight } => ("closed", None, Some(in_flight)),
        };
        let (first_errors, other_errors) = record.seen();
        // A few quick answers, or answers to the first calls only, would else be more than was asked for.
        let goodput = per_second(good, span(record).max(counted.time));
        Self {
            offered_rps: per_second(sent, counted.time),
            achieved_rps: goodput,
            goodput,
            goodput_percent: if sent == 0 { 0.0 } else { rounded(good as f64 * 100.0 / sent as f64) },
            good,
            sent,
            answered: record.answered,
            errors: record.whole.errors,
            shed: record.whole.shed,
            lost: counted.open + record.unsent,
            latency_us: record.whole.latency.latency(),
            shed_latency_us: record.shed_latency.latency(),
            server: ServerUse::new(watched, record.answered),
            unexpected: record.unexpected,
            unsent: record.unsent,
            first_errors,
            other_errors,
            ended_early: None,
            stopped: false,
            mode,
            arrivals,
            tool: plan.tools(),
            connections: plan.connections,
            protocol: None,
            in_flight,
            duration_s: rounded(counted.time.as_secs_f64()),
            generator: Generator {
                cpu_s: watched.own_cpu.map(|cpu| rounded(cpu.as_secs_f64())),
                lag_us: arrivals.map(|_| record.lag.latency()),
            },
            steps: steps(plan, &record.parts, counted.time),
            calls: call_shares(plan, &record.calls),
            series: Vec::new(),
            latency_curve: record.whole.latency.curve(),
        }
    }

    /// Whether every call was answered and the server lived to the end.
    pub fn is_complete(&self) -> bool {
        self.lost == 0 && self.ended_early.is_none()
    }
}

impl ServerUse {
    fn new(watched: &Watched, answered: u64) -> Self {
        let megabytes = |bytes: u64| rounded(bytes as f64 / 1e6);
        let cpu = watched.start.zip(watched.end).map(|(start, end)| end.cpu.saturating_sub(start.cpu).as_secs_f64());
        Self {
            cpu_s: cpu.map(rounded),
            rss_mb_start: watched.start.map(|usage| megabytes(usage.rss_bytes)),
            rss_mb_end: watched.end.filter(|usage| usage.rss_bytes > 0).map(|usage| megabytes(usage.rss_bytes)),
            rss_mb_peak: watched.start.map(|_| megabytes(watched.peak_bytes)),
            // Less than a tick is too little to be divided: 0 would say that calls cost nothing.
            cpu_us_per_call: cpu
                .filter(|cpu| answered > 0 && *cpu > 0.0)
                .map(|cpu| rounded(cpu * 1e6 / answered as f64)),
            cpu_percent: cpu
                .filter(|_| !watched.elapsed.is_zero())
                .map(|cpu| rounded(cpu * 100.0 / watched.elapsed.as_secs_f64())),
        }
    }
}

/// From the first call's due time to the last answer.
fn span(record: &Recorder) -> Duration {
    let (Some(first), Some(last)) = (record.first_due_ns, record.last_answer_ns) else { return Duration::ZERO };
    Duration::from_nanos(last.saturating_sub(first))
}

/// How many there were in each second of `time`.
pub(super) fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { rounded(count as f64 / time.as_secs_f64()) }
}

/// To three digits behind the point: what is behind them is noise.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::super::recorder::Place;
    use super::super::wire::Outcome;
    use super::*;

    const MS: u64 = 1_000_000;

    /// Of ten calls that were due in the first ten milliseconds of `time`, the last of them answered at `last_ms`.
    fn report(time: Duration, last_ms: u64, cpu_ms: u64) -> Report {
        let plan = Plan::new(Mode::Closed { in_flight: 1 }, super::super::plan::Call::new("t", &Default::default()));
        let mut record = Recorder::new(1, 1);
        let place = Place { call: 0, part: 0 };
        (0..10).for_each(|ms| record.sent(place, ms * MS, ms * MS));
        (0..10).for_each(|ms| record.answered(place, Outcome::Good, ms * MS, (last_ms - 9 + ms) * MS));
        let at = |cpu_ms| Some(Usage { cpu: Duration::from_millis(cpu_ms), rss_bytes: 1 });
        let watched = Watched { start: at(500), end: at(500 + cpu_ms), elapsed: time, ..Watched::default() };
        Report::new(&plan, &Counted { record: &record, open: 0, time }, &watched)
    }

    #[test]
    fn no_more_is_achieved_than_was_offered() {
        let quick = report(Duration::from_secs(1), 10, 0);
        assert_eq!((quick.offered_rps, quick.achieved_rps, quick.goodput), (10.0, 10.0, 10.0));
        let slow = report(Duration::from_secs(1), 4000, 0);
        assert_eq!(
            (slow.offered_rps, slow.achieved_rps, slow.goodput),
            (10.0, 2.5, 2.5),
            "late answers take their time"
        );
    }

    #[test]
    fn less_than_a_tick_of_cpu_is_no_cost_of_a_call() {
        let of = |cpu_ms| report(Duration::from_secs(1), 10, cpu_ms).server;
        assert_eq!((of(0).cpu_s, of(0).cpu_us_per_call), (Some(0.0), None));
        assert_eq!((of(10).cpu_s, of(10).cpu_us_per_call), (Some(0.01), Some(1000.0)));
    }
}
