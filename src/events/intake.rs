//! Where events wait for the bus: one bounded queue, with more room for what matters more.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::class::ClassLimits;
use super::event::Event;

/// The queue. Whoever offers never waits.
#[derive(Debug)]
pub struct Intake {
    /// Boxed, as the queue's places are all there from the start.
    sender: Sender<Box<Event>>,
    receiver: Receiver<Box<Event>>,
    /// Never less than what is in the queue, so that a place that was found free is free.
    waiting: AtomicUsize,
    limits: ClassLimits,
    accepted: [AtomicU64; 3],
    shed: [AtomicU64; 3],
}

/// What became of the events offered, by class, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Taken on.
    pub accepted: [u64; 3],
    /// Refused, as too many waited.
    pub shed: [u64; 3],
}

impl Intake {
    /// A queue for `capacity` events; `watermark` as [`ClassLimits::new`] has it.
    pub fn new(capacity: usize, watermark: f64) -> Self {
        let (sender, receiver) = bounded(capacity);
        Self {
            sender,
            receiver,
            waiting: AtomicUsize::new(0),
            limits: ClassLimits::new(capacity, watermark),
            accepted: Default::default(),
            shed: Default::default(),
        }
    }

    /// Takes `event` on, or counts it as shed; says which.
    pub fn offer(&self, event: Event) -> bool {
        let class = event.class as usize;
        let limit = self.limits.of(event.class);
        let room = |waiting: usize| (waiting < limit).then_some(waiting + 1);
        let taken = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
            && self.sender.try_send(Box::new(event)).is_ok();
        let counter = if taken { &self.accepted } else { &self.shed };
        counter[class].fetch_add(1, Ordering::Relaxed);
        taken
    }

    /// At most `most` of those that wait, in order.
    pub fn take(&self, most: usize) -> Vec<Event> {
        let events: Vec<Event> = self.receiver.try_iter().take(most).map(|event| *event).collect();
        self.waiting.fetch_sub(events.len(), Ordering::Relaxed);
        events
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// What became of all so far.
    pub fn counts(&self) -> Counts {
        let read = |counters: &[AtomicU64; 3]| [0, 1, 2].map(|class| counters[class].load(Ordering::Relaxed));
        Counts { accepted: read(&self.accepted), shed: read(&self.shed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Class;

    fn event(class: Class) -> Event {
        Event::new("k", "s".into(), class)
    }

    #[test]
    fn a_million_events_at_five_times_what_is_taken_lose_no_critical_one_and_each_is_counted() {
        const EVENTS: usize = 1_000_000;
        let intake = Intake::new(4096, 0.75);
        let (mut offered, mut taken) = ([0_u64; 3], [0_u64; 3]);
        let count = |events: Vec<Event>, into: &mut [u64; 3]| {
            let number = events.len();
            events.iter().for_each(|event| into[event.class as usize] += 1);
            number
        };
        for number in 0..EVENTS {
            let class = match number % 10 {
                0 => Class::Critical,
                1..4 => Class::Normal,
                _ => Class::Low,
            };
            offered[class as usize] += 1;
            intake.offer(event(class));
            if number % 320 == 319 {
                count(intake.take(64), &mut taken);
            }
        }
        while count(intake.take(64), &mut taken) > 0 {}
        let Counts { accepted, shed } = intake.counts();
        assert_eq!(taken, accepted, "what was accepted came out");
        let both = [0, 1, 2].map(|class| accepted[class] + shed[class]);
        assert_eq!(both, offered, "and the rest was counted");
        assert_eq!(shed[Class::Critical as usize], 0);
        assert!(shed[Class::Low as usize] > shed[Class::Normal as usize] && shed[Class::Normal as usize] > 0);
        assert!(taken.iter().sum::<u64>() < EVENTS as u64 / 4, "{taken:?}");
    }

    #[test]
    fn publishers_that_race_lose_no_critical_event_while_there_is_room_and_no_count() {
        const EACH: usize = 50_000;
        let intake = Intake::new(1024, 0.9);
        let taken = std::thread::scope(|scope| {
            let publishers = [Class::Low, Class::Normal, Class::Low, Class::Normal].map(|class| {
                let intake = &intake;
                scope.spawn(move || (0..EACH).for_each(|_| _ = intake.offer(event(class))))
            });
            let mut taken = 0;
            // Critical ones never fill the room that is theirs, as their publisher is the one who takes.
            while !publishers.iter().all(|publisher| publisher.is_finished()) || !intake.is_empty() {
                assert!(intake.offer(event(Class::Critical)), "the others never fill the queue");
                taken += intake.take(7).len();
            }
            taken
        });
        let Counts { accepted, shed } = intake.counts();
        assert_eq!(accepted.iter().sum::<u64>(), taken as u64);
        assert_eq!([accepted[0] + shed[0], accepted[1] + shed[1]], [2 * EACH as u64; 2]);
        assert_eq!(shed[2], 0);
    }
}
