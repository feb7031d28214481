//! What every actor and worker thread of one server holds in common.
//!
//! Nothing in here waits: the bus and the log take or drop, the context gives a snapshot, the rest is read-only or a
//! flag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::census::Census;
use super::child::Circumstances;
use super::context::Context;
use super::event_bus::EventBus;
use super::supervision_log::{Record, SupervisionLog};
use super::tool_table::{ToolEntry, ToolTable};
use crate::config::SupervisionPolicy;
use crate::keyed::Keyed;
use crate::trail::Trail;
use crate::wasi::engine::Engine;
use crate::wasi::loader::Loader;
use crate::wasi::sandbox::Policy;

/// Those who keep something on disk for longer than the server lives.
pub struct Keepers {
    /// Calls that are made once.
    pub keyed: Keyed,
    /// The audit trail.
    pub trail: Trail,
}

/// See the module documentation.
pub struct Shared {
    /// The wasmtime engine.
    pub engine: Engine,
    /// Compiles tools and says when the list of them has changed.
    pub loader: Arc<Loader>,
    /// The allowed directories.
    pub policy: Arc<Policy>,
    /// The tools, their lanes and their running threads.
    pub table: ToolTable,
    /// The writer of ContextFrame defaults, and its snapshot.
    pub context: Context,
    /// Lossy fan-out of what happens.
    pub bus: EventBus,
    /// Every child of the tree and its history.
    pub census: Census,
    /// What was started, what ended, and why.
    pub log: SupervisionLog,
    /// Calls that are made once, however often they are asked for.
    pub keyed: Keyed,
    /// The audit trail.
    pub trail: Trail,
    /// When to restart, when to leave alone.
    pub supervision: SupervisionPolicy,
    stopping: AtomicBool,
    interrupt: CancellationToken,
    escalated: CancellationToken,
    worker_ended: Notify,
}

impl Shared {
    /// Everything for a server that is not yet stopping.
    pub fn new(
        loader: Arc<Loader>,
        policy: Arc<Policy>,
        table: ToolTable,
        context: Context,
        log: SupervisionLog,
        Keepers { keyed, trail }: Keepers,
        supervision: SupervisionPolicy,
    ) -> Self {
        Self {
            engine: loader.engine.clone(),
            loader,
            policy,
            table,
            context,
            bus: log.bus().clone(),
            census: Census::new(log.clone()),
            log,
            keyed,
            trail,
            supervision,
            stopping: AtomicBool::new(false),
            interrupt: CancellationToken::new(),
            escalated: CancellationToken::new(),
            worker_ended: Notify::new(),
        }
    }

    /// From now on the exits of children are part of the end, not faults.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Whether the server is going away.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Stops every guest at its next yield; calls that still wait are refused.
    pub fn interrupt(&self) {
        self.interrupt.cancel();
    }

    /// Whether [`Shared::interrupt`] was called.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.is_cancelled()
    }

    /// Ready once [`Shared::interrupt`] was called.
    pub async fn interrupted(&self) {
        self.interrupt.cancelled().await;
    }

    /// The root supervisor gave up: the process must answer what it can and end.
    pub fn escalate(&self) {
        self.escalated.cancel();
    }

    /// The token behind [`Shared::escalate`].
    pub fn escalated(&self) -> CancellationToken {
        self.escalated.clone()
    }

    /// What a supervisor has to know of the whole to decide about one child.
    pub fn circumstances(&self, zombies: usize) -> Circumstances {
        Circumstances {
            stopping: self.is_stopping(),
            too_many_zombies: zombies >= self.supervision.zombies,
            jitter: fastrand::f64(),
        }
    }

    /// The server's end has come so far; for the supervision log.
    pub fn phase(&self, phase: &'static str) {
        self.log.record(Record { phase: Some(phase), ..Record::new("shutdown_phase", "root".into()) });
    }

    /// A worker thread ended.
    pub fn worker_ended(&self) {
        self.worker_ended.notify_one();
    }

    /// Waits until no worker of `tool` runs, at most `patience`.
    pub async fn workers_gone(&self, tool: &ToolEntry, patience: Duration) {
        let all_gone = async {
            while tool.workers_left().next().is_some() {
                self.worker_ended.notified().await;
            }
        };
        let _ = tokio::time::timeout(patience, all_gone).await;
    }
}
