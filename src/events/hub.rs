//! Numbers what the intake held and gives it to the subscribers; knows the last events, and which were told already.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::class::{Class, ClassLimits};
use super::dedupe::Dedupe;
use super::ring::Ring;
use super::{Batch, Event};

/// Events that are kept for whoever comes late.
pub const KEPT: usize = 4096;

/// Correlation ids that are remembered, and for how long. Retries come within seconds.
const CORRELATIONS: usize = 4096;
const CORRELATED: Duration = Duration::from_secs(60);

/// See the module documentation.
#[derive(Debug)]
pub struct Hub {
    next_offset: u64,
    dedupe: Dedupe,
    repeats: u64,
    /// The counts that were said last.
    shed: [u64; 3],
    ring: Ring,
    subscribers: Vec<Subscriber>,
    watermark: f64,
}

/// The hub's end of a subscription.
#[derive(Debug)]
struct Subscriber {
    queue: Sender<Batch>,
    wants: Class,
    limits: ClassLimits,
    lost: Arc<AtomicU64>,
}

/// Events from a moment on; those that find the queue full are lost to this subscriber alone, and counted.
#[derive(Debug)]
pub struct Subscription {
    /// Came before the subscription, and is told first.
    replay: VecDeque<Batch>,
    queue: Receiver<Batch>,
    lost: Arc<AtomicU64>,
    /// Nothing before this offset will be told, nor is it known any more.
    pub begins_at: u64,
}

impl Subscription {
    /// The next batch.
    ///
    /// # Errors
    /// When there is none before `until`, or there will be none any more. Without a time, it is waited for.
    pub fn next(&mut self, until: Option<Instant>) -> Result<Batch, RecvTimeoutError> {
        match (self.replay.pop_front(), until) {
            (Some(batch), _) => Ok(batch),
            (None, Some(until)) => self.queue.recv_deadline(until),
            (None, None) => self.queue.recv().map_err(RecvTimeoutError::from),
        }
    }

    /// How many events were lost, as too many waited to be taken.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Hub {
    /// A hub without subscribers; `watermark` says how full their queues may be, as [`ClassLimits::new`] has it.
    pub fn new(watermark: f64) -> Self {
        Self {
            next_offset: 0,
            dedupe: Dedupe::new(CORRELATIONS, CORRELATED),
            repeats: 0,
            shed: [0; 3],
            ring: Ring::new(KEPT),
            subscribers: Vec::new(),
            watermark,
        }
    }

    /// Takes the next events of the queue on.
    pub fn take(&mut self, mut events: Vec<Event>) {
        events.retain_mut(|event| {
            let Event { stream, correlation_id, .. } = &event;
            if let Some(id) = correlation_id
                && !self.dedupe.is_new((Arc::clone(stream), event.kind, Arc::clone(id)), event.at_us)
            {
                self.repeats += 1;
                return false;
            }
            event.offset = self.next_offset;
            self.next_offset += 1;
            true
        });
        if events.is_empty() {
            return;
        }
        let batch: Batch = events.into();
        self.subscribers.retain(|subscriber| subscriber.give(&batch));
        self.ring.push(batch);
    }

    /// Says how many events were shed since the beginning, by class, the least first; if more than were said before. The
    /// event gets the name `id`.
    pub fn say_shed(&mut self, shed: [u64; 3], id: impl FnOnce() -> u64, at_us: i64) {
        if std::mem::replace(&mut self.shed, shed) == shed {
            return;
        }
        let [low, normal, critical] = shed;
        let event = Event::new("events_shed", "root/event_bus".into(), Class::Critical)
            .with_data(format!("{{\"low\":{low},\"normal\":{normal},\"critical\":{critical}}}"));
        self.take(vec![Event { id: id(), at_us, ..event }]);
    }

    /// Tells events of the class `wants` and above, with room for `capacity` batches. From `offset` on, as far as those
    /// are still known; without one, from now on.
    pub fn subscribe(&mut self, wants: Class, capacity: usize, offset: Option<u64>) -> Subscription {
        let (sender, queue) = bounded(capacity);
        let lost = Arc::new(AtomicU64::new(0));
        let limits = ClassLimits::new(capacity, self.watermark);
        self.subscribers.push(Subscriber { queue: sender, wants, limits, lost: Arc::clone(&lost) });
        let from = offset.map_or(self.next_offset, |offset| offset.min(self.next_offset));
        let known: Batch = self.ring.since(from).filter(|event| event.class >= wants).cloned().collect();
        let replay = Some(known).filter(|known| !known.is_empty()).into_iter().collect();
        let oldest = self.ring.oldest().unwrap_or(self.next_offset);
        Subscription { replay, queue, lost, begins_at: from.max(oldest) }
    }

