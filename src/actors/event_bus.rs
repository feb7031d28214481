//! The event bus: tells subscribers what happens, without ever making anyone wait.
//!
//! Publishers put events into one bounded queue; when that fills, the lesser classes are shed first, and counted. The
//! actor takes them out a batch at a time and gives them to the subscribers, each with a bounded queue of its own. It is
//! woken once for all that wait, as ractor's mailboxes are unbounded. While it is being replaced, events wait for its
//! successor. Nothing may depend on seeing every event: the supervision log has its own way out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use chrono::Utc;
use parking_lot::{Mutex, RwLock};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::config::{Performance, defaults};
use crate::events::{Class, Counts, Event, Hub, Intake, Subscription};
use crate::failpoint::points;

/// Events that may wait for the actor: 8 ms of half a million a second.
pub const WAITING: usize = 4096;

/// The handle; cheap to clone. It outlives the actor.
#[derive(Clone)]
pub struct EventBus {
    inner: Arc<Inner>,
}

struct Inner {
    intake: Intake,
    /// Kept here and not in the actor, so that a restarted bus still knows its subscribers.
    hub: Mutex<Hub>,
    actor: RwLock<Option<ActorRef<Wake>>>,
    /// The actor is told already, or will look when it starts.
    woken: AtomicBool,
    /// The least class that anybody wants, as a number.
    wanted: AtomicU8,
    published: AtomicU64,
    batch: usize,
}

/// Something waits in the queue.
pub struct Wake;

impl EventBus {
    /// A bus that hands on `batch` events at a time and sheds those of class normal when it is full to `watermark`.
    pub fn new(batch: usize, watermark: f64) -> Self {
        let inner = Inner {
            intake: Intake::new(WAITING, watermark),
            hub: Mutex::new(Hub::new(watermark)),
            actor: RwLock::default(),
            // Until there is an actor, nobody needs to be told.
            woken: AtomicBool::new(true),
            wanted: AtomicU8::new(Class::Critical as u8),
            published: AtomicU64::new(0),
            batch,
        };
        Self { inner: Arc::new(inner) }
    }

    /// As the configuration says.
    pub fn configured(performance: &Performance) -> Self {
        Self::new(performance.batch_size, performance.queue_watermark)
    }

    /// Whether events of `class` go anywhere: ask before you make one. Critical ones always do.
    #[inline]
    pub fn wants(&self, class: Class) -> bool {
        class as u8 >= self.inner.wanted.load(Ordering::Relaxed)
    }

    /// Publishes, unless nobody wants it, or sheds and counts. Returns the event's id, for those that follow from it.
    pub fn publish(&self, mut event: Event) -> Option<u64> {
        let inner = &self.inner;
        if !self.wants(event.class) || points::UNWATCHED.hit().is_err() {
            return None;
        }
        let id = self.next_id();
        event.id = id;
        event.at_us = Utc::now().timestamp_micros();
        if !inner.intake.offer(event) {
            return None;
        }
        // After the event is in the queue: the actor takes the flag back before it looks.
        if !inner.woken.swap(true, Ordering::AcqRel)
            && let Some(actor) = &*inner.actor.read()
        {
            // One that has died meanwhile is being replaced, and its successor looks.
            let _ = actor.cast(Wake);
        }
        Some(id)
    }

    /// Events of the class `wants` and above, with room for `capacity` batches: from `offset` on, as far as those are
    /// still known, or from now on.
    pub fn subscribe(&self, wants: Class, capacity: usize, offset: Option<u64>) -> Subscription {
        let mut hub = self.inner.hub.lock();
        let subscription = hub.subscribe(wants, capacity, offset);
        self.note_wanted(&hub);
        subscription
    }

    /// What became of the events so far.
    pub fn counts(&self) -> Counts {
        self.inner.intake.counts()
    }

    /// Hands on what waits and ends every subscription. For the end of the server, when the actor is gone.
    pub fn close(&self) {
        while self.hand_on() {}
        let mut hub = self.inner.hub.lock();
        hub.close();
        self.note_wanted(&hub);
    }

    fn next_id(&self) -> u64 {
        self.inner.published.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn note_wanted(&self, hub: &Hub) {
        self.inner.wanted.store(hub.wanted().unwrap_or(Class::Critical) as u8, Ordering::Relaxed);
    }

    /// Hands one batch on; whether more waits.
    fn hand_on(&self) -> bool {
        // The lock first, so that batches of two who hand on are told in the order they were taken.
        let mut hub = self.inner.hub.lock();
        hub.take(self.inner.intake.take(self.inner.batch));
        let is_empty = self.inner.intake.is_empty();
        if is_empty {
            // Once there is room again: while there is none, it would be said with every batch.
            hub.say_shed(self.counts().shed, || self.next_id(), Utc::now().timestamp_micros());
        }
        self.note_wanted(&hub);
        !is_empty
    }
}

impl Default for EventBus {
    fn default() -> Self {
        Self::new(defaults::BATCH_SIZE, defaults::QUEUE_WATERMARK)
    }
}

/// The actor behind the handle.
pub struct EventBusActor;

impl Actor for EventBusActor {
    type Msg = Wake;
    type State = EventBus;
    type Arguments = EventBus;

