//! The gate of one tool, shared by those who let calls in, those who run them and those who supervise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::gate::{Change, Gate, Pass, Shut, Verdict};
use super::sheds::Sheds;
use super::supervision_log::{Reason, Record, Restart, SupervisionLog};
use crate::config::BreakerPolicy;
use crate::failpoint::points;

/// See the module documentation.
pub struct Gatekeeper {
    /// Read without the lock, as long as all is well.
    free: AtomicBool,
    gate: Mutex<Gate>,
    path: Arc<str>,
    log: SupervisionLog,
}

/// A call that was let in. Dropped without a word it has said nothing about its tool, and makes way for another trial.
pub struct LetIn {
    trial: Option<(Arc<Gatekeeper>, Pass)>,
}

impl std::fmt::Debug for LetIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.trial.is_some() { "trial" } else { "free" })
    }
}

impl LetIn {
    /// Without a gate.
    pub fn free() -> Self {
        Self { trial: None }
    }
}

impl Drop for LetIn {
    fn drop(&mut self) {
        if let Some((keeper, pass)) = self.trial.take() {
            keeper.note(pass, Verdict::Unknown);
        }
    }
}

impl Gatekeeper {
    /// A gate for the tool at `path`.
    pub fn new(path: Arc<str>, policy: BreakerPolicy, log: SupervisionLog) -> Self {
        Self { free: AtomicBool::new(true), gate: Mutex::new(Gate::new(policy)), path, log }
    }

    /// A call asks to be let in.
    ///
    /// # Errors
    /// Why it is not.
    pub fn admit(self: &Arc<Self>) -> Result<LetIn, Shut> {
        if self.free.load(Ordering::Relaxed) || points::UNWATCHED.hit().is_err() {
            return Ok(LetIn::free());
        }
        let (pass, change) = self.gate.lock().admit(Instant::now())?;
        change.into_iter().for_each(|change| self.say(change));
        Ok(LetIn { trial: (pass != Pass::Free).then(|| (Arc::clone(self), pass)) })
    }

    /// What became of a call; says whether the gate is shut because of it.
    pub fn ended(&self, mut call: LetIn, verdict: Verdict) -> bool {
        if points::UNWATCHED.hit().is_err() {
            return false;
        }
        let pass = call.trial.take().map_or(Pass::Free, |(_, pass)| pass);
        self.note(pass, verdict)
    }

    /// Why calls would be refused now, if they would.
    pub fn shut(&self) -> Option<Shut> {
        if self.free.load(Ordering::Relaxed) { None } else { self.gate.lock().shut(Instant::now()) }
    }

    /// No worker stands, and none is tried before `until`.
    pub fn quarantine(&self, until: Instant) {
        self.change(|gate| gate.quarantine(until));
    }

    /// A worker is ready.
    pub fn worker_ready(&self) {
        let change = self.change(Gate::worker_ready);
        change.into_iter().for_each(|change| self.say(change));
    }

    /// Where the calls are counted that are refused, at the gate or behind it.
    pub fn sheds(&self) -> Sheds {
        Sheds::new(Arc::clone(&self.path), self.log.bus().clone())
    }

    /// No worker will stand any more.
    pub fn stop(&self) {
        self.change(Gate::stop);
    }

    fn note(&self, pass: Pass, verdict: Verdict) -> bool {
        let changes = self.change(|gate| gate.ended(Instant::now(), pass, verdict));
        let opened = changes.iter().any(|change| matches!(change, Change::Opened { .. }));
        changes.into_iter().for_each(|change| self.say(change));
        opened
    }

    fn change<T>(&self, change: impl FnOnce(&mut Gate) -> T) -> T {
        let mut gate = self.gate.lock();
        let result = change(&mut gate);
        self.free.store(gate.is_free(), Ordering::Relaxed);
        result
    }

    fn say(&self, change: Change) {
        let record = |event| Record::new(event, Arc::clone(&self.path));
        self.log.record(match change {
            Change::HalfOpened => record("breaker_half_open"),
            Change::Closed => record("breaker_closed"),
            Change::Readmitted => Record { level: Some("L2"), ..record("readmitted") },
            Change::Opened { open, calls, faults } => Record {
                level: Some("L1"),
                count: Some(calls as u64),
                reason: Some(Reason::new("too_many_faults", None, &format!("{faults} of {calls} calls faulted"))),
                restart: Some(Restart { backoff_ms: Some(open.as_millis() as u64), ..Restart::new("store") }),
                ..record("breaker_open")
            },
        });
    }
}
