//! Wakes tools: tells their supervisor that one was called for the first time.
//!
//! It outlives the supervisor. Rule: a tool is marked as awake before the supervisor is told, and a supervisor enters
//! itself before it looks who is awake; so nobody is missed while one replaces another.

use parking_lot::Mutex;
use ractor::ActorRef;

use super::message::ToolsSupervisorMsg;

/// See the module documentation.
#[derive(Default)]
pub struct AlarmClock {
    supervisor: Mutex<Option<ActorRef<ToolsSupervisorMsg>>>,
}

impl AlarmClock {
    /// From now on `supervisor` is told; it has yet to look who is awake already.
    pub fn set(&self, supervisor: ActorRef<ToolsSupervisorMsg>) {
        *self.supervisor.lock() = Some(supervisor);
    }

    /// The tool of this published name, which is marked as awake, was called for the first time.
    pub fn ring(&self, published: &str) {
        if let Some(supervisor) = &*self.supervisor.lock() {
            // One that is gone is being replaced, and its successor looks who is awake.
            let _ = supervisor.cast(ToolsSupervisorMsg::Wake(published.to_owned()));
        }
    }
}
