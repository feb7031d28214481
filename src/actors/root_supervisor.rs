//! The root of the tree: event bus, context, and the supervisor of the tools.
//!
//! Each restarts alone and at once: events wait or are shed while the bus is away, readers keep the last snapshot
//! while the context is, and the tools' threads serve on while their supervisors are. Too many deaths end the process,
//! with everything in flight answered first.

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};

use super::child::{Exit, Next};
use super::child_spec::ChildSpec;
use super::context::ContextActor;
use super::event_bus::EventBusActor;
use super::message::{ControlActor, ExitReason, RootMsg};
use super::shared::Shared;
use super::tools_supervisor::ToolsSupervisor;
use crate::failpoint::points;

/// The actor.
pub struct RootSupervisor;

/// What everyone shares; its three children are in the census.
pub struct RootState {
    shared: Arc<Shared>,
}

impl ControlActor {
    /// In the order they are started; the end goes the other way.
    pub const IN_ORDER: [Self; 3] = [Self::EventBus, Self::Context, Self::Tools];

    /// Its place in the tree.
    pub fn path(self) -> Arc<str> {
        match self {
            Self::EventBus => "root/event_bus",
            Self::Context => "root/context",
            Self::Tools => "root/tools",
        }
        .into()
    }

    async fn spawn(self, shared: &Arc<Shared>, root: ActorCell) -> Result<ActorCell, SpawnErr> {
        Ok(match self {
            Self::EventBus => Actor::spawn_linked(None, EventBusActor, shared.bus.clone(), root).await?.0.get_cell(),
            Self::Context => Actor::spawn_linked(None, ContextActor, shared.context.clone(), root).await?.0.get_cell(),
            Self::Tools => Actor::spawn_linked(None, ToolsSupervisor, Arc::clone(shared), root).await?.0.get_cell(),
        })
    }
}

impl Actor for RootSupervisor {
    type Msg = RootMsg;
    type State = RootState;
    type Arguments = Arc<Shared>;

    async fn pre_start(&self, myself: ActorRef<RootMsg>, shared: Arc<Shared>) -> Result<RootState, ActorProcessingErr> {
        for actor in ControlActor::IN_ORDER {
            let spec = ChildSpec::control(actor.path(), &shared.supervision);
            shared.census.expect(spec, false, shared.circumstances(0));
            myself.cast(RootMsg::Start(actor))?;
        }
        Ok(RootState { shared })
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMsg>,
        RootMsg::Start(actor): RootMsg,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        let census = &state.shared.census;
        census.start(&actor.path());
        let spawned = match points::ROOT_SPAWN.hit_for(&actor.path()) {
            Ok(()) => actor.spawn(&state.shared, myself.get_cell()).await.map_err(|error| error.to_string()),
            Err(injected) => Err(injected.to_string()),
        };
        match spawned {
            Ok(cell) => {
                census.lives(&actor.path(), cell);
                census.ready(&actor.path(), false);
            }
            Err(error) => state.exited(&myself, actor, ExitReason::InitFailed(error)),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMsg>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, said) = match event {
            SupervisionEvent::ActorTerminated(cell, _, said) => (cell, said.unwrap_or_default()),
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            _ => return Ok(()),
        };
        let shared = &state.shared;
        let known = ControlActor::IN_ORDER.into_iter().find(|actor| shared.census.is(&actor.path(), cell.get_id()));
        if let Some(actor) = known
            && !shared.is_stopping()
        {
            state.exited(&myself, actor, ExitReason::Killed(said));
        }
        Ok(())
    }
}

impl RootState {
    fn exited(&self, myself: &ActorRef<RootMsg>, actor: ControlActor, reason: ExitReason) {
        let shared = &self.shared;
        match shared.census.exited(&actor.path(), &Exit::because(reason), shared.circumstances(0)) {
            Next::Start(_) | Next::Probe(_) => {
                let _ = myself.cast(RootMsg::Start(actor));
            }
            Next::Escalate => shared.escalate(),
            Next::Stop => {}
        }
    }
}
