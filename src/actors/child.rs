//! One child of a supervisor: who it is now, and its history. A pure core: it is told what happened, and says what to do
//! and what to write into the supervision log.
//!
//! ```text
//!  new ──start──► starting ──ready──► up ──exited──► down ──start──► starting ──ready──► up
//!                    └───────────────exited──────────►│ (again)
//!                                                     └──► stopped, when there is to be no successor
//! ```

use std::time::{Duration, Instant};

use super::child_spec::{ChildKind, ChildSpec};
use super::message::ExitReason;
use super::restart::{Decision, RestartWindow};
use super::supervision_log::{InFlight, Reason, Record, Restart};
use crate::config::RestartKind;

/// How a child ended.
#[derive(Debug, Clone)]
pub struct Exit {
    /// Why.
    pub reason: ExitReason,
    /// Calls in hand that were answered with a fault because of it.
    pub answered: u64,
    /// Calls that wait for a successor.
    pub queue_depth: Option<usize>,
    /// What it stood for works on without it: only its actor died. Nothing is at stake then, so it does not count.
    pub harmless: bool,
}

impl Exit {
    /// An exit of which nothing is known but its reason.
    pub fn because(reason: ExitReason) -> Self {
        Self { reason, answered: 0, queue_depth: None, harmless: false }
    }
}

/// What is to be done about an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Start a successor after this delay.
    Start(Duration),
    /// Start one after this delay, to see; no calls until then.
    Probe(Duration),
    /// The supervisor itself has to give up.
    Escalate,
    /// There will be no successor.
    Stop,
}

/// What the child does not know of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances {
    /// The whole server is going away.
    pub stopping: bool,
    /// Another successor would only add to the threads that are stuck.
    pub too_many_zombies: bool,
    /// 0 to 1: moves the delay, so that children that failed together do not come back together.
    pub jitter: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Starting,
    Up { since: Instant },
    Down { due: Instant, quarantined: bool },
    Stopped,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Child {
    spec: ChildSpec,
    state: State,
    /// Counts its lives, from 0.
    incarnation: u64,
    /// When the last life that was ready ended, until the next is ready.
    down_since: Option<Instant>,
    window: RestartWindow,
}

impl Child {
    /// A child that was never started.
    pub fn new(spec: ChildSpec) -> Self {
        let window = RestartWindow::new(spec.policy.clone());
        Self { spec, state: State::New, incarnation: 0, down_since: None, window }
    }

