//! A drill on its way: the stage, the sessions it opens on it, and what it finds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checker;
use super::findings::{Broken, Findings, Target};
use super::history::{Phase, Span};
use super::session::{PATIENCE, Session};
use super::stage::{Stage, Stop};
use super::supervision::Log;

/// Rounds of quiet and fault, at most: the best of them counts for times.
const ROUNDS: usize = 3;

/// How long a quiet phase lasts, and a fault in the short form of a drill.
const QUIET: Duration = Duration::from_millis(500);
const FAULT: Duration = Duration::from_millis(500);

/// Between phases, so that no call of one is still on its way in the next.
const BREATH: Duration = Duration::from_millis(100);

/// How many times in a row it is looked whether descriptors have been given back.
const LOOKS: usize = 20;

/// See the module documentation.
pub struct Scene {
    /// Where it takes place.
    pub stage: Stage,
    /// What it has found.
    pub findings: Findings,
    /// Whether the supervision log is kept from writing, so that records are lost.
    pub may_lose_records: bool,
    /// How long a fault lasts; absent in the short form.
    duration: Option<Duration>,
    stop: Stop,
    /// Sessions that are not judged yet.
    sessions: Vec<Arc<Session>>,
    rounds: Vec<checker::Round>,
}

impl Scene {
    /// Nothing has happened yet.
    pub fn new(stage: Stage, duration: Option<Duration>, stop: Stop) -> Self {
        let findings = Findings { strict: duration.is_some(), ..Findings::default() };
        Self { stage, findings, may_lose_records: false, duration, stop, sessions: Vec::new(), rounds: Vec::new() }
    }

    /// Starts a server and opens a session with it. It is judged at the end, whatever happens.
    ///
    /// # Errors
    /// When there is no session.
    pub fn open(&mut self) -> Result<Arc<Session>, Broken> {
        let session = Arc::new(Session::open(&self.stage, &self.stop)?);
        self.sessions.push(Arc::clone(&session));
        Ok(session)
    }

    /// `short`, or in the long form as much more as that is longer.
    pub fn scaled(&self, short: u64) -> u64 {
        self.duration.map_or(short, |long| (short as f64 * long.as_secs_f64() / FAULT.as_secs_f64()).ceil() as u64)
    }

    /// How long a drill that is all one fault lasts: as long as the person says, or `short`.
    pub fn lasting(&self, short: Duration) -> Duration {
        self.duration.unwrap_or(short)
    }

    /// Whether the person has said how long it lasts.
    pub fn is_long(&self) -> bool {
        self.duration.is_some()
    }

    /// Makes the fault again and again for a while, and looks how healthy calls fare meanwhile and before; up to three
    /// times, until they fare well.
    ///
    /// # Errors
    /// Those of the fault.
    pub fn rounds(
        &mut self,
        session: &Session,
        mut fault: impl FnMut(&Session) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let length = self.duration.unwrap_or(FAULT);
        for _ in 0..ROUNDS {
            session.background(true);
            session.let_pass(BREATH)?;
            span(session, Phase::Quiet, || session.let_pass(QUIET))?;
            span(session, Phase::Fault, || {
                let until = Instant::now() + length;
                fault(session)?;
                while Instant::now() < until {
                    fault(session)?;
                }
                Ok(())
            })?;
            session.let_pass(BREATH)?;
            session.background(false);
            if session.history(|history| checker::rounds(history)).last().is_some_and(checker::Round::is_good) {
                break;
            }
        }
        Ok(())
    }

    /// Waits until everything is answered, closes the input, and demands an orderly end.
    ///
    /// # Errors
    /// When something stays open.
    pub fn end(&mut self, session: &Session) -> Result<(), Broken> {
        session.background(false);
        session.settle(PATIENCE)?;
        self.nothing_left_open(session);
        session.stop_watching();
        session.close_input();
        let status = session.ended_within(self.stage.ends_within());
        let code = status.and_then(|status| status.code());
        self.findings.check("exit", code == Some(0), || format!("the server did not leave with 0: {status:?}"));
        Ok(())
    }

    /// Descriptors must come back; some are given back a moment after the answer.
    fn nothing_left_open(&mut self, session: &Session) {
        let Some(mut gauge) = session.gauge() else { return };
        let limit = session.before.fds + self.stage.budget.fds_left;
        for _ in 0..LOOKS {
            if gauge.fds <= limit || session.let_pass(BREATH).is_err() {
                break;
            }
            gauge = session.gauge().unwrap_or(gauge);
        }
        let (fds, before) = (gauge.fds, session.before.fds);
        self.findings
            .check("I3", fds <= limit, || format!("{fds} descriptors are open at the end; there were {before}"));
    }

    /// Makes `broken` a finding, ends what still runs, and has everything judged.
    pub fn close(mut self, broken: Option<Broken>) -> Findings {
        broken.into_iter().for_each(|broken| self.findings.broke(broken));
        for session in std::mem::take(&mut self.sessions) {
            if self.findings.passed() && session.ended_within(Duration::ZERO).is_none() {
                self.findings.broke(Broken::new("exit", "the drill left a server running"));
            }
            let (broken, rounds) =
                session.history(|history| (checker::history(history, &self.stage.budget), checker::rounds(history)));
            broken.into_iter().for_each(|broken| self.findings.broke(broken));
            self.rounds.extend(rounds);
        }
        checker::healthy(&self.rounds).into_iter().for_each(|broken| self.findings.broke(broken));
        checker::log(&self.stage.log(), self.may_lose_records)
            .into_iter()
            .for_each(|broken| self.findings.broke(broken));
        self.tell_health();
        self.findings
    }

    fn tell_health(&mut self) {
        let over = |round: &checker::Round| round.fault.p99_ms - round.limit_ms();
        let best = self.rounds.iter().min_by(|a, b| over(a).total_cmp(&over(b)));
        let Some(best) = best.copied() else { return };
        let failed = self.rounds.iter().map(|round| round.quiet.failed + round.fault.failed).sum();
        self.findings.count("healthy_failed", failed, Target::Exactly(0.0));
        self.findings.note("healthy_quiet_p99_ms", best.quiet.p99_ms);
        // Whether this gates is I6's to say, which looks at all rounds.
        self.findings.shown("healthy_p99_ms", best.fault.p99_ms, Target::AtMost(best.limit_ms()));
    }

    /// The supervision log as it is now.
    pub fn log(&self) -> Log {
        Log::read(&self.stage.log())
    }
}

/// Looks at healthy calls that are due while `during` runs.
fn span(session: &Session, phase: Phase, during: impl FnOnce() -> Result<(), Broken>) -> Result<(), Broken> {
    let from_ns = session.now_ns();
    let result = during();
    let until_ns = session.now_ns();
    session.history(|history| history.spans.push(Span { phase, from_ns, until_ns }));
    result
}
