//! The tools, outside of any actor.
//!
//! ractor kills the whole subtree of an actor that dies. So what must survive a dead supervisor, the lanes and the
//! running worker threads with their warm Stores, is entered here, and the successor takes it up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ractor::ActorRef;
use tokio::sync::Semaphore;

use super::gate::{Shut, Verdict};
use super::gatekeeper::{Gatekeeper, LetIn};
use super::lane::{Lane, SendError};
use super::message::{Call, CallOutcome, ExitReason, Refusal, WorkerMsg};
use super::supervision_log::SupervisionLog;
use super::worker_thread::InHand;
use super::zombies::Zombies;
use crate::config::SupervisionPolicy;
use crate::failpoint::points;
use crate::frame::ContextFrame;
use crate::wasi::catalogue::Catalogue;
use crate::wasi::lazy_tool::LazyTool;
use crate::wasi::limits::Limits;
use crate::wasi::manifest::Permissions;
use crate::wasi::sandbox::Policy;
use crate::wasi::store::Sandbox;

/// Every tool, by published name.
pub struct ToolTable {
    tools: BTreeMap<String, Arc<ToolEntry>>,
    /// The tools' own names, where they differ: `fs.read` for `fs_read`.
    aliases: BTreeMap<String, String>,
    /// Counts what clients have cancelled; full lanes then look for it.
    cancellations: Arc<AtomicU64>,
}

/// One tool and what belongs to it for the life of the process.
pub struct ToolEntry {
    /// The tool's own name.
    pub name: Arc<str>,
    /// The name clients see.
    pub published: String,
    /// Manifest, definition and, once it is needed, the compiled module.
    pub loaded: Arc<LazyTool>,
    /// Calls waiting for a worker.
    pub lane: Lane,
    /// Places for calls that wait for the module to be compiled: as many as the lane has.
    pub waiting_room: Semaphore,
    /// One slot per worker.
    pub slots: Vec<WorkerSlot>,
    /// What one call may use.
    pub limits: Arc<Limits>,
    /// Worker threads stuck in the system.
    pub zombies: Zombies,
    /// Whether it takes calls.
    pub gate: Arc<Gatekeeper>,
    /// Moving average of the time a call takes, for `retryAfterMs`.
    service_us: AtomicU64,
}

/// The place of one worker; what is in it outlives its actor.
#[derive(Default)]
pub struct WorkerSlot {
    /// Which life of the worker this is, from 0; for what the thread records.
    pub incarnation: AtomicU64,
    /// The running thread, if any.
    pub thread: Mutex<Option<Arc<InHand>>>,
    /// The actor that owns the thread at the moment.
    pub owner: Mutex<Option<ActorRef<WorkerMsg>>>,
    /// Whether a supervisor has yet to hear of the end of the actor; the end of the process waits for that.
    pub supervised: AtomicBool,
    /// How the last thread ended, left here for the supervisor.
    pub exit: Mutex<Option<ThreadExit>>,
}

/// How a worker's thread ended.
#[derive(Debug, Clone)]
pub struct ThreadExit {
    /// Why.
    pub reason: ExitReason,
    /// Calls in hand that were answered with a fault for it.
    pub answered: u64,
    /// It had been ready; its word of that may still be on the way.
    pub was_ready: bool,
}

impl ToolTable {
    /// The table of a loaded catalogue.
    pub fn new(catalogue: Catalogue, policy: &SupervisionPolicy, log: &SupervisionLog) -> Self {
        let mut table = Self { tools: BTreeMap::new(), aliases: BTreeMap::new(), cancellations: Arc::default() };
        for loaded in catalogue.tools {
            let published = loaded.manifest.published_name();
            if loaded.manifest.name != published {
                table.aliases.insert(loaded.manifest.name.clone(), published.clone());
            }
            let gate = Gatekeeper::new(tool_path(&published), policy.breaker.clone(), log.clone());
            let entry = ToolEntry::new(published.clone(), loaded, gate, Arc::clone(&table.cancellations));
            table.tools.insert(published, Arc::new(entry));
        }
        table
    }

    /// The tool of this name, published or its own.
    pub fn get(&self, name: &str) -> Option<&Arc<ToolEntry>> {
        self.tools.get(name).or_else(|| self.tools.get(self.aliases.get(name)?))
    }

    /// A client has cancelled a call, which may be waiting in a lane.
    pub fn note_cancellation(&self) {
        self.cancellations.fetch_add(1, Ordering::SeqCst);
    }

    /// The tools that can be called, as far as is known: those that did not turn out to be unusable.
    pub fn served(&self) -> impl Iterator<Item = &Arc<ToolEntry>> {
        self.iter().filter(|tool| tool.loaded.refusal().is_none())
    }

    /// Whether the list of tools has its final form: every tool has said what it is, or was refused.
    pub fn is_settled(&self) -> bool {
        self.served().all(|tool| tool.loaded.is_described())
    }

