//! What was measured. As JSON it is what scripts read: keys are only ever added.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::plan::{Arrivals, Mode, Plan};
use super::recorder::{Recorder, Seen};
use super::usage::Usage;

/// What was measured; see `docs/load.md` for what the figures mean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Calls due per second of the measuring time.
    pub offered_rps: f64,
    /// Good answers per second, from the first call's due time to the last answer.
    pub achieved_rps: f64,
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
    /// The tool that was called.
    pub tool: String,
    /// Calls in flight of a closed loop.
    pub in_flight: Option<usize>,
    /// The measuring time in seconds: how long calls could become due.
    pub duration_s: f64,
    /// What this program used, and how late it was.
    pub generator: Generator,
}

/// Quantiles in microseconds; nothing where nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the field's")]
pub struct Latency {
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub p99_9: Option<f64>,
    pub max: Option<f64>,
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
    /// CPU microseconds per answered call.
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
    /// Calls due and not sent.
    pub(super) unsent: u64,
    /// How long calls could become due.
    pub(super) time: Duration,
}

impl Report {
    pub(super) fn new(plan: &Plan, counted: &Counted<'_>, watched: &Watched) -> Self {
        let record = counted.record;
        let sent = record.sent + counted.unsent;
        let (mode, arrivals, in_flight) = match plan.mode {
            Mode::Open { arrivals: Arrivals::Fixed, .. } => ("open", Some("fixed"), None),
            Mode::Open { arrivals: Arrivals::Poisson, .. } => ("open", Some("poisson"), None),
            Mode::Closed { in_flight } => ("closed", None, Some(in_flight)),
        };
        let (first_errors, other_errors) = record.seen();
        Self {
            offered_rps: per_second(sent, counted.time),
            achieved_rps: per_second(record.latency.len(), span(record)),
            sent,
            answered: record.answered,
            errors: record.errors,
            shed: record.shed,
            lost: counted.open + counted.unsent,
            latency_us: Latency::of(&record.latency),
            server: ServerUse::new(watched, record.answered),
            unexpected: record.unexpected,
            unsent: counted.unsent,
            first_errors,
            other_errors,
            ended_early: None,
            stopped: false,
            mode,
            arrivals,
            tool: plan.call.tool.clone(),
            in_flight,
            duration_s: rounded(counted.time.as_secs_f64()),
            generator: Generator {
                cpu_s: watched.own_cpu.map(|cpu| rounded(cpu.as_secs_f64())),
                lag_us: arrivals.map(|_| Latency::of(&record.lag)),
            },
        }
    }

    /// Whether every call was answered and the server lived to the end.
    pub fn is_complete(&self) -> bool {
        self.lost == 0 && self.ended_early.is_none()
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let known = |ns: u64| (!histogram.is_empty()).then(|| ns as f64 / 1e3);
        let at = |quantile| known(histogram.value_at_quantile(quantile));
        Self { p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99), p99_9: at(0.999), max: known(histogram.max()) }
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
            cpu_us_per_call: cpu.filter(|_| answered > 0).map(|cpu| rounded(cpu * 1e6 / answered as f64)),
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

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { rounded(count as f64 / time.as_secs_f64()) }
}

/// To three digits behind the point: what is behind them is noise.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
