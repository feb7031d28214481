//! The tools, outside of any actor.
//!
//! ractor kills the whole subtree of an actor that dies. So what must survive a dead supervisor, the lanes and the
//! running worker threads with their warm Stores, is entered here, and the successor takes it up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ractor::ActorRef;
use tokio::sync::Semaphore;

use super::alarm_clock::AlarmClock;
use super::bulkhead::Bulkhead;
use super::gate::{Shut, Verdict};
use super::gatekeeper::{Gatekeeper, LetIn};
use super::knobs::Knobs;
use super::lane::{Lane, LaneSettings, SendError};
use super::message::{Call, CallOutcome, ExitReason, Refusal, WorkerMsg};
use super::meter::{Measured, Meter};
use super::sheds::Sheds;
use super::supervision_log::SupervisionLog;
use super::tenant_accounts::{TenantAccounts, UsedUp};
use super::token_bucket::{Rate, TokenBucket};
use super::watermark::Watermark;
use super::worker_thread::InHand;
use super::zombies::Zombies;
use crate::config::{Performance, SupervisionPolicy};
use crate::failpoint::points;
use crate::frame::ContextFrame;
use crate::policy::{Rights, Rules};
use crate::wasi::catalogue::Catalogue;
use crate::wasi::lazy_tool::LazyTool;
use crate::wasi::limits::Limits;
use crate::wasi::manifest::{Manifest, Permissions};
use crate::wasi::sandbox::Policy;
use crate::wasi::store::Sandbox;

/// Every tool, by published name.
pub struct ToolTable {
    tools: BTreeMap<String, Arc<ToolEntry>>,
    /// The tools' own names, where they differ: `fs.read` for `fs_read`.
    aliases: BTreeMap<String, String>,
    /// Counts what clients have cancelled; full lanes then look for it.
    cancellations: Arc<AtomicU64>,
    /// What tenants have used of their allowances.
    tenants: Mutex<TenantAccounts>,
    /// Requests refused before it was known which tool they are for.
    pub sheds: Sheds,
    backlog: Mutex<Backlog>,
    /// Has the workers of tools started when they are called.
    pub alarm_clock: Arc<AlarmClock>,
}

/// How long the tool with the most to do will have to do, as of some milliseconds ago.
struct Backlog {
    at: Instant,
    takes: Duration,
}

/// Makes the lane of a tool.
type MakeLane = Box<dyn FnOnce() -> Lane + Send>;

