//! The supervisor of all tools: one [`ToolSupervisor`] for each that was ever called, one for one.
//!
//! A tool that nobody calls costs no actor and no thread; its first call wakes it. A tool supervisor that dies is
//! replaced at once; its successor takes the running workers over from the table, so no Store is dropped and no call
//! fails. Too many deaths end this supervisor too, and the root decides.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::child::{Exit, Next};
use super::child_spec::ChildSpec;
use super::message::{ExitReason, ToolsSupervisorMsg};
use super::shared::Shared;
use super::tool_supervisor::ToolSupervisor;
use super::tool_table::ToolEntry;
use crate::failpoint::points;

/// The actor.
pub struct ToolsSupervisor;

impl Actor for ToolsSupervisor {
    type Msg = ToolsSupervisorMsg;
    type State = Arc<Shared>;
    type Arguments = Arc<Shared>;

    async fn pre_start(
        &self,
        myself: ActorRef<ToolsSupervisorMsg>,
        shared: Arc<Shared>,
    ) -> Result<Self::State, ActorProcessingErr> {
        // Before `post_start` looks who is awake, so that nobody who wakes meanwhile is missed.
        shared.table.alarm_clock.set(myself);
        Ok(shared)
    }

    async fn post_start(
        &self,
        myself: ActorRef<ToolsSupervisorMsg>,
        shared: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        for tool in shared.table.iter().filter(|tool| tool.is_awake()) {
            take_up(&myself, shared, tool)?;
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<ToolsSupervisorMsg>,
        message: ToolsSupervisorMsg,
        shared: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let (ToolsSupervisorMsg::Wake(name) | ToolsSupervisorMsg::StartTool(name)) = &message;
        let Some(tool) = shared.table.get(name) else { return Ok(()) };
        points::TOOLS_HANDLE.hit_for(name)?;
        let path = tool.path();
        if shared.is_stopping() || shared.census.actor(&path).is_some() {
            return Ok(());
        }
        if let ToolsSupervisorMsg::Wake(_) = message {
            return take_up(&myself, shared, tool);
        }
        shared.census.start(&path);
        let args = (Arc::clone(shared), Arc::clone(tool));
        let (supervisor, _) = Actor::spawn_linked(None, ToolSupervisor, args, myself.get_cell()).await?;
        shared.census.lives(&path, supervisor.get_cell());
        shared.census.ready(&path, false);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ToolsSupervisorMsg>,
        event: SupervisionEvent,
        shared: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, said) = match event {
            SupervisionEvent::ActorTerminated(cell, _, said) => (cell, said.unwrap_or_default()),
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            _ => return Ok(()),
        };
        if shared.is_stopping() {
            return Ok(());
        }
        let is_it = |tool: &&Arc<ToolEntry>| shared.census.is(&tool.path(), cell.get_id());
        let Some(tool) = shared.table.iter().find(is_it) else { return Ok(()) };
        points::TOOLS_HANDLE.hit_for(&tool.published)?;
        let exit = Exit::because(ExitReason::Killed(said));
        match shared.census.exited(&tool.path(), &exit, shared.circumstances(0)) {
            Next::Start(_) | Next::Probe(_) => myself.cast(ToolsSupervisorMsg::StartTool(tool.published.clone()))?,
            Next::Escalate => myself.stop(Some(format!("the supervisor of {} keeps dying", tool.published))),
            Next::Stop => {}
        }
        Ok(())
    }
}

/// Begins with a tool that is awake: has its supervisor started, or restarted if it went with a predecessor of ours.
fn take_up(myself: &ActorRef<ToolsSupervisorMsg>, shared: &Shared, tool: &ToolEntry) -> Result<(), ActorProcessingErr> {
    let spec = ChildSpec::control(tool.path(), &shared.supervision);
    // One that went with a predecessor of ours is not to blame for that.
    if shared.census.expect(spec, true, shared.circumstances(0)) != Next::Stop {
        myself.cast(ToolsSupervisorMsg::StartTool(tool.published.clone()))?;
    }
    Ok(())
}