    async fn pre_start(&self, myself: ActorRef<Wake>, bus: EventBus) -> Result<EventBus, ActorProcessingErr> {
        // Whatever its predecessor left, and what came since.
        myself.cast(Wake)?;
        *bus.inner.actor.write() = Some(myself);
        Ok(bus)
    }

    async fn handle(&self, myself: ActorRef<Wake>, Wake: Wake, bus: &mut EventBus) -> Result<(), ActorProcessingErr> {
        points::BUS_HANDLE.hit()?;
        bus.inner.woken.swap(false, Ordering::AcqRel);
        // One batch a message: whatever else the control plane has to do gets its turn.
        if bus.hand_on() && !bus.inner.woken.swap(true, Ordering::AcqRel) {
            myself.cast(Wake)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn event(class: Class) -> Event {
        Event::new("k", "s".into(), class)
    }

    fn told(subscription: &mut Subscription) -> Vec<u64> {
        let mut offsets = Vec::new();
        while let Ok(batch) = subscription.next(Some(Instant::now())) {
            offsets.extend(batch.iter().map(|event| event.offset));
        }
        offsets
    }

    #[test]
    fn what_nobody_wants_is_not_published() {
        let bus = EventBus::default();
        assert!(bus.wants(Class::Critical) && !bus.wants(Class::Normal));
        assert_eq!(bus.publish(event(Class::Normal)), None);
        let subscription = bus.subscribe(Class::Normal, 4, None);
        assert!(bus.wants(Class::Normal) && !bus.wants(Class::Low));
        assert!(bus.publish(event(Class::Normal)).is_some());
        drop(subscription);
        bus.close();
        assert!(!bus.wants(Class::Normal));
        assert_eq!(bus.counts().accepted, [0, 1, 0]);
    }

    #[test]
    fn what_was_shed_is_said_by_class_once_there_is_room() {
        let bus = EventBus::default();
        let mut subscription = bus.subscribe(Class::Low, WAITING, None);
        let offered = |class, events: usize| (0..events).filter(|_| bus.publish(event(class)).is_some()).count();
        let taken = [Class::Low, Class::Normal, Class::Critical].map(|class| offered(class, WAITING));
        bus.close();
        let batches = std::iter::from_fn(|| subscription.next(None).ok());
        let told: Vec<Event> = batches.flat_map(|batch| batch.to_vec()).collect();
        assert_eq!(told.len(), WAITING + 1, "the queue was full, and one event says what did not fit");
        let [low, normal, critical] = taken.map(|taken| WAITING - taken);
        let said = told.last().map(|event| (event.kind, event.class, event.data.to_string()));
        let counts = format!("{{\"low\":{low},\"normal\":{normal},\"critical\":{critical}}}");
        assert_eq!(said, Some(("events_shed", Class::Critical, counts)));
        assert_eq!((bus.counts().shed, subscription.lost()), ([low, normal, critical].map(|shed| shed as u64), 0));
    }

    #[tokio::test]
    async fn events_wait_for_the_successor_of_a_bus_that_died() {
        let bus = EventBus::new(2, 0.9);
        let mut subscription = bus.subscribe(Class::Low, 16, None);
        let (actor, joined) = Actor::spawn(None, EventBusActor, bus.clone()).await.unwrap();
        actor.kill();
        joined.await.unwrap();
        let ids: Vec<_> = (0..5).map(|_| bus.publish(event(Class::Low))).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5].map(Some));
        let (_actor, _joined) = Actor::spawn(None, EventBusActor, bus.clone()).await.unwrap();
        let mut offsets = Vec::new();
        while offsets.len() < 5 {
            tokio::task::yield_now().await;
            offsets.extend(told(&mut subscription));
        }
        assert_eq!(offsets, [0, 1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn whoever_publishes_from_another_thread_wakes_the_actor() {
        const EVENTS: u64 = 20_000;
        let bus = EventBus::default();
        let mut subscription = bus.subscribe(Class::Critical, EVENTS as usize, None);
        let (_actor, _joined) = Actor::spawn(None, EventBusActor, bus.clone()).await.unwrap();
        let publisher = {
            let bus = bus.clone();
            let publish = move |_| while bus.publish(event(Class::Critical)).is_none() {};
            std::thread::Builder::new().spawn(move || (0..EVENTS).for_each(publish)).unwrap()
        };
        let (mut events, mut next_offset) = (0, 0);
        while events < EVENTS {
            tokio::task::yield_now().await;
            while let Ok(batch) = subscription.next(Some(Instant::now())) {
                for event in batch.iter() {
                    assert_eq!(event.offset, next_offset);
                    next_offset += 1;
                    // What was shed, and published again, is said in between.
                    events += u64::from(event.kind != "events_shed");
                }
            }
        }
        publisher.join().unwrap();
        assert_eq!((subscription.lost(), bus.counts().accepted), (0, [0, 0, EVENTS]));
    }
}
