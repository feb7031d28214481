//! Whether a queue is standing: every call in it waits for long, and goes on doing so. A pure core that takes the time as
//! an argument; after CoDel (Nichols and Jacobson, RFC 8289), for callers that do not slow down when calls are refused.
//!
//! A burst makes a queue long, and then it is served: that is what queues are for. A queue that stays long serves
//! nobody; it only makes everybody wait. The two are told apart by how long calls have waited when they are taken out:
//!
//! ```text
//!          every call has waited > target,            … > 2 × target, for 8 intervals,
//!          for an interval                            and newcomers are turned away
//!  flowing ──────────────────────────────► standing ─────────────────────────────────► clearing
//!     ▲                                       │ ▲                                          │
//!     └───────── the queue ran empty ─────────┘ └───── a call has waited ≤ 2 × target ─────┘
//! ```
//!
//! While it is *standing*, a newcomer who would have to wait longer than the target is refused at once, which costs
//! nobody any time; those who wait are served. Only when that does not help within two or three seconds, because the tool
//! has become slower than what was let in, are those refused too who have waited for more than twice the target,
//! as soon as it is their turn. Calls that came together, with nobody turned away behind them, are never refused.

use std::time::{Duration, Instant};

use crate::config::CodelPolicy;

/// Intervals after which those who wait are refused: a full lane of calls of a millisecond is served by then.
const PATIENCE: u32 = 8;

/// Calls of the mean length that may wait in front of one, however long that takes: somebody who makes a few slow calls
/// at once is no overload.
const CALLS: u32 = 16;

