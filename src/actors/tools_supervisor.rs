//! The supervisor of all tools: one [`ToolSupervisor`] each, one for one.
//!
//! A tool supervisor that dies is replaced at once; its successor takes the running workers over from the table, so
//! no Store is dropped and no call fails. Too many deaths end this supervisor too, and the root decides.

use std::sync::Arc;
use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::child_spec::{Child, control_policy};
use super::message::ToolsSupervisorMsg;
use super::restart::Decision;
use super::shared::Shared;
use super::supervision_log::{Reason, Record};
use super::tool_supervisor::ToolSupervisor;
use super::tool_table::ToolEntry;

/// The actor.
pub struct ToolsSupervisor;

/// The tools, and what it knows about their supervisors.
pub struct ToolsSupervisorState {
    shared: Arc<Shared>,
    tools: Vec<(Arc<ToolEntry>, Child)>,
}

impl Actor for ToolsSupervisor {
    type Msg = ToolsSupervisorMsg;
    type State = ToolsSupervisorState;
    type Arguments = Arc<Shared>;

    async fn pre_start(
        &self,
        myself: ActorRef<ToolsSupervisorMsg>,
        shared: Arc<Shared>,
    ) -> Result<Self::State, ActorProcessingErr> {
        let child = || Child::new(control_policy(&shared.times));
        let tools: Vec<_> = shared.table.iter().map(|tool| (Arc::clone(tool), child())).collect();
        for index in 0..tools.len() {
            myself.cast(ToolsSupervisorMsg::StartTool(index))?;
        }
        Ok(ToolsSupervisorState { shared, tools })
    }

    async fn handle(
        &self,
        myself: ActorRef<ToolsSupervisorMsg>,
        ToolsSupervisorMsg::StartTool(index): ToolsSupervisorMsg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let args = (Arc::clone(&state.shared), Arc::clone(&state.tools[index].0));
        let (supervisor, _) = Actor::spawn_linked(None, ToolSupervisor, args, myself.get_cell()).await?;
        let child = &mut state.tools[index].1;
        child.actor = Some(supervisor.get_id());
        child.on_ready(Instant::now());
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
        if state.shared.is_stopping() {
            return Ok(());
        }
        let id = cell.get_id();
        let Some(index) = state.tools.iter().position(|(_, child)| child.actor == Some(id)) else { return Ok(()) };
        let (tool, child) = &mut state.tools[index];
        let path: Arc<str> = format!("root/tools/{}", tool.published).into();
        let (decision, _, _) = child.on_exit(Instant::now());
        child.incarnation += 1;
        state.shared.log.record(Record {
            level: Some("L3"),
            reason: Some(Reason::new("killed", None, &said)),
            ..Record::new("child_exited", Arc::clone(&path))
        });
        match decision {
            Decision::Restart { .. } => {
                state.shared.log.record(Record { level: Some("L3"), ..Record::new("restart_scheduled", path) });
                myself.cast(ToolsSupervisorMsg::StartTool(index))?;
            }
            Decision::Quarantine { .. } => {
                state.shared.log.record(Record { level: Some("L3"), ..Record::new("escalated", path) });
                myself.stop(Some(format!("the supervisor of {} keeps dying", tool.published)));
            }
        }
        Ok(())
    }
}
