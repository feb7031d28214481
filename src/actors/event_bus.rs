//! The event bus: tells subscribers what happens, without ever making anyone wait.
//!
//! ractor mailboxes are unbounded, so the handle counts what is on its way and drops past [`MAILBOX`]; a subscriber
//! whose own queue is full loses events too. Both losses are counted. Nothing may depend on seeing every event: the
//! supervision log has its own way out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;

use super::message::Event;
use crate::failpoint::points;

/// Events on their way to the actor.
pub const MAILBOX: usize = 1024;

/// The handle; cheap to clone. It outlives the actor: while that is being replaced, events are dropped and counted.
#[derive(Clone, Default)]
pub struct EventBus {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    actor: RwLock<Option<ActorRef<Event>>>,
    /// Kept here and not in the actor, so that a restarted bus still knows them.
    subscribers: Mutex<Vec<mpsc::Sender<Event>>>,
    in_flight: AtomicUsize,
    dropped: AtomicU64,
}

impl EventBus {
    /// Publishes, or drops and counts.
    pub fn publish(&self, event: Event) {
        if points::UNWATCHED.hit().is_err() {
            return;
        }
        let inner = &self.inner;
        if inner.in_flight.fetch_add(1, Ordering::Relaxed) < MAILBOX
            && let Some(actor) = &*inner.actor.read()
            && actor.cast(event).is_ok()
        {
            return;
        }
        inner.in_flight.fetch_sub(1, Ordering::Relaxed);
        inner.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Events from now on, with room for `capacity` of them.
    pub fn subscribe(&self, capacity: usize) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(capacity);
        self.inner.subscribers.lock().push(sender);
        receiver
    }

    /// Events dropped so far, by the bus or for a slow subscriber.
    pub fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed)
    }

    fn fan_out(&self, event: &Event) {
        self.inner.subscribers.lock().retain(|subscriber| match subscriber.try_send(event.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.inner.dropped.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
    }
}

/// The actor behind the handle.
pub struct EventBusActor;

impl Actor for EventBusActor {
    type Msg = Event;
    type State = EventBus;
    type Arguments = EventBus;

    async fn pre_start(&self, myself: ActorRef<Event>, bus: EventBus) -> Result<EventBus, ActorProcessingErr> {
        // What was on its way to a predecessor is lost with its mailbox.
        let lost = bus.inner.in_flight.swap(0, Ordering::Relaxed) as u64;
        bus.inner.dropped.fetch_add(lost, Ordering::Relaxed);
        *bus.inner.actor.write() = Some(myself);
        Ok(bus)
    }

    async fn handle(&self, _: ActorRef<Event>, event: Event, bus: &mut EventBus) -> Result<(), ActorProcessingErr> {
        points::BUS_HANDLE.hit()?;
        // A predecessor's count may have been reset to 0 under a late decrement.
        let _ = bus.inner.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        bus.fan_out(&event);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasi::error::FaultCode;

    fn event() -> Event {
        Event::CallFaulted { tool: "t".into(), code: FaultCode::ToolTrapped }
    }

    #[tokio::test]
    async fn a_slow_subscriber_loses_events_and_nobody_waits() {
        let bus = EventBus::default();
        let (actor, joined) = Actor::spawn(None, EventBusActor, bus.clone()).await.unwrap();
        let mut slow = bus.subscribe(2);
        for _ in 0..5 {
            bus.publish(event());
        }
        actor.drain().unwrap();
        joined.await.unwrap();
        assert!(slow.recv().await.is_some() && slow.recv().await.is_some());
        assert_eq!(bus.dropped(), 3);
    }

    #[test]
    fn without_an_actor_events_are_counted_as_dropped() {
        let bus = EventBus::default();
        bus.publish(event());
        assert_eq!(bus.dropped(), 1);
    }
}