impl CodelPolicy {
    /// This policy for a tool whose calls take `service` and have `workers` to serve them.
    pub fn for_service(self, service: Duration, workers: usize) -> Self {
        let few_calls = service * CALLS / workers.max(1) as u32;
        Self { target: self.target.max(few_calls), ..self }
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Codel {
    /// Since when every call has waited longer than the target.
    long: Option<Instant>,
    /// Since when every call has waited longer than twice the target.
    far: Option<Instant>,
    standing: bool,
    /// A newcomer was refused.
    turned_away: bool,
}

impl Codel {
    /// A call is taken out that has waited for so long. Whether it is to be served.
    pub fn taken(&mut self, now: Instant, waited: Duration, policy: CodelPolicy) -> bool {
        let since = |before: Option<Instant>, is_so: bool| is_so.then(|| before.unwrap_or(now));
        self.long = since(self.long, waited > policy.target);
        self.far = since(self.far, waited > policy.target * 2);
        let lasts =
            |since: Option<Instant>, time| since.is_some_and(|since| now.saturating_duration_since(since) >= time);
        self.standing |= lasts(self.long, policy.interval);
        !(self.standing && self.turned_away && lasts(self.far, policy.interval * PATIENCE))
    }

    /// A call wants to join the queue, and would have to wait for about so long. Whether it may.
    pub fn lets_in(&mut self, would_wait: Duration, policy: CodelPolicy) -> bool {
        let refused = self.standing && would_wait > policy.target;
        self.turned_away |= refused;
        !refused
    }

    /// Whether newcomers may be refused.
    pub fn is_standing(&self) -> bool {
        self.standing
    }

    /// Nothing waits any more.
    pub fn ran_empty(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const POLICY: CodelPolicy =
        CodelPolicy { target: Duration::from_millis(100), interval: Duration::from_millis(300) };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A queue of at most a thousand with one worker, stepped by the tenth of a millisecond.
    struct Queue {
        codel: Codel,
        start: Instant,
        now: u64,
        waiting: VecDeque<u64>,
        busy_until: u64,
        service: u64,
        served: Vec<u64>,
        at_the_door: usize,
        after_waiting: usize,
    }

    impl Queue {
        fn new(service: u64) -> Self {
            Self {
                codel: Codel::default(),
                start: Instant::now(),
                now: 0,
                waiting: VecDeque::new(),
                busy_until: 0,
                service,
                served: Vec::new(),
                at_the_door: 0,
                after_waiting: 0,
            }
        }

        fn time(tenths: u64) -> Duration {
            Duration::from_micros(100 * tenths)
        }

        fn arrive(&mut self) {
            let policy = POLICY.for_service(Self::time(self.service), 1);
            if self.waiting.len() == 1000
                || !self.codel.lets_in(Self::time(self.service * self.waiting.len() as u64), policy)
            {
                self.at_the_door += 1;
            } else {
                self.waiting.push_back(self.now);
            }
        }

        fn step(&mut self) {
            self.now += 1;
            while self.now >= self.busy_until {
                let Some(came) = self.waiting.pop_front() else { return self.codel.ran_empty() };
                let waited = self.now - came;
                let policy = POLICY.for_service(Self::time(self.service), 1);
                if self.codel.taken(self.start + Self::time(self.now), Self::time(waited), policy) {
                    self.served.push(waited);
                    self.busy_until = self.now + self.service;
                } else {
                    self.after_waiting += 1;
                }
            }
        }

        /// One arrival every `every` steps, for so many steps.
        fn load(&mut self, every: u64, steps: u64) {
            for step in 0..steps {
                if step % every == 0 {
                    self.arrive();
                }
                self.step();
            }
        }
    }

    #[test]
    fn a_burst_is_served_whole_however_long_it_takes() {
        let mut queue = Queue::new(100);
        (0..1000).for_each(|_| queue.arrive());
        queue.load(u64::MAX, 110_000);
        // The arrival of `load` itself found the queue full.
        assert_eq!((queue.served.len(), queue.after_waiting, queue.at_the_door), (1000, 0, 1));
    }

    #[test]
    fn an_overload_is_refused_at_the_door_and_goodput_stays() {
        for every in [5, 2] {
            let mut queue = Queue::new(10);
            queue.load(every, 50_000);
            assert!(queue.served.len() >= 4_990, "{}", queue.served.len());
            assert_eq!(queue.after_waiting, 0);
            let last = &queue.served[2_500..];
            assert!(last.iter().all(|waited| *waited <= 1_100), "{:?}", last.iter().max());
        }
    }

    #[test]
    fn it_flows_again_as_soon_as_the_overload_is_over() {
        let mut queue = Queue::new(10);
        queue.load(2, 30_000);
        queue.load(20, 2_300);
        let (served, refused) = (queue.served.len(), queue.at_the_door);
        queue.load(20, 20_000);
        assert_eq!(queue.at_the_door, refused);
        assert!(!queue.codel.is_standing() && queue.served[served..].iter().all(|waited| *waited <= 10));
    }

    #[test]
    fn a_tool_that_becomes_slow_does_not_keep_a_thousand_waiting() {
        let mut queue = Queue::new(1);
        (0..1000).for_each(|_| queue.arrive());
        queue.service = 80;
        queue.load(25, 60_000);
        assert!(queue.after_waiting > 500, "{}", queue.after_waiting);
        let last = queue.served.iter().rev().take(200);
        assert!(last.clone().all(|waited| *waited <= 1_500), "{:?}", last.max());
    }

    #[test]
    fn a_stall_of_the_machine_refuses_nobody() {
        let mut queue = Queue::new(10);
        queue.load(20, 5_000);
        queue.busy_until = queue.now + 3_000;
        queue.load(20, 20_000);
        assert_eq!((queue.at_the_door, queue.after_waiting), (0, 0));
    }

    #[test]
    fn a_few_slow_calls_at_once_are_no_overload() {
        let policy = POLICY.for_service(Duration::from_secs(1), 1);
        let (mut codel, start) = (Codel::default(), Instant::now());
        for waited in (0..8).map(Duration::from_secs).chain((0..8).map(|_| Duration::from_secs(15))) {
            assert!(codel.taken(start + waited * 3, waited, policy));
        }
        assert!(!codel.is_standing());
    }

    proptest! {
        /// Against the definition, over the whole history of a queue that never runs empty.
        #[test]
        fn it_stands_iff_every_call_of_an_interval_waited_long(
            calls in proptest::collection::vec((0_u64..80, 0_u64..400), 1..200),
        ) {
            let (mut codel, start) = (Codel::default(), Instant::now());
            let (mut now, mut seen, mut stood) = (0, Vec::new(), false);
            for (step, waited) in calls {
                now += step;
                seen.push((now, waited));
                let short = seen.iter().rposition(|(_, waited)| *waited <= 100);
                let first_long = seen[short.map_or(0, |at| at + 1)..].first();
                stood |= first_long.is_some_and(|(since, _)| now - since >= 300);
                prop_assert!(codel.taken(start + ms(now), ms(waited), POLICY), "nobody was turned away");
                prop_assert_eq!(codel.is_standing(), stood);
                prop_assert_eq!(!codel.is_standing() || codel.lets_in(ms(100), POLICY), true);
            }
        }
    }
}
