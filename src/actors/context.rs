//! The Context actor: the one writer of what a ContextFrame says by default, and the clock of the context engine.
//!
//! Readers take an `Arc` snapshot and never wait for the actor; a restart of it leaves the last snapshot standing.

use std::sync::Arc;

use parking_lot::RwLock;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::tuning::Tuning;
use crate::frame::FrameDefaults;

/// The readers' side; cheap to clone.
#[derive(Clone)]
pub struct Context {
    snapshot: Arc<RwLock<Arc<FrameDefaults>>>,
    /// The context engine, if it is on.
    tuning: Option<Arc<Tuning>>,
}

impl Context {
    /// A context with these defaults, and the context engine if it is on.
    pub fn new(defaults: FrameDefaults, tuning: Option<Arc<Tuning>>) -> Self {
        Self { snapshot: Arc::new(RwLock::new(Arc::new(defaults))), tuning }
    }

    /// The defaults at this moment.
    pub fn defaults(&self) -> Arc<FrameDefaults> {
        Arc::clone(&self.snapshot.read())
    }
}

/// To the Context actor.
#[derive(Debug)]
pub enum ContextMsg {
    /// From now on these are the defaults.
    Replace(FrameDefaults),
    /// The context engine's windows are over.
    WindowsOver,
}

/// The actor.
pub struct ContextActor;

impl Actor for ContextActor {
    type Msg = ContextMsg;
    type State = Context;
    type Arguments = Context;

    async fn pre_start(&self, myself: ActorRef<ContextMsg>, context: Context) -> Result<Context, ActorProcessingErr> {
        if let Some(tuning) = &context.tuning {
            tuning.start();
            end_windows_later(&myself, tuning);
        }
        Ok(context)
    }

    async fn handle(
        &self,
        myself: ActorRef<ContextMsg>,
        message: ContextMsg,
        context: &mut Context,
    ) -> Result<(), ActorProcessingErr> {
        match (message, &context.tuning) {
            (ContextMsg::Replace(defaults), _) => *context.snapshot.write() = Arc::new(defaults),
            (ContextMsg::WindowsOver, Some(tuning)) => {
                tuning.end_windows();
                end_windows_later(&myself, tuning);
            }
            (ContextMsg::WindowsOver, None) => {}
        }
        Ok(())
    }
}

fn end_windows_later(myself: &ActorRef<ContextMsg>, tuning: &Tuning) {
    drop(myself.send_after(tuning.settings().window, || ContextMsg::WindowsOver));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn readers_see_what_the_actor_wrote_even_after_its_death() {
        let context = Context::new(FrameDefaults::built_in(), None);
        let (actor, joined) = Actor::spawn(None, ContextActor, context.clone()).await.unwrap();
        let strict = FrameDefaults::from_map(json!({"flags": {"read_only": true}}).as_object().unwrap()).unwrap();
        actor.cast(ContextMsg::Replace(strict)).unwrap();
        actor.drain().unwrap();
        joined.await.unwrap();
        assert!(context.defaults().frame(None).unwrap().read_only);
    }
}
