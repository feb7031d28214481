//! The supervisor of all tools: one [`ToolSupervisor`] each, one for one.
//!
//! A tool supervisor that dies is replaced at once; its successor takes the running workers over from the table, so
//! no Store is dropped and no call fails. Too many deaths end this supervisor too, and the root decides.

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

/// The tools.
pub struct ToolsSupervisorState {
    shared: Arc<Shared>,
    tools: Vec<Arc<ToolEntry>>,
}

impl Actor for ToolsSupervisor {
    type Msg = ToolsSupervisorMsg;
    type State = ToolsSupervisorState;
    type Arguments = Arc<Shared>;

    async fn pre_start(
        &self,
        _: ActorRef<ToolsSupervisorMsg>,
        shared: Arc<Shared>,
    ) -> Result<Self::State, ActorProcessingErr> {
        let tools = shared.table.iter().cloned().collect();
        Ok(ToolsSupervisorState { shared, tools })
    }

    async fn post_start(
        &self,
        myself: ActorRef<ToolsSupervisorMsg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let shared = &state.shared;
        for (index, tool) in state.tools.iter().enumerate() {
            let spec = ChildSpec::control(tool.path(), &shared.supervision);
            // One that went with a predecessor of ours is not to blame for that.
            let next = shared.census.expect(spec, true, shared.circumstances(0));
            if next != Next::Stop {
                myself.cast(ToolsSupervisorMsg::StartTool(index))?;
            }
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<ToolsSupervisorMsg>,
        ToolsSupervisorMsg::StartTool(index): ToolsSupervisorMsg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let (shared, tool) = (&state.shared, &state.tools[index]);
        points::TOOLS_HANDLE.hit_for(&tool.published)?;
        let path = tool.path();
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
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, said) = match event {
            SupervisionEvent::ActorTerminated(cell, _, said) => (cell, said.unwrap_or_default()),
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            _ => return Ok(()),
        };
        let shared = &state.shared;
        if shared.is_stopping() {
            return Ok(());
        }
        let is_it = |tool: &&Arc<ToolEntry>| shared.census.is(&tool.path(), cell.get_id());
        let Some((index, tool)) = state.tools.iter().enumerate().find(|(_, tool)| is_it(tool)) else { return Ok(()) };
        points::TOOLS_HANDLE.hit_for(&tool.published)?;
        let exit = Exit::because(ExitReason::Killed(said));
        match shared.census.exited(&tool.path(), &exit, shared.circumstances(0)) {
            Next::Start(_) | Next::Probe(_) => myself.cast(ToolsSupervisorMsg::StartTool(index))?,
            Next::Escalate => myself.stop(Some(format!("the supervisor of {} keeps dying", tool.published))),
            Next::Stop => {}
        }
        Ok(())
    }
}
