//! The Context actor: the one writer of what a ContextFrame says by default.
//!
//! Readers take an `Arc` snapshot and never wait for the actor; a restart of it leaves the last snapshot standing.

use std::sync::Arc;

use parking_lot::RwLock;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::frame::FrameDefaults;

/// The readers' side; cheap to clone.
#[derive(Clone)]
pub struct Context {
    snapshot: Arc<RwLock<Arc<FrameDefaults>>>,
    /// Whether the context engine is on. Recorded; it acts from a later version on.
    pub engine_on: bool,
}

impl Context {
    /// A context with these defaults.
    pub fn new(defaults: FrameDefaults, engine_on: bool) -> Self {
        Self { snapshot: Arc::new(RwLock::new(Arc::new(defaults))), engine_on }
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
}

/// The actor.
pub struct ContextActor;

impl Actor for ContextActor {
    type Msg = ContextMsg;
    type State = Context;
    type Arguments = Context;

    async fn pre_start(&self, _: ActorRef<ContextMsg>, context: Context) -> Result<Context, ActorProcessingErr> {
        Ok(context)
    }

    async fn handle(
        &self,
        _: ActorRef<ContextMsg>,
        message: ContextMsg,
        context: &mut Context,
    ) -> Result<(), ActorProcessingErr> {
        let ContextMsg::Replace(defaults) = message;
        *context.snapshot.write() = Arc::new(defaults);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn readers_see_what_the_actor_wrote_even_after_its_death() {
        let context = Context::new(FrameDefaults::built_in(), false);
        let (actor, joined) = Actor::spawn(None, ContextActor, context.clone()).await.unwrap();
        let strict = FrameDefaults::from_map(json!({"flags": {"read_only": true}}).as_object().unwrap()).unwrap();
        actor.cast(ContextMsg::Replace(strict)).unwrap();
        actor.drain().unwrap();
        joined.await.unwrap();
        assert!(context.defaults().frame(None).unwrap().read_only);
    }
}
