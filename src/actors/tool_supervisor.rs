//! The supervisor of one tool's workers: one for one, with backoff, and quarantine past the intensity.
//!
//! It never waits for a worker. A worker that ended leaves its reason in its slot; the supervisor reads it there,
//! asks the restart core, writes the supervision log, and sets a timer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::child_spec::{Child, worker_policy};
use super::message::{CallOutcome, Event, ExitReason, Refusal, ToolSupervisorMsg};
use super::restart::Decision;
use super::shared::Shared;
use super::supervision_log::{Reason, Record, Restart};
use super::tool_table::{ToolEntry, ToolStatus};
use super::tool_worker::{ToolWorker, WorkerArgs};
use crate::config::defaults;

/// The actor.
pub struct ToolSupervisor;

/// Its tool, and what it knows about the workers.
pub struct ToolSupervisorState {
    shared: Arc<Shared>,
    tool: Arc<ToolEntry>,
    workers: Vec<Child>,
}

impl Actor for ToolSupervisor {
    type Msg = ToolSupervisorMsg;
    type State = ToolSupervisorState;
    type Arguments = (Arc<Shared>, Arc<ToolEntry>);

    async fn pre_start(
        &self,
        myself: ActorRef<ToolSupervisorMsg>,
        (shared, tool): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let workers = (0..tool.slots.len()).map(|_| Child::new(worker_policy(&shared.times))).collect();
        for index in 0..tool.slots.len() {
            myself.cast(ToolSupervisorMsg::StartWorker(index))?;
        }
        Ok(ToolSupervisorState { shared, tool, workers })
    }

    async fn handle(
        &self,
        myself: ActorRef<ToolSupervisorMsg>,
        message: ToolSupervisorMsg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ToolSupervisorMsg::StartWorker(index) => state.start_worker(&myself, index).await,
            // Exits overtake messages: a worker that ended meanwhile is not ready any more.
            ToolSupervisorMsg::WorkerReady { index, actor } if state.workers[index].actor == Some(actor) => {
                state.worker_ready(index);
            }
            ToolSupervisorMsg::WorkerReady { .. } => {}
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ToolSupervisorMsg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(worker, _, said) => {
                state.worker_actor_ended(&myself, &worker, said.unwrap_or_default());
            }
            SupervisionEvent::ActorFailed(worker, error) => {
                state.worker_actor_ended(&myself, &worker, error.to_string());
            }
            _ => {}
        }
        Ok(())
    }
}

impl ToolSupervisorState {
    async fn start_worker(&mut self, myself: &ActorRef<ToolSupervisorMsg>, index: usize) {
        if self.shared.is_stopping() {
            return;
        }
        let args = WorkerArgs {
            shared: Arc::clone(&self.shared),
            tool: Arc::clone(&self.tool),
            index,
            supervisor: myself.clone(),
        };
        // `pre_start` only stores its arguments, so this wait is a few microseconds.
        match Actor::spawn_linked(None, ToolWorker, args, myself.get_cell()).await {
            Ok((worker, _)) => {
                self.workers[index].actor = Some(worker.get_id());
                self.tool.slots[index].supervised.store(true, Ordering::SeqCst);
            }
            Err(error) => self.worker_exited(myself, index, &ExitReason::InitFailed(error.to_string())),
        }
    }

    fn worker_ready(&mut self, index: usize) {
        let slot = &self.tool.slots[index];
        let incarnation = slot.incarnation.load(Ordering::SeqCst);
        let downtime = self.workers[index].on_ready(Instant::now());
        let path = self.tool.worker_path(index);
        self.shared.log.record(match downtime {
            None => Record { incarnation: Some(incarnation), ..Record::new("child_started", Arc::clone(&path)) },
            Some(downtime) => Record {
                level: Some("L2"),
                incarnation: Some(incarnation),
                downtime_us: Some(downtime.as_micros() as u64),
                ..Record::new("restart_ok", Arc::clone(&path))
            },
        });
        if matches!(self.tool.set_status(ToolStatus::Serving), ToolStatus::Quarantined { .. }) {
            self.shared.log.record(Record { level: Some("L2"), ..Record::new("readmitted", path) });
        }
        self.shared.bus.publish(Event::WorkerReady { tool: Arc::clone(&self.tool.name), worker: index, incarnation });
    }

