//! A run from start to end, as the caller's thread lives it: start the server, look whether the call works, let the
//! writer and the reader do theirs, watch, wait for what is missing, end the server, report.

use std::ops::{ControlFlow, Range};
use std::process::{ChildStdin, ChildStdout, Command};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::LoadError;
use super::exchange::{Ended, Exchange, OPEN_CALLS};
use super::plan::Plan;
use super::report::{Counted, Report, Watched};
use super::server::Server;
use super::session::{self, Failure};
use super::wire::Template;
use super::{reader, usage, writer};

/// How often the observer is told.
const TICK: Duration = Duration::from_millis(100);

/// Every so many ticks the server's memory is looked at: reading all of `/proc` costs the machine about a millisecond.
const TICKS_PER_LOOK: u32 = 5;

/// How long the writer may take to let go of the server's input before the server counts as stuck.
const LET_GO: Duration = Duration::from_millis(500);

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The server starts and answers its first call.
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
    /// The server's process.
    pub server_pid: u32,
}

/// Whoever watches a run, and may stop it: then nothing more is sent, and what was measured is reported.
pub type Observer<'a> = dyn FnMut(&Progress) -> ControlFlow<()> + 'a;

/// Starts `server`, measures what `plan` says, and ends the server.
///
/// Standard input, output and error of the command are replaced by pipes, and it gets a process group of its own.
///
/// # Errors
/// When nothing could be measured. A server that dies while it is measured is no error: the report says so.
pub fn run(plan: &Plan, server: &mut Command, observer: &mut Observer<'_>) -> Result<Report, LoadError> {
    plan.check().map_err(LoadError::Plan)?;
    let (server, stdin, stdout) = Server::start(server)?;
    let mut run = Run { plan, server, exchange: Arc::new(Exchange::new()), writer: None, watched: Watched::default() };
    run.start_threads(stdin, stdout).map_err(LoadError::Thread)?;
    let starting = run.progress(Phase::Starting);
    match session::open(&run.exchange, &plan.call, &mut || observer(&starting)) {
        Ok(()) => Ok(run.measure(observer)),
        Err(Failure::Known(error)) => Err(error),
        Err(Failure::Silent { step, ended }) => {
            let what = match ended {
                Some(ended) => run.say(ended),
                None => format!("no answer within a minute; {}", run.server.last_words()),
            };
            Err(LoadError::Silent { step, what })
        }
    }
}

/// A started server and what belongs to it. Dropping it ends the server.
struct Run<'a> {
    plan: &'a Plan,
    server: Server,
    exchange: Arc<Exchange>,
    writer: Option<JoinHandle<()>>,
    watched: Watched,
}

impl Run<'_> {
    fn start_threads(&mut self, stdin: ChildStdin, stdout: ChildStdout) -> std::io::Result<()> {
        let (exchange, template) = (Arc::clone(&self.exchange), Template::new(&self.plan.call));
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        self.writer = Some(thread("load-writer").spawn(move || writer::write(&exchange, stdin, &template))?);
        let exchange = Arc::clone(&self.exchange);
        thread("load-reader").spawn(move || reader::read(&exchange, stdout))?;
        Ok(())
    }

    fn measure(mut self, observer: &mut Observer<'_>) -> Report {
        let Range { start, end } = self.exchange.begin(self.plan);
        let mut stopped = self.watch(Phase::WarmUp, start, observer).is_break();
        let began = (Instant::now(), usage::own_cpu());
        self.watched.start = usage::of_tree(self.server.pid());
        stopped = stopped || self.watch(Phase::Measuring, end, observer).is_break();
        // Before its time, when it was stopped or the server is gone.
        self.exchange.stop();
        let drained = self.exchange.now_ns() + self.plan.drain.as_nanos() as u64;
        let _ = self.watch(Phase::Draining, drained, observer);
        self.look();
        self.watched.elapsed = began.0.elapsed();
        self.watched.own_cpu = usage::own_cpu().zip(began.1).map(|(end, start)| end.saturating_sub(start));
        self.report(stopped)
    }

    /// Watches until the phase is over, nothing more can come, or the observer has enough.
    fn watch(&mut self, phase: Phase, until_ns: u64, observer: &mut Observer<'_>) -> ControlFlow<()> {
        for tick in 1_u32.. {
            let tick_ns = (self.exchange.now_ns() + TICK.as_nanos() as u64).min(until_ns);
            if self.is_over(phase, tick_ns) || self.exchange.now_ns() >= until_ns {
                break;
            }
            if phase != Phase::WarmUp && tick.is_multiple_of(TICKS_PER_LOOK) {
                self.look();
            }
            if observer(&self.progress(phase)).is_break() && phase != Phase::Draining {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Waits at most until `until_ns`; says whether the phase is over before its time.
    fn is_over(&self, phase: Phase, until_ns: u64) -> bool {
        let mut state = self.exchange.lock();
        loop {
            let over = match (state.ended, phase) {
                (None | Some(Ended::Input), Phase::Draining) => state.is_settled(),
                (ended, _) => ended.is_some(),
            };
            if over {
                return true;
            }
            if self.exchange.now_ns() >= until_ns {
                return false;
            }
            self.exchange.wait(&mut state, until_ns);
        }
    }

    /// Takes note of what the server uses now.
    fn look(&mut self) {
        self.watched.end = usage::of_tree(self.server.pid());
        let seen = [self.watched.start, self.watched.end].into_iter().flatten().map(|usage| usage.rss_bytes);
        self.watched.peak_bytes = seen.fold(self.watched.peak_bytes, u64::max);
    }

    fn progress(&self, phase: Phase) -> Progress {
        let state = self.exchange.lock();
        let record = state.ledger.record();
        let measured = Duration::from_nanos(self.exchange.now_ns().saturating_sub(state.counts_from_ns()));
        Progress { phase, measured, sent: record.sent, answered: record.answered, server_pid: self.server.pid() }
    }

    fn report(mut self, stopped: bool) -> Report {
        let mut state = self.exchange.lock();
        let unsent = state.take_unsent();
        let counted = Counted {
            record: state.ledger.record(),
            open: state.ledger.open_counted() as u64,
            unsent,
            time: state.counted_time(),
        };
        let mut report = Report::new(self.plan, &counted, &self.watched);
        let ended = state.ended;
        drop(state);
        report.stopped = stopped;
        report.ended_early = ended.map(|ended| self.say(ended));
        report
    }

    fn say(&mut self, ended: Ended) -> String {
        match ended {
            Ended::Output => format!("the server closed its output: {}", self.server.last_words()),
            Ended::Input => format!("the server closed its input: {}", self.server.last_words()),
            Ended::EndlessLine => "the server wrote a line of more than 64 MiB".to_owned(),
            Ended::Full => {
                format!("{OPEN_CALLS} calls are open, more than are kept; the server is too slow for this rate")
            }
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.exchange.close();
        let until = Instant::now() + LET_GO;
        let is_writing = || self.writer.as_ref().is_some_and(|writer| !writer.is_finished());
        while is_writing() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.server.end(is_writing());
    }
}
