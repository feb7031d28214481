//! A run from start to end, as the caller's thread lives it: start the servers, look whether the calls work, let the
//! writers and the readers do theirs, watch, wait for what is missing, end the servers, report.

use std::ops::ControlFlow;
use std::process::Command;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::error::LoadError;
use super::exchange::{Ended, Span, ns};
use super::offer::Offer;
use super::plan::{Mode, Plan};
use super::recorder::Recorder;
use super::report::{Counted, Report, Watched};
use super::schedule::Share;
use super::series::{Second, Series};
use super::tally::Tally;
use super::usage;

/// How often the observer is told.
const TICK_NS: u64 = 100_000_000;

/// How often it is looked what the servers use: reading all of `/proc` costs the machine about a millisecond.
const LOOK_NS: u64 = 500_000_000;

/// How often a second of the series ends.
const SECOND_NS: u64 = 1_000_000_000;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The servers start and answer their first calls.
    Starting,
    /// Calls are made and do not count.
    WarmUp,
    /// Calls count.
    Measuring,
    /// No more calls; answers are waited for.
    Draining,
}

/// How far a run is; told about ten times a second.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Where it is.
    pub phase: Phase,
    /// How long it has been measuring.
    pub measured: Duration,
    /// Calls that count and were sent.
    pub sent: u64,
    /// Calls that count and were answered.
    pub answered: u64,
    /// How the last second was, once there is one.
    pub latest: Option<Second>,
}

/// Whoever watches a run, and may stop it: then nothing more is sent, and what was measured is reported.
pub type Observer<'a> = dyn FnMut(&Progress) -> ControlFlow<()> + 'a;

/// Starts `server`, once for each connection, measures what `plan` says, and ends the servers.
///
/// Standard input, output and error of the command are replaced by pipes, and it gets a process group of its own.
///
/// # Errors
/// When nothing could be measured, or it was stopped before anything was. A server that dies while it is measured is no
/// error: the report says so.
pub fn run(plan: &Plan, server: &mut Command, observer: &mut Observer<'_>) -> Result<Report, LoadError> {
    plan.check().map_err(LoadError::Plan)?;
    let mut run = Run { plan, epoch: Instant::now(), connections: Vec::new(), counts_from_ns: u64::MAX, series: None };
    for index in 0..plan.connections {
        let share = Share { index, of: plan.connections };
        run.connections.push(Connection::start(plan, share, server, run.epoch)?);
    }
    let starting = run.progress(Phase::Starting);
    for connection in &mut run.connections {
        connection.open(plan, &mut || observer(&starting))?;
    }
    run.measure(observer)
}

struct Run<'a> {
    plan: &'a Plan,
    epoch: Instant,
    connections: Vec<Connection>,
    counts_from_ns: u64,
    /// Once it is measured.
    series: Option<Series>,
}