/// One tool and what belongs to it for the life of the process.
pub struct ToolEntry {
    /// The tool's own name.
    pub name: Arc<str>,
    /// The name clients see.
    pub published: String,
    /// Manifest, definition and, once it is needed, the compiled module.
    pub loaded: Arc<LazyTool>,
    /// Calls waiting for a worker. Its places take memory, so they are there from the first call on.
    pub lane: LazyLock<Lane, MakeLane>,
    /// Places for calls that wait for the module to be compiled: as many as the lane has.
    pub waiting_room: Semaphore,
    /// What of it can be moved while it serves.
    pub knobs: Knobs,
    /// Where the context engine is told of its calls, if that is on.
    pub meter: Option<Box<Meter>>,
    /// One slot per worker.
    pub slots: Vec<WorkerSlot>,
    /// Who may call it, and what it may reach.
    pub rights: Rights,
    /// What one call may use.
    pub limits: Arc<Limits>,
    /// Worker threads stuck in the system.
    pub zombies: Zombies,
    /// Whether it takes calls.
    pub gate: Arc<Gatekeeper>,
    /// Calls a second that it takes, if that is limited.
    rate: Option<Mutex<TokenBucket>>,
    /// How many calls were refused, by reason.
    pub sheds: Sheds,
    /// Whether it was ever called. Before that it has a place in the list and nothing else: no actor, no thread.
    awake: AtomicBool,
    alarm_clock: Arc<AlarmClock>,
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
    /// The table of a loaded catalogue, under these rules; `tuned` says whether the context engine is on.
    pub fn new(
        catalogue: Catalogue,
        rules: &Arc<Rules>,
        policy: &SupervisionPolicy,
        performance: &Performance,
        tuned: bool,
        log: &SupervisionLog,
    ) -> Self {
        let mut table = Self {
            tools: BTreeMap::new(),
            aliases: BTreeMap::new(),
            cancellations: Arc::default(),
            tenants: Mutex::default(),
            sheds: Sheds::new("root".into(), log.bus().clone()),
            backlog: Mutex::new(Backlog { at: Instant::now(), takes: Duration::ZERO }),
            alarm_clock: Arc::default(),
        };
        let in_flight = Watermark::new(performance.max_inflight, performance.queue_watermark);
        let bulkhead = Arc::new(Bulkhead::new(in_flight.shed_mark()));
        for loaded in catalogue.tools {
            let published = loaded.manifest.published_name();
            if loaded.manifest.name != published {
                table.aliases.insert(loaded.manifest.name.clone(), published.clone());
            }
            let gate = Gatekeeper::new(tool_path(&published), policy.breaker.clone(), log.clone());
            let knobs = Knobs::of(&loaded.manifest);
            let lane = LaneSettings {
                depth: Arc::clone(&knobs.lane_depth),
                places: if tuned { Knobs::most_depth(&loaded.manifest) } else { loaded.manifest.queue_depth },
                workers: loaded.manifest.workers,
                codel: performance.codel,
                bulkhead: Arc::clone(&bulkhead),
                cancellations: Arc::clone(&table.cancellations),
            };
            let meter = tuned.then(Box::default);
            let entry = ToolEntry::new(loaded, rules, gate, lane, (knobs, meter), &table.alarm_clock);
            table.tools.insert(published, Arc::new(entry));
        }
        table
    }

    /// The tool of this name, published or its own.
    pub fn get(&self, name: &str) -> Option<&Arc<ToolEntry>> {
        self.tools.get(name).or_else(|| self.tools.get(self.aliases.get(name)?))
    }

    /// Hands `call` to the workers of `tool`, or gives it back at once with the reason. Counts it for its tenant, if that
    /// may use only so much.
    ///
    /// # Errors
    /// As [`ToolEntry::submit`].
    pub fn submit(&self, tool: &ToolEntry, mut call: Call) -> Result<(), (Call, Refusal)> {
        let allowance = tool.rights.allowance(&call.request.frame);
        if !allowance.is_limited() {
            return tool.submit(call);
        }
        let tenant = Arc::clone(&call.request.frame.tenant_id);
        let taken = self.tenants.lock().take(Instant::now(), &tenant, &allowance);
        match taken {
            Ok(charged) => call.charged = charged,
            Err(UsedUp::Calls(wait)) => return Err(tool.refused(call, Refusal::TenantRate(wait))),
            Err(UsedUp::Cpu(wait)) => return Err(tool.refused(call, Refusal::TenantCpu(wait))),
        }
        let submitted = tool.submit(call);
        if submitted.is_err() {
            self.tenants.lock().give_back(&tenant);
        }
        submitted
    }

    /// When a client that was refused for want of room in the whole server should come back: when half of the longest
    /// lane is worked off. Looking at all of them is worth its time a hundred times a second, not at each refusal.
    pub fn retry_after(&self) -> Duration {
        const FRESH: Duration = Duration::from_millis(10);
        let (mut backlog, now) = (self.backlog.lock(), Instant::now());
        if now.saturating_duration_since(backlog.at) > FRESH {
            let busy = self.iter().filter(|tool| tool.is_awake());
            let longest = busy.map(|tool| tool.lane.time_for(tool.lane.depth())).max();
            *backlog = Backlog { at: now, takes: longest.unwrap_or_default() };
        }
        soon(backlog.takes / 2)
    }

