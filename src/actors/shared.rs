//! What every actor and worker thread of one server holds in common.
//!
//! Nothing in here waits: the bus and the log take or drop, the context gives a snapshot, the rest is read-only or a
//! flag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::event_bus::EventBus;
use super::living::Living;
use super::supervision_log::SupervisionLog;
use super::tool_table::ToolTable;
use crate::config::SupervisionTimes;
use crate::wasi::engine::Engine;
use crate::wasi::loader::Loader;
use crate::wasi::sandbox::Policy;

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
    /// Which actor lives where.
    pub living: Living,
    /// What was started, what ended, and why.
    pub log: SupervisionLog,
    /// The restart policy's times.
    pub times: SupervisionTimes,
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
        times: SupervisionTimes,
    ) -> Self {
        Self {
            engine: loader.engine.clone(),
            loader,
            policy,
            table,
            context,
            bus: EventBus::default(),
            living: Living::default(),
            log,
            times,
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

    /// A worker thread ended.
    pub fn worker_ended(&self) {
        self.worker_ended.notify_one();
    }

    /// Waits until no worker thread runs, at most `patience`; returns how many still do.
    pub async fn workers_gone(&self, patience: Duration) -> usize {
        let all_gone = async {
            while self.table.live_workers() > 0 {
                self.worker_ended.notified().await;
            }
        };
        let _ = tokio::time::timeout(patience, all_gone).await;
        self.table.live_workers()
    }
}