impl Run<'_> {
    fn measure(mut self, observer: &mut Observer<'_>) -> Result<Report, LoadError> {
        let span = self.begin();
        let mut watched = Watched::default();
        let mut stopped = self.watch(Phase::WarmUp, span.counts_from_ns, &mut watched, observer).is_break();
        let began = (Instant::now(), usage::own_cpu());
        watched.start = usage::of_trees(&self.pids());
        let offer = matches!(self.plan.mode, Mode::Open { .. }).then(|| Offer::new(self.plan));
        self.series = Some(Series::new(offer, watched.start));
        stopped = stopped || self.watch(Phase::Measuring, span.until_ns, &mut watched, observer).is_break();
        // Before its time, when it was stopped or a server is gone.
        self.connections.iter().for_each(|connection| connection.exchange.stop());
        let drained_ns = self.now_ns() + ns(self.plan.drain);
        let _ = self.watch(Phase::Draining, drained_ns, &mut watched, observer);
        self.look(&mut watched);
        self.end_second(&watched);
        watched.elapsed = began.0.elapsed();
        watched.own_cpu = usage::own_cpu().zip(began.1).map(|(end, start)| end.saturating_sub(start));
        let report = self.report(&watched, stopped);
        if stopped && report.sent == 0 { Err(LoadError::Stopped) } else { Ok(report) }
    }

    fn begin(&mut self) -> Span {
        let start_ns = self.now_ns();
        let counts_from_ns = start_ns + ns(self.plan.warm_up);
        let span = Span { start_ns, counts_from_ns, until_ns: counts_from_ns + ns(self.plan.duration) };
        for connection in &self.connections {
            connection.exchange.begin(self.plan, connection.share, span);
        }
        self.counts_from_ns = counts_from_ns;
        span
    }

    /// Watches until the phase is over, nothing more can come, or the observer has enough.
    fn watch(
        &mut self,
        phase: Phase,
        until_ns: u64,
        watched: &mut Watched,
        observer: &mut Observer<'_>,
    ) -> ControlFlow<()> {
        let mut look_ns = self.now_ns() + LOOK_NS;
        loop {
            let tick_ns = (self.now_ns() + TICK_NS).min(look_ns).min(until_ns);
            if self.is_over(phase, tick_ns) || self.now_ns() >= until_ns {
                return ControlFlow::Continue(());
            }
            if phase != Phase::WarmUp && self.now_ns() >= look_ns {
                look_ns += LOOK_NS;
                self.look(watched);
                let last_ns = self.series.as_ref().map_or(0, Series::last_ns);
                // What is a little early is late enough: seconds do not drift apart from the clock's.
                if self.measured_ns() + LOOK_NS / 2 >= last_ns + SECOND_NS {
                    self.end_second(watched);
                }
            }
            if observer(&self.progress(phase)).is_break() && phase != Phase::Draining {
                return ControlFlow::Break(());
            }
        }
    }

    /// Waits at most until `until_ns`; says whether the phase is over before its time.
    fn is_over(&self, phase: Phase, until_ns: u64) -> bool {
        let mut connections = self.connections.iter();
        match phase {
            Phase::Draining => connections.all(|connection| wait(connection, until_ns, true)),
            // The first one keeps the time; one that ends meanwhile ends it for all.
            _ => {
                connections.next().is_none_or(|first| wait(first, until_ns, false))
                    || connections.any(|connection| wait(connection, 0, false))
            }
        }
    }

    /// Takes note of what the servers use now.
    fn look(&self, watched: &mut Watched) {
        watched.end = usage::of_trees(&self.pids());
        let seen = [watched.start, watched.end].into_iter().flatten().map(|usage| usage.rss_bytes);
        watched.peak_bytes = seen.fold(watched.peak_bytes, u64::max);
    }

    /// A second of the series is over.
    fn end_second(&mut self, watched: &Watched) {
        let mut came = Tally::new();
        self.connections.iter().for_each(|connection| came.add(&connection.exchange.take_recent()));
        let at_ns = self.measured_ns();
        if let Some(series) = &mut self.series {
            series.end_second(at_ns, counted_ns(&self.connections), &came, watched.end);
        }
    }

    fn progress(&self, phase: Phase) -> Progress {
        let (mut sent, mut answered) = (0, 0);
        for connection in &self.connections {
            let state = connection.exchange.lock();
            let record = state.ledger.record();
            sent += record.whole.sent;
            answered += record.answered;
        }
        let measured = Duration::from_nanos(self.measured_ns());
        let latest = self.series.as_ref().and_then(Series::latest);
        Progress { phase, measured, sent, answered, latest }
    }

    fn report(mut self, watched: &Watched, stopped: bool) -> Report {
        let mut record = Recorder::new(self.plan.calls.len(), self.plan.parts());
        let mut open = 0;
        for connection in &self.connections {
            let mut state = connection.exchange.lock();
            state.give_up_unsent();
            open += state.ledger.open_counted() as u64;
            record.add(state.ledger.record());
        }
        let time = Duration::from_nanos(counted_ns(&self.connections));
        let mut report = Report::new(self.plan, &Counted { record: &record, open, time }, watched);
        report.series = self.series.take().map(Series::into_seconds).unwrap_or_default();
        report.stopped = stopped;
        // All are the same command, and agree to the same.
        report.protocol = self.connections.first().and_then(|first| first.protocol.clone());
        report.ended_early = self.connections.iter_mut().find_map(Connection::ended_early);
        report
    }

    fn pids(&self) -> Vec<u32> {
        self.connections.iter().map(|connection| connection.server.pid()).collect()
    }

    fn now_ns(&self) -> u64 {
        ns(self.epoch.elapsed())
    }

    fn measured_ns(&self) -> u64 {
        self.now_ns().saturating_sub(self.counts_from_ns)
    }
}

impl Drop for Run<'_> {
    /// All inputs are closed before the first end is waited for.
    fn drop(&mut self) {
        self.connections.iter().for_each(|connection| connection.exchange.close());
    }
}

/// Waits at most until `until_ns` for the connection to settle, if it is `draining`, or to end.
fn wait(connection: &Connection, until_ns: u64, draining: bool) -> bool {
    let exchange = &connection.exchange;
    let mut state = exchange.lock();
    loop {
        let over = match state.ended {
            None | Some(Ended::Input) if draining => state.is_settled(),
            ended => ended.is_some(),
        };
        if over {
            return true;
        }
        if exchange.now_ns() >= until_ns {
            return false;
        }
        exchange.wait(&mut state, until_ns);
    }
}

/// How long calls that count could be due.
fn counted_ns(connections: &[Connection]) -> u64 {
    connections.iter().map(|connection| ns(connection.exchange.lock().counted_time())).max().unwrap_or(0)
}