    /// A client has cancelled a call, which may be waiting in a lane.
    pub fn note_cancellation(&self) {
        self.cancellations.fetch_add(1, Ordering::SeqCst);
    }

    /// The tools that can be called, as far as is known: those that did not turn out to be unusable.
    pub fn served(&self) -> impl Iterator<Item = &Arc<ToolEntry>> {
        self.iter().filter(|tool| tool.loaded.refusal().is_none())
    }

    /// Those of them that the user may call.
    pub fn listed(&self) -> impl Iterator<Item = &Arc<ToolEntry>> {
        self.served().filter(|tool| tool.rights.is_listed)
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

/// `wait` as it is said to a client: within 10 ms to about 1 s, and by chance up to a tenth more or less, so that those
/// who were refused together do not come back together.
fn soon(wait: Duration) -> Duration {
    const LEAST: Duration = Duration::from_millis(10);
    const MOST: Duration = Duration::from_secs(1);
    wait.clamp(LEAST, MOST).mul_f64(0.9 + 0.2 * fastrand::f64()).max(LEAST)
}

fn rate(manifest: &Manifest) -> Option<Mutex<TokenBucket>> {
    let limit = manifest.rate_limit?;
    let rate = Rate::per_second(limit.per_s);
    Some(Mutex::new(TokenBucket::new(Instant::now(), rate, limit.burst.unwrap_or(rate.one_second()))))
}

fn tool_path(published: &str) -> Arc<str> {
    format!("root/tools/{published}").into()
}

impl ToolEntry {
    fn new(
        loaded: Arc<LazyTool>,
        rules: &Arc<Rules>,
        gate: Gatekeeper,
        lane: LaneSettings,
        (knobs, meter): (Knobs, Option<Box<Meter>>),
        alarm_clock: &Arc<AlarmClock>,
    ) -> Self {
        Self {
            name: loaded.manifest.name.as_str().into(),
            published: loaded.manifest.published_name(),
            rights: Rights::new(rules, &loaded.manifest),
            lane: LazyLock::new(Box::new(move || Lane::new(lane))),
            waiting_room: Semaphore::new(loaded.manifest.queue_depth),
            knobs,
            meter,
            slots: (0..loaded.manifest.workers).map(|_| WorkerSlot::default()).collect(),
            limits: Arc::new(loaded.manifest.limits.clone()),
            zombies: Zombies::default(),
            rate: rate(&loaded.manifest),
            sheds: gate.sheds(),
            gate: Arc::new(gate),
            awake: AtomicBool::new(false),
            alarm_clock: Arc::clone(alarm_clock),
            loaded,
        }
    }

    /// Hands `call` to the tool's workers, or gives it back at once with the reason. A call that is refused here has used
    /// up nothing: neither its share of a rate nor the trial of a gate.
    ///
    /// # Errors
    /// The call and why it was not taken.
    pub fn submit(&self, call: Call) -> Result<(), (Call, Refusal)> {
        if let Some(rate) = &self.rate
            && let Err(wait) = rate.lock().take(Instant::now())
        {
            return Err(self.refused(call, Refusal::ToolRate(wait)));
        }
        self.enter(call).map_err(|(call, refusal)| {
            if let Some(rate) = &self.rate {
                rate.lock().give_back();
            }
            self.refused(call, refusal)
        })
    }

    /// Through the gate and into the lane.
    fn enter(&self, mut call: Call) -> Result<(), (Call, Refusal)> {
        match self.gate.admit() {
            Ok(let_in) => call.let_in = let_in,
            Err(Shut::Open(_)) => return Err((call, Refusal::BreakerOpen)),
            Err(Shut::Quarantined(_)) => return Err((call, Refusal::Quarantined)),
            Err(Shut::Stopped) => return Err((call, Refusal::Stopped)),
        }
        if points::LANE_SEND.hit_for(&self.published).is_err() {
            return Err((call, Refusal::QueueFull));
        }
        self.wake();
        match self.lane.try_send(call) {
            Ok(None) => Ok(()),
            Ok(Some(evicted)) => {
                self.refuse(evicted, Refusal::QueueFull);
                Ok(())
            }
            Err(SendError::Full(call)) => Err((call, Refusal::QueueFull)),
            Err(SendError::Standing(call)) => Err((call, Refusal::Codel)),
            Err(SendError::Closed(call)) => Err((call, Refusal::ShuttingDown)),
        }
    }

    /// Answers a call that was let in with a refusal.
    pub fn refuse(&self, call: Call, refusal: Refusal) {
        let (call, refusal) = self.refused(call, refusal);
        call.reply.answer(CallOutcome::Refused(refusal));
    }

    /// Counts a refusal.
    fn refused(&self, call: Call, refusal: Refusal) -> (Call, Refusal) {
        self.sheds.note(refusal, Some(&call.request.frame.reason_trace_id));
        (call, refusal)
    }

    /// What became of a call that was let in. When too many fault, those that wait are refused too.
    pub fn call_ended(&self, let_in: LetIn, verdict: Verdict) {
        if self.gate.ended(let_in, verdict) {
            self.refuse_waiting(Refusal::BreakerOpen);
        }
    }

    /// Tells the context engine what became of a call, if it wants to know.
    pub fn measure(&self, call: Measured, now: Instant, verdict: Verdict) {
        if let Some(meter) = &self.meter {
            meter.ended(call, now, verdict);
        }
    }

    /// Refuses the calls that wait.
    pub fn refuse_waiting(&self, refusal: Refusal) {
        if self.is_awake() {
            self.lane.drain(|call| self.refuse(call, refusal));
        }
    }

    /// Has its workers started, if this is its first call.
    fn wake(&self) {
        if !self.is_awake() && !self.awake.swap(true, Ordering::SeqCst) {
            self.alarm_clock.ring(&self.published);
        }
    }

    /// Whether it was ever called.
    pub fn is_awake(&self) -> bool {
        self.awake.load(Ordering::SeqCst)
    }

    /// How many calls wait.
    pub fn waiting(&self) -> usize {
        if self.is_awake() { self.lane.depth() } else { 0 }
    }

    /// What the tool may do in a call with this frame; `None` when the frame takes away its only permission.
    pub fn permissions_for(&self, frame: &ContextFrame) -> Option<Permissions> {
        let granted = self.loaded.manifest.permissions;
        let left = if frame.read_only { granted.read_only() } else { granted };
        (granted.is_none() || !left.is_none()).then_some(left)
    }

    /// What the Store of a call with these permissions is built from; `policy` is what the server allows to all tools.
    pub fn sandbox(&self, policy: &Arc<Policy>, permissions: Permissions) -> Sandbox {
        Sandbox {
            tool: Arc::clone(&self.name),
            policy: Arc::clone(self.rights.directories.as_ref().unwrap_or(policy)),
            permissions,
            environment: self.rights.environment.clone(),
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

    /// Whether its calls take so little time that an answer may wait for the next one.
    pub fn is_fast(&self) -> bool {
        const FAST: Duration = Duration::from_micros(100);
        self.lane.service() < FAST
    }

    /// When a refused caller should come back: when its rate allows, when the tool is tried again, or when half of what
    /// waits is worked off.
    pub fn retry_after(&self, refusal: Refusal) -> Duration {
        if let Refusal::ToolRate(wait) | Refusal::TenantRate(wait) | Refusal::TenantCpu(wait) = refusal {
            // Never too early: the call would only be refused again. Whole milliseconds are said.
            return wait.mul_f64(1.0 + fastrand::f64() / 10.0) + Duration::from_millis(1);
        }
        if let Some(Shut::Open(wait) | Shut::Quarantined(wait)) = self.gate.shut() {
            return wait.max(Duration::from_millis(10));
        }
        soon(self.lane.time_for(self.waiting() / 2 + 1))
    }
}
