//! The root of the tree: event bus, context, and the supervisor of the tools.
//!
//! Each restarts alone and at once: publishers drop and count while the bus is away, readers keep the last snapshot
//! while the context is, and the tools' threads serve on while their supervisors are. Too many deaths end the process,
//! with everything in flight answered first.

use std::sync::Arc;
use std::time::Instant;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};

use super::child_spec::{Child, control_policy};
use super::context::ContextActor;
use super::event_bus::EventBusActor;
use super::message::{ControlActor, RootMsg};
use super::restart::Decision;
use super::shared::Shared;
use super::supervision_log::{Reason, Record};
use super::tools_supervisor::ToolsSupervisor;

/// The actor.
pub struct RootSupervisor;

/// What it knows about its three children.
pub struct RootState {
    shared: Arc<Shared>,
    children: [(ControlActor, Child); 3],
}

impl ControlActor {
    /// In the order they are started; the end goes the other way.
    const IN_ORDER: [Self; 3] = [Self::EventBus, Self::Context, Self::Tools];

    fn path(self) -> Arc<str> {
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
            myself.cast(RootMsg::Start(actor))?;
        }
        let children = ControlActor::IN_ORDER.map(|actor| (actor, Child::new(control_policy(&shared.times))));
        Ok(RootState { shared, children })
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMsg>,
        RootMsg::Start(actor): RootMsg,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match actor.spawn(&state.shared, myself.get_cell()).await {
            Ok(cell) => state.started(actor, &cell),
            Err(error) => state.exited(&myself, actor, &error.to_string()),
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
        let id = cell.get_id();
        let known = state.children.iter().find(|(_, child)| child.actor == Some(id)).map(|(actor, _)| *actor);
        if let Some(actor) = known
            && !state.shared.is_stopping()
        {
            state.exited(&myself, actor, &said);
        }
        Ok(())
    }
}

impl RootState {
    fn child(&mut self, actor: ControlActor) -> &mut Child {
        let (_, child) =
            self.children.iter_mut().find(|(known, _)| *known == actor).expect("all three are in the table");
        child
    }

    fn started(&mut self, actor: ControlActor, cell: &ActorCell) {
        self.shared.living.enter(actor.path(), cell.clone());
        let child = self.child(actor);
        child.actor = Some(cell.get_id());
        let downtime = child.on_ready(Instant::now());
        let incarnation = Some(child.incarnation);
        self.shared.log.record(Record {
            level: Some("L3"),
            incarnation,
            downtime_us: downtime.map(|downtime| downtime.as_micros() as u64),
            ..Record::new(if downtime.is_some() { "restart_ok" } else { "child_started" }, actor.path())
        });
    }

    fn exited(&mut self, myself: &ActorRef<RootMsg>, actor: ControlActor, said: &str) {
        let child = self.child(actor);
        let (decision, uptime, _) = child.on_exit(Instant::now());
        let incarnation = Some(child.incarnation);
        child.incarnation += 1;
        let record = |event| Record { level: Some("L3"), incarnation, ..Record::new(event, actor.path()) };
        self.shared.log.record(Record {
            reason: Some(Reason::new("killed", None, said)),
            uptime_ms: Some(uptime.as_millis() as u64),
            ..record("child_exited")
        });
        match decision {
            // At once, whatever the backoff says: while a control actor is away the tools go unwatched.
            Decision::Restart { .. } => {
                self.shared.log.record(record("restart_scheduled"));
                let _ = myself.cast(RootMsg::Start(actor));
            }
            Decision::Quarantine { .. } => {
                self.shared.log.record(record("escalated"));
                self.shared.escalate();
            }
        }
    }
}
