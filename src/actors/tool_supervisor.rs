//! The supervisor of one tool's workers: one for one, with backoff, and quarantine past the intensity.
//!
//! It never waits for a worker. A worker that ended leaves its reason in its slot; the supervisor reads it there, asks
//! the worker's [`super::child::Child`] what to do, and sets a timer. What it knows is in the census and in the slots,
//! so its successor goes on where it was.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::child::{Exit, Next};
use super::child_spec::ChildSpec;
use super::message::{ExitReason, Refusal, ToolSupervisorMsg};
use super::shared::Shared;
use super::tool_table::{ThreadExit, ToolEntry};
use super::tool_worker::{ToolWorker, WorkerArgs};
use crate::failpoint::points;

/// The actor.
pub struct ToolSupervisor;

/// Whose supervisor it is.
pub struct ToolSupervisorState {
    shared: Arc<Shared>,
    tool: Arc<ToolEntry>,
}

impl Actor for ToolSupervisor {
    type Msg = ToolSupervisorMsg;
    type State = ToolSupervisorState;
    type Arguments = (Arc<Shared>, Arc<ToolEntry>);

    async fn pre_start(
        &self,
        _: ActorRef<ToolSupervisorMsg>,
        (shared, tool): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(ToolSupervisorState { shared, tool })
    }

    async fn post_start(
        &self,
        myself: ActorRef<ToolSupervisorMsg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        for index in 0..state.tool.slots.len() {
            state.take_up(&myself, index);
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<ToolSupervisorMsg>,
        message: ToolSupervisorMsg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        points::SUPERVISOR_HANDLE.hit_for(&state.tool.published)?;
        match message {
            ToolSupervisorMsg::StartWorker(index) => state.start_worker(&myself, index).await,
            // Exits overtake messages: a worker that ended meanwhile is not ready any more.
            ToolSupervisorMsg::WorkerReady { index, actor, adopted } => {
                if state.shared.census.is(&state.tool.worker_path(index), actor) {
                    state.worker_ready(index, adopted);
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ToolSupervisorMsg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let (worker, said) = match event {
            SupervisionEvent::ActorTerminated(worker, _, said) => (worker, said.unwrap_or_default()),
            SupervisionEvent::ActorFailed(worker, error) => (worker, error.to_string()),
            _ => return Ok(()),
        };
        points::SUPERVISOR_HANDLE.hit_for(&state.tool.published)?;
        state.worker_actor_ended(&myself, &worker, said);
        Ok(())
    }
}

impl ToolSupervisorState {
    /// Begins with a worker: starts it, or goes on where a predecessor was.
    fn take_up(&self, myself: &ActorRef<ToolSupervisorMsg>, index: usize) {
        let (slot, path) = (&self.tool.slots[index], self.tool.worker_path(index));
        let spec = ChildSpec::worker(path, self.tool.loaded.manifest.restart, &self.shared.supervision);
        let serves_on = slot.thread.lock().is_some();
        let circumstances = self.shared.circumstances(self.tool.zombies.count());
        let next = self.shared.census.expect(spec, serves_on, circumstances);
        self.act(myself, index, next);
    }

    async fn start_worker(&mut self, myself: &ActorRef<ToolSupervisorMsg>, index: usize) {
        let path = self.tool.worker_path(index);
        if self.shared.is_stopping() || self.shared.census.actor(&path).is_some() {
            return;
        }
        self.shared.census.start(&path);
        let slot = &self.tool.slots[index];
        slot.incarnation.store(self.shared.census.incarnation(&path), Ordering::SeqCst);
        let args = WorkerArgs {
            shared: Arc::clone(&self.shared),
            tool: Arc::clone(&self.tool),
            index,
            supervisor: myself.clone(),
        };
        let spawned = match points::SUPERVISOR_SPAWN.hit_for(&self.tool.published) {
            // `pre_start` only stores its arguments, so this wait is a few microseconds.
            Ok(()) => Actor::spawn_linked(None, ToolWorker, args, myself.get_cell()).await.map_err(|e| e.to_string()),
            Err(injected) => Err(injected.to_string()),
        };
        match spawned {
            Ok((worker, _)) => {
                slot.supervised.store(true, Ordering::SeqCst);
                self.shared.census.lives(&path, worker.get_cell());
            }
            Err(error) => self.worker_exited(myself, index, Exit::because(ExitReason::InitFailed(error))),
        }
    }

    fn worker_ready(&self, index: usize, adopted: bool) {
        let path = self.tool.worker_path(index);
        self.shared.census.ready(&path, adopted);
        self.tool.gate.worker_ready();
    }

    fn worker_actor_ended(&self, myself: &ActorRef<ToolSupervisorMsg>, worker: &ActorCell, said: String) {
        let is_it = |index: &usize| self.shared.census.is(&self.tool.worker_path(*index), worker.get_id());
        let Some(index) = (0..self.tool.slots.len()).find(is_it) else { return };
        let slot = &self.tool.slots[index];
        let left = slot.exit.lock().take();
        if left.as_ref().is_some_and(|left| left.was_ready) && !self.shared.census.is_up(&self.tool.worker_path(index))
        {
            // Exits overtake messages: its word that it was ready is still on the way.
            self.worker_ready(index, false);
        }
        let exit = match left {
            Some(ThreadExit { reason, answered, .. }) => Exit { answered, ..Exit::because(reason) },
            // Only the actor died, if its thread is there; it is taken over.
            None => {
                let harmless = slot.thread.lock().is_some();
                Exit { harmless, ..Exit::because(ExitReason::Killed(said)) }
            }
        };
        self.worker_exited(myself, index, exit);
    }

    fn worker_exited(&self, myself: &ActorRef<ToolSupervisorMsg>, index: usize, exit: Exit) {
        let path = self.tool.worker_path(index);
        let exit = Exit { queue_depth: Some(self.tool.lane.depth()), ..exit };
        let circumstances = self.shared.circumstances(self.tool.zombies.count());
        let next = self.shared.census.exited(&path, &exit, circumstances);
        self.tool.slots[index].supervised.store(false, Ordering::SeqCst);
        if self.shared.is_stopping() {
            return self.shared.worker_ended();
        }
        self.act(myself, index, next);
    }

    fn act(&self, myself: &ActorRef<ToolSupervisorMsg>, index: usize, next: Next) {
        let wait = match next {
            Next::Start(wait) => wait,
            Next::Probe(wait) => {
                self.quarantine(Instant::now() + wait);
                wait
            }
            Next::Stop | Next::Escalate => return self.stop_if_last(),
        };
        if wait > Duration::ZERO {
            drop(myself.send_after(wait, move || ToolSupervisorMsg::StartWorker(index)));
        } else {
            let _ = myself.cast(ToolSupervisorMsg::StartWorker(index));
        }
    }

    /// Whether a worker of the tool takes calls.
    fn any_up(&self) -> bool {
        (0..self.tool.slots.len()).any(|index| self.shared.census.is_up(&self.tool.worker_path(index)))
    }

    /// Refuses calls, those that wait included, unless another worker still serves.
    fn quarantine(&self, until: Instant) {
        if !self.any_up() {
            self.tool.gate.quarantine(until);
            self.tool.refuse_waiting(Refusal::Quarantined);
        }
    }

    /// A tool without a worker, now and for good, refuses its calls.
    fn stop_if_last(&self) {
        if !self.shared.is_stopping() && !self.any_up() {
            self.tool.gate.stop();
            self.tool.refuse_waiting(Refusal::Stopped);
        }
    }
}