    fn worker_actor_ended(&mut self, myself: &ActorRef<ToolSupervisorMsg>, worker: &ActorCell, said: String) {
        let id = worker.get_id();
        let Some(index) = self.workers.iter().position(|child| child.actor == Some(id)) else { return };
        // Without a reason in the slot the thread is alive: only its actor died.
        let reason = self.tool.slots[index].exit.lock().take().unwrap_or(ExitReason::Killed(said));
        self.worker_exited(myself, index, &reason);
    }

    fn worker_exited(&mut self, myself: &ActorRef<ToolSupervisorMsg>, index: usize, reason: &ExitReason) {
        if self.workers[index].ready_since.is_none() && !matches!(reason, ExitReason::InitFailed(_)) {
            // Exits overtake messages: it was ready, and its word of that is still on the way.
            self.worker_ready(index);
        }
        let slot = &self.tool.slots[index];
        let path = self.tool.worker_path(index);
        let incarnation = slot.incarnation.load(Ordering::SeqCst);
        let (decision, uptime, window) = self.workers[index].on_exit(Instant::now());
        self.shared.log.record(Record {
            level: Some("L2"),
            incarnation: Some(incarnation),
            reason: Some(Reason::new(reason.kind(), None, reason.text())),
            queue_depth: Some(self.tool.lane.depth()),
            uptime_ms: Some(uptime.as_millis() as u64),
            ..Record::new("child_exited", Arc::clone(&path))
        });
        slot.supervised.store(false, Ordering::SeqCst);
        if self.shared.is_stopping() {
            self.shared.log.record(Record { incarnation: Some(incarnation), ..Record::new("child_stopped", path) });
            self.shared.worker_ended();
            return;
        }
        let tool = Arc::clone(&self.tool.name);
        self.shared.bus.publish(Event::WorkerExited { tool, worker: index, reason: reason.clone() });
        if !matches!(reason, ExitReason::Killed(_)) {
            slot.incarnation.fetch_add(1, Ordering::SeqCst);
        }
        let decision = self.with_zombies(decision);
        self.act(myself, index, path, decision, window);
    }

    /// Too many threads stuck in the system: a further worker would only add to them.
    fn with_zombies(&self, decision: Decision) -> Decision {
        if self.tool.zombies.count() >= defaults::ZOMBIES {
            return Decision::Quarantine { probe_after: decision.delay().max(self.shared.times.probe_after) };
        }
        decision
    }

    fn act(
        &self,
        myself: &ActorRef<ToolSupervisorMsg>,
        index: usize,
        path: Arc<str>,
        decision: Decision,
        window: String,
    ) {
        let event = match decision {
            Decision::Restart { .. } => "restart_scheduled",
            Decision::Quarantine { probe_after } => {
                self.quarantine(Instant::now() + probe_after);
                "quarantined"
            }
        };
        self.shared.log.record(Record {
            level: Some("L2"),
            restart: Some(Restart {
                window: Some(window),
                backoff_ms: Some(decision.delay().as_millis() as u64),
                ..Restart::new("worker")
            }),
            ..Record::new(event, path)
        });
        if decision.delay().is_zero() {
            let _ = myself.cast(ToolSupervisorMsg::StartWorker(index));
        } else {
            drop(myself.send_after(decision.delay(), move || ToolSupervisorMsg::StartWorker(index)));
        }
    }

    /// Refuses calls, those that wait included, unless another worker still serves.
    fn quarantine(&self, until: Instant) {
        if self.workers.iter().any(|worker| worker.ready_since.is_some()) {
            return;
        }
        self.tool.set_status(ToolStatus::Quarantined { until });
        self.tool.lane.drain(|call| call.reply.answer(CallOutcome::Refused(Refusal::Quarantined)));
        self.shared.bus.publish(Event::Quarantined { tool: Arc::clone(&self.tool.name) });
    }
}