    /// The least class that anybody wants.
    pub fn wanted(&self) -> Option<Class> {
        self.subscribers.iter().map(|subscriber| subscriber.wants).min()
    }

    /// Events that were told before, and so were not told again.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Ends every subscription, once what waits in it is taken.
    pub fn close(&mut self) {
        self.subscribers.clear();
    }
}

impl Subscriber {
    /// Gives as much of `batch` as is wanted and there is room for; whether the subscription goes on.
    fn give(&self, batch: &Batch) -> bool {
        let waiting = self.queue.len();
        let wanted = |event: &Event| event.class >= self.wants;
        let fits = |event: &Event| wanted(event) && waiting < self.limits.of(event.class);
        let part: Batch = match batch.iter().all(fits) {
            true => Arc::clone(batch),
            false => batch.iter().filter(|event| fits(event)).cloned().collect(),
        };
        let given = part.len();
        let sent = if part.is_empty() { Ok(()) } else { self.queue.try_send(part) };
        let given = if sent.is_ok() { given } else { 0 };
        let lost = batch.iter().filter(|event| wanted(event)).count() - given;
        self.lost.fetch_add(lost as u64, Ordering::Relaxed);
        !matches!(sent, Err(TrySendError::Disconnected(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(class: Class) -> Event {
        Event::new("k", "s".into(), class)
    }

    fn about(id: &str, at_us: i64) -> Event {
        Event { correlation_id: Some(id.into()), at_us, ..event(Class::Low) }
    }

    fn told(subscription: &mut Subscription) -> Vec<u64> {
        let mut offsets = Vec::new();
        while let Ok(batch) = subscription.next(Some(Instant::now())) {
            offsets.extend(batch.iter().map(|event| event.offset));
        }
        offsets
    }

    #[test]
    fn a_repeat_gets_no_offset_and_is_counted() {
        let mut hub = Hub::new(0.9);
        let mut subscription = hub.subscribe(Class::Low, 16, None);
        hub.take(vec![about("a", 0), about("b", 1), about("a", 2), event(Class::Low), event(Class::Low)]);
        hub.take(vec![about("b", 3), about("a", 60_000_000)]);
        assert_eq!(told(&mut subscription), [0, 1, 2, 3, 4]);
        assert_eq!((hub.repeats(), subscription.lost()), (2, 0));
    }

    #[test]
    fn a_subscriber_gets_what_it_wants_and_a_slow_one_loses_for_itself() {
        let mut hub = Hub::new(0.75);
        let (mut quick, mut slow) = (hub.subscribe(Class::Normal, 16, None), hub.subscribe(Class::Low, 10, None));
        for _ in 0..20 {
            hub.take(vec![event(Class::Low), event(Class::Normal), event(Class::Critical)]);
            assert_eq!(quick.next(Some(Instant::now())).unwrap().len(), 2);
        }
        let batches: Vec<usize> =
            std::iter::from_fn(|| slow.next(Some(Instant::now())).ok()).map(|b| b.len()).collect();
        assert_eq!(batches, [3, 3, 3, 3, 3, 3, 2, 1, 1, 1], "the lesser ones are lost first");
        assert_eq!((slow.lost(), quick.lost()), (60 - 23, 0));
    }

    #[test]
    fn who_comes_late_is_told_from_an_offset_on_without_gap_or_repeat() {
        let mut hub = Hub::new(0.9);
        (0..10).for_each(|_| hub.take(vec![event(Class::Low), event(Class::Critical)]));
        let mut late = hub.subscribe(Class::Low, 16, Some(7));
        let mut later = hub.subscribe(Class::Critical, 16, Some(100));
        hub.take(vec![event(Class::Critical)]);
        assert_eq!(told(&mut late), (7..21).collect::<Vec<_>>());
        assert_eq!((told(&mut later), later.begins_at, late.begins_at), (vec![20], 20, 7));
        for _ in 0..KEPT / 64 {
            hub.take(vec![event(Class::Low); 64]);
        }
        let mut latest = hub.subscribe(Class::Low, 16, Some(7));
        assert_eq!(latest.begins_at, 21, "what is older is in the journal, if anywhere");
        assert_eq!(told(&mut latest).len(), KEPT);
    }

    #[test]
    fn who_went_away_is_forgotten() {
        let mut hub = Hub::new(0.9);
        let gone = hub.subscribe(Class::Low, 16, None);
        let mut stays = hub.subscribe(Class::Critical, 16, None);
        assert_eq!(hub.wanted(), Some(Class::Low));
        drop(gone);
        hub.take(vec![event(Class::Low)]);
        assert_eq!(hub.wanted(), Some(Class::Critical));
        hub.close();
        assert_eq!(stays.next(None), Err(RecvTimeoutError::Disconnected));
    }
}