    /// Which life this is.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Whether it is ready.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Whether it was started and has not ended, as far as is known.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, State::Starting | State::Up { .. })
    }

    /// How long before it is to be started.
    pub fn still_to_wait(&self, now: Instant) -> Duration {
        match self.state {
            State::Down { due, .. } => due.saturating_duration_since(now),
            _ => Duration::ZERO,
        }
    }

    /// Whether there is no child any more, and will be none.
    pub fn is_stopped(&self) -> bool {
        self.state == State::Stopped
    }

    /// It is being started.
    pub fn start(&mut self) -> Option<Record> {
        let probe = matches!(self.state, State::Down { quarantined: true, .. });
        self.state = State::Starting;
        probe.then(|| self.record("probe"))
    }

    /// It is ready; `adopted` says that what it stands for never went away.
    pub fn ready(&mut self, now: Instant, adopted: bool) -> Record {
        self.state = State::Up { since: now };
        match self.down_since.take() {
            None if self.incarnation == 0 => Record { level: None, ..self.record("child_started") },
            down => {
                let downtime = down.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
                Record { downtime_us: Some(downtime.as_micros() as u64), adopted, ..self.record("restart_ok") }
            }
        }
    }

    /// It ended.
    pub fn exited(&mut self, now: Instant, exit: &Exit, circumstances: Circumstances) -> (Next, [Record; 2]) {
        let healthy = match self.state {
            State::Up { since } => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        };
        self.down_since.get_or_insert(now);
        let exited = Record {
            context: Some(if self.is_up() { "child_terminated" } else { "start_error" }),
            reason: Some(Reason::new(exit.reason.kind(), None, exit.reason.text())),
            inflight: (exit.answered > 0).then_some(InFlight { answered: exit.answered }),
            queue_depth: exit.queue_depth,
            uptime_ms: Some(healthy.as_millis() as u64),
            ..self.record("child_exited")
        };
        let (next, consequence) = self.decide(now, healthy, exit, circumstances);
        self.state = match next {
            Next::Stop => State::Stopped,
            Next::Start(wait) => State::Down { due: now + wait, quarantined: false },
            Next::Probe(wait) => State::Down { due: now + wait, quarantined: true },
            Next::Escalate => State::Down { due: now, quarantined: false },
        };
        if !circumstances.stopping {
            self.incarnation += 1;
        }
        (next, [exited, consequence])
    }

    /// It ended in good order, or had to be left behind.
    pub fn stopped(&mut self, graceful: bool) -> Record {
        self.state = State::Stopped;
        self.stop_record(if graceful { "graceful" } else { "brutal" })
    }

    fn decide(&mut self, now: Instant, healthy: Duration, exit: &Exit, how: Circumstances) -> (Next, Record) {
        let in_order = exit.reason == ExitReason::Shutdown;
        match self.spec.restart {
            _ if how.stopping => return (Next::Stop, self.stop_record("graceful")),
            RestartKind::Temporary => return (Next::Stop, self.stop_record("temporary")),
            RestartKind::Transient if in_order => return (Next::Stop, self.stop_record("transient")),
            RestartKind::Transient | RestartKind::Permanent => {}
        }
        if exit.harmless {
            return (Next::Start(Duration::ZERO), self.restart_record("restart_scheduled", Duration::ZERO, 0));
        }
        let decision = self.window.on_exit(now, healthy, how.jitter);
        match (decision, self.spec.kind) {
            (Decision::Quarantine { .. }, ChildKind::Control) => (Next::Escalate, self.record("escalated")),
            (Decision::Restart { after }, ChildKind::Worker) if how.too_many_zombies => {
                let wait = after.max(self.spec.policy.probe_after);
                (Next::Probe(wait), self.restart_record("quarantined", wait, 0))
            }
            (Decision::Restart { after }, _) => {
                let jitter_ms = self.window.last_jitter_ms();
                (Next::Start(after), self.restart_record("restart_scheduled", after, jitter_ms))
            }
            (Decision::Quarantine { probe_after }, ChildKind::Worker) => {
                (Next::Probe(probe_after), self.restart_record("quarantined", probe_after, 0))
            }
        }
    }

    fn restart_record(&self, event: &'static str, after: Duration, jitter_ms: i64) -> Record {
        let policy = &self.spec.policy;
        let window = format!("{}/{}@{}s", self.window.count(), policy.intensity, policy.period.as_secs_f64());
        let restart = Restart {
            policy: Some(self.spec.restart.as_str()),
            strategy: Some("one_for_one"),
            window: Some(window),
            backoff_ms: Some(after.as_millis() as u64),
            jitter_ms: (jitter_ms != 0).then_some(jitter_ms),
            ..Restart::new(self.spec.kind.what())
        };
        Record { restart: Some(restart), ..self.record(event) }
    }

    fn stop_record(&self, how: &'static str) -> Record {
        Record { reason: Some(Reason::new(how, None, "")), ..self.record("child_stopped") }
    }

    fn record(&self, event: &'static str) -> Record {
        Record {
            level: Some(self.spec.kind.level()),
            incarnation: Some(self.incarnation),
            ..Record::new(event, self.spec.path.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::SupervisionPolicy;

    const UP_FOR: Duration = Duration::from_millis(5);

    fn spec(restart: RestartKind) -> ChildSpec {
        ChildSpec::worker("root/tools/t/w0".into(), restart, &SupervisionPolicy::default())
    }

    fn panicked() -> Exit {
        Exit::because(ExitReason::HostPanic("x".to_owned()))
    }

    /// Starts the child, lets it be ready for a moment, and ends it.
    fn live(child: &mut Child, now: Instant, exit: &Exit) -> (Next, Vec<&'static str>) {
        let mut events: Vec<_> = child.start().into_iter().map(|record| record.event).collect();
        events.push(child.ready(now, false).event);
        let (next, records) =
            child.exited(now + UP_FOR, exit, Circumstances { jitter: 0.5, ..Circumstances::default() });
        events.extend(records.map(|record| record.event));
        (next, events)
    }

    #[test]
    fn a_crash_loop_tells_its_story() {
        let (mut child, now) = (Child::new(spec(RestartKind::Permanent)), Instant::now());
        let ms = Duration::from_millis;
        for (life, wait) in [0, 50, 100, 200].into_iter().enumerate() {
            let first = if life == 0 { "child_started" } else { "restart_ok" };
            let story = vec![first, "child_exited", "restart_scheduled"];
            assert_eq!(live(&mut child, now, &panicked()), (Next::Start(ms(wait)), story));
            assert_eq!(child.incarnation(), life as u64 + 1);
        }
        let story = vec!["restart_ok", "child_exited", "quarantined"];
        assert_eq!(live(&mut child, now, &panicked()), (Next::Probe(ms(30_000)), story));
        let story = vec!["probe", "restart_ok", "child_exited", "quarantined"];
        assert_eq!(live(&mut child, now, &panicked()), (Next::Probe(ms(60_000)), story));
    }

    #[test]
    fn each_kind_of_child_is_restarted_as_otp_has_it() {
        let orderly = Exit::because(ExitReason::Shutdown);
        for (kind, exit, restarted) in [
            (RestartKind::Permanent, &orderly, true),
            (RestartKind::Permanent, &panicked(), true),
            (RestartKind::Transient, &orderly, false),
            (RestartKind::Transient, &panicked(), true),
            (RestartKind::Temporary, &orderly, false),
            (RestartKind::Temporary, &panicked(), false),
        ] {
            let mut child = Child::new(spec(kind));
            let (next, _) = live(&mut child, Instant::now(), exit);
            assert_eq!(next != Next::Stop, restarted, "{kind:?} {exit:?}");
            assert_eq!(child.is_stopped(), !restarted);
        }
    }

    #[test]
    fn an_actor_whose_thread_lives_on_may_die_as_often_as_it_likes() {
        let (mut child, now) = (Child::new(spec(RestartKind::Permanent)), Instant::now());
        let killed = Exit { harmless: true, ..Exit::because(ExitReason::Killed("killed".to_owned())) };
        for _ in 0..100 {
            assert_eq!(live(&mut child, now, &killed).0, Next::Start(Duration::ZERO));
        }
    }

    #[test]
    fn too_many_stuck_threads_are_as_bad_as_too_many_exits() {
        let mut child = Child::new(spec(RestartKind::Permanent));
        child.start();
        child.ready(Instant::now(), false);
        let how = Circumstances { too_many_zombies: true, ..Circumstances::default() };
        let (next, _) = child.exited(Instant::now(), &Exit::because(ExitReason::Wedged), how);
        assert_eq!(next, Next::Probe(Duration::from_secs(30)));
    }

    #[test]
    fn a_control_actor_that_keeps_dying_escalates() {
        let spec = ChildSpec::control(Arc::from("root/tools"), &SupervisionPolicy::default());
        let (mut child, now) = (Child::new(spec), Instant::now());
        assert_eq!(live(&mut child, now, &panicked()).0, Next::Start(Duration::ZERO));
        assert_eq!(live(&mut child, now, &panicked()).0, Next::Start(Duration::ZERO));
        assert_eq!(
            live(&mut child, now, &panicked()),
            (Next::Escalate, vec!["restart_ok", "child_exited", "escalated"])
        );
    }
}
