//! The actor of one worker: starts its thread or takes over a running one, and watches the deadline of the call in
//! hand. It never runs a guest itself: a handler that blocks cannot be stopped.
//!
//! A thread that is past its deadline and does not even yield is stuck in the system. The actor answers in its place,
//! gives it up, and ends; its supervisor puts another in its place.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::gate::Verdict;
use super::message::{CallOutcome, ExitReason, ToolSupervisorMsg, WorkerMsg};
use super::shared::Shared;
use super::supervision_log::Record;
use super::tool_table::{ThreadExit, ToolEntry, WorkerSlot};
use super::worker_thread;
use crate::failpoint::points;

/// Between two looks at the deadline, while calls run.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// How far past its deadline a thread may be before it counts as stuck. A looping guest yields every 2 ms, so only a
/// thread in a host call, or without a core, is ever later. With [`WATCH_EVERY`] this keeps answers within 250 ms.
const GRACE: Duration = Duration::from_millis(100);

/// The actor.
pub struct ToolWorker;

/// Whose worker, and whom to tell.
pub struct WorkerArgs {
    /// What everyone shares.
    pub shared: Arc<Shared>,
    /// The tool.
    pub tool: Arc<ToolEntry>,
    /// Which of its workers.
    pub index: usize,
    /// Its supervisor.
    pub supervisor: ActorRef<ToolSupervisorMsg>,
}

impl WorkerArgs {
    fn slot(&self) -> &WorkerSlot {
        &self.tool.slots[self.index]
    }
}

impl Actor for ToolWorker {
    type Msg = WorkerMsg;
    type State = WorkerArgs;
    type Arguments = WorkerArgs;

    async fn pre_start(&self, _: ActorRef<WorkerMsg>, args: WorkerArgs) -> Result<WorkerArgs, ActorProcessingErr> {
        Ok(args)
    }

    async fn post_start(&self, myself: ActorRef<WorkerMsg>, state: &mut WorkerArgs) -> Result<(), ActorProcessingErr> {
        *state.slot().owner.lock() = Some(myself.clone());
        let running = state.slot().thread.lock().clone();
        if let Some(thread) = running {
            thread.adopt();
            myself.cast(WorkerMsg::Adopted)?;
            myself.cast(WorkerMsg::Watch)?;
        } else if let Err(error) = worker_thread::start(&state.shared, &state.tool, state.index) {
            let reason = ExitReason::InitFailed(format!("cannot start a thread: {error}"));
            *state.slot().exit.lock() = Some(ThreadExit { reason: reason.clone(), answered: 0, was_ready: false });
            myself.cast(WorkerMsg::Exited(reason))?;
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<WorkerMsg>,
        message: WorkerMsg,
        state: &mut WorkerArgs,
    ) -> Result<(), ActorProcessingErr> {
        points::WORKER_HANDLE.hit_for(&state.tool.published)?;
        let ready = |adopted| ToolSupervisorMsg::WorkerReady { index: state.index, actor: myself.get_id(), adopted };
        match message {
            WorkerMsg::Ready => state.supervisor.cast(ready(false))?,
            WorkerMsg::Adopted => state.supervisor.cast(ready(true))?,
            WorkerMsg::Exited(_) => myself.stop(None),
            WorkerMsg::Busy => watch_later(&myself),
            WorkerMsg::Watch => watch(&myself, state),
        }
        Ok(())
    }
}

fn watch_later(myself: &ActorRef<WorkerMsg>) {
    drop(myself.send_after(WATCH_EVERY, || WorkerMsg::Watch));
}

fn watch(myself: &ActorRef<WorkerMsg>, state: &WorkerArgs) {
    let slot = state.slot();
    let mut thread = slot.thread.lock();
    let Some(in_hand) = thread.as_ref() else { return };
    if let Some(overdue) = in_hand.take_overdue(Instant::now(), GRACE) {
        *thread = None;
        *slot.exit.lock() =
            Some(ThreadExit { reason: ExitReason::Wedged, answered: u64::from(!overdue.cancelled), was_ready: true });
        state.tool.zombies.abandon();
        state.shared.log.record(Record {
            level: Some("L2"),
            incarnation: Some(slot.incarnation.load(Ordering::SeqCst)),
            count: Some(state.tool.zombies.count() as u64),
            ..Record::new("worker_abandoned", state.tool.worker_path(state.index))
        });
        if overdue.cancelled {
            overdue.reply.stay_silent();
        } else {
            state.tool.measure(overdue.call, Instant::now(), Verdict::Faulted);
            overdue.reply.answer(CallOutcome::Faulted(overdue.call.deadline.fault()));
        }
        state.shared.worker_ended();
        myself.stop(None);
    } else if in_hand.keep_watching() {
        in_hand.send_unsent();
        watch_later(myself);
    }
}