    /// All tools, in order of their published names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ToolEntry>> {
        self.tools.values()
    }

    /// Workers that are not at their end.
    pub fn live_workers(&self) -> usize {
        self.iter().map(|tool| tool.workers_left().count()).sum()
    }
}

fn tool_path(published: &str) -> Arc<str> {
    format!("root/tools/{published}").into()
}

impl ToolEntry {
    fn new(published: String, loaded: Arc<LazyTool>, gate: Gatekeeper, cancellations: Arc<AtomicU64>) -> Self {
        Self {
            name: loaded.manifest.name.as_str().into(),
            published,
            lane: Lane::new(loaded.manifest.queue_depth, cancellations),
            waiting_room: Semaphore::new(loaded.manifest.queue_depth),
            slots: (0..loaded.manifest.workers).map(|_| WorkerSlot::default()).collect(),
            limits: Arc::new(loaded.manifest.limits.clone()),
            zombies: Zombies::default(),
            gate: Arc::new(gate),
            service_us: AtomicU64::new(100),
            loaded,
        }
    }

    /// Hands `call` to the tool's workers, or gives it back at once with the reason.
    ///
    /// # Errors
    /// The call and why it was not taken.
    pub fn submit(&self, mut call: Call) -> Result<(), (Call, Refusal)> {
        match self.gate.admit() {
            Ok(let_in) => call.let_in = let_in,
            Err(Shut::Open(_)) => return Err((call, Refusal::BreakerOpen)),
            Err(Shut::Quarantined(_)) => return Err((call, Refusal::Quarantined)),
            Err(Shut::Stopped) => return Err((call, Refusal::Stopped)),
        }
        if points::LANE_SEND.hit_for(&self.published).is_err() {
            return Err((call, Refusal::QueueFull));
        }
        self.lane.try_send(call).map_err(|error| match error {
            SendError::Full(call) => (call, Refusal::QueueFull),
            SendError::Closed(call) => (call, Refusal::ShuttingDown),
        })
    }

    /// What became of a call that was let in. When too many fault, those that wait are refused too.
    pub fn call_ended(&self, let_in: LetIn, verdict: Verdict) {
        if self.gate.ended(let_in, verdict) {
            self.refuse_waiting(Refusal::BreakerOpen);
        }
    }

    /// Refuses the calls that wait.
    pub fn refuse_waiting(&self, refusal: Refusal) {
        self.lane.drain(|call| call.reply.answer(CallOutcome::Refused(refusal)));
    }

    /// What the tool may do in a call with this frame; `None` when the frame takes away its only permission.
    pub fn permissions_for(&self, frame: &ContextFrame) -> Option<Permissions> {
        let granted = self.loaded.manifest.permissions;
        let left = if frame.read_only { granted.read_only() } else { granted };
        (granted.is_none() || !left.is_none()).then_some(left)
    }

    /// What the Store of a call with these permissions is built from.
    pub fn sandbox(&self, policy: &Arc<Policy>, permissions: Permissions) -> Sandbox {
        Sandbox {
            tool: Arc::clone(&self.name),
            policy: Arc::clone(policy),
            permissions,
            limits: Arc::clone(&self.limits),
            blocking_io: self.loaded.trusted_io,
        }
    }

    /// Its workers that are not at their end: their thread runs, or their supervisor has not recorded it.
    pub fn workers_left(&self) -> impl Iterator<Item = usize> {
        let live = |slot: &WorkerSlot| slot.thread.lock().is_some() || slot.supervised.load(Ordering::SeqCst);
        self.slots.iter().enumerate().filter(move |(_, slot)| live(slot)).map(|(index, _)| index)
    }

    /// Where in the supervision tree its supervisor stands.
    pub fn path(&self) -> Arc<str> {
        tool_path(&self.published)
    }

    /// Where in the supervision tree a worker of this tool stands.
    pub fn worker_path(&self, worker: usize) -> Arc<str> {
        format!("{}/w{worker}", self.path()).into()
    }

    /// Notes how long a call took.
    pub fn note_service(&self, took: Duration) {
        let took = took.as_micros().min(u128::from(u64::MAX)) as u64;
        let old = self.service_us.load(Ordering::Relaxed);
        self.service_us.store(old - old / 8 + took / 8, Ordering::Relaxed);
    }

    /// Whether its calls take so little time that an answer may wait for the next one.
    pub fn is_fast(&self) -> bool {
        const FAST_US: u64 = 100;
        self.service_us.load(Ordering::Relaxed) < FAST_US
    }

    /// When a refused caller should come back: the time to work off half of what waits, within 10 ms to 1 s.
    pub fn retry_after(&self) -> Duration {
        if let Some(Shut::Open(wait) | Shut::Quarantined(wait)) = self.gate.shut() {
            return wait.max(Duration::from_millis(10));
        }
        let waiting = self.lane.depth() as u64 / 2 + 1;
        let each = self.service_us.load(Ordering::Relaxed);
        let total = Duration::from_micros(waiting.saturating_mul(each) / self.slots.len().max(1) as u64);
        total.clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}
