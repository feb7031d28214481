//! Whether a tool takes calls: its circuit breaker and its quarantine. A pure core that takes the time as an argument.
//!
//! ```text
//!              > 50 % of ≥ 20 calls in 10 s fault               open for 1, 2, 4 … 30 s
//!   closed ─────────────────────────────────────────► open ─────────────────────► half-open: one trial call
//!     ▲ ▲                                               ▲                              │        │
//!     │ └───────────────────────────────────────────────┼── the trial call went well ──┘        │
//!     │                                                 └───────────── it faulted ──────────────┘
//!     │           no worker stands                     a worker is ready
//!   (any) ──────────────────────► quarantined ────────────────────────► half-open
//! ```
//!
//! The breaker is fed by calls (L1), quarantine by workers (L2, see [`super::restart`]); both come back through a single
//! trial call. Nygard, "Release It!"; Akka's `CircuitBreaker` has the same states.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::BreakerPolicy;

/// Parts of the breaker's window; a call counts for between 9 and 10 of them.
const BUCKETS: u32 = 10;

/// When a caller refused in the half-open state should come back: the trial call is under way.
const TRIAL_RETRY: Duration = Duration::from_millis(50);

/// How a call got in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Everybody does.
    Free,
    /// As the one trial call of this half-open time, which has this number.
    Trial(u64),
}

/// Why a call did not get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shut {
    /// Too many calls fault; retry after this.
    Open(Duration),
    /// No worker stands; retry after this.
    Quarantined(Duration),
    /// Its only worker has ended and is not to be replaced.
    Stopped,
}

/// What a call says about its tool's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It answered.
    Good,
    /// It faulted.
    Faulted,
    /// Nothing: it was cancelled, or never reached the guest.
    Unknown,
}

/// What changed, for the supervision log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The breaker opened for this long, over so many calls of which so many faulted.
    Opened {
        /// How long.
        open: Duration,
        /// Calls in the window.
        calls: usize,
        /// Those that faulted.
        faults: usize,
    },
    /// One trial call is let in.
    HalfOpened,
    /// Calls are let in.
    Closed,
    /// The trial call after a quarantine went well.
    Readmitted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    HalfOpen {
        /// The trial call is under way.
        busy: bool,
    },
    Quarantined {
        until: Instant,
    },
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaker {
    Closed,
    Open,
    HalfOpen,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Gate {
    policy: BreakerPolicy,
    state: State,
    window: Window,
    /// Times the breaker has opened without having been closed since.
    opens: u32,
    /// Where the breaker stands for those who read the changes: a quarantine does not change that.
    breaker: Breaker,
    /// Set from a quarantine until a call goes well.
    was_quarantined: bool,
    /// Numbers the half-open times, so that a trial call of an earlier one says nothing about this one.
    trials: u64,
}

impl Gate {
    /// A gate that is closed in the electrician's sense: calls flow.
    pub fn new(policy: BreakerPolicy) -> Self {
        let window = Window::new(policy.period);
        Self {
            policy,
            state: State::Closed,
            window,
            opens: 0,
            breaker: Breaker::Closed,
            was_quarantined: false,
            trials: 0,
        }
    }

    /// Whether calls flow freely.
    pub fn is_free(&self) -> bool {
        self.state == State::Closed
    }

    /// A call asks to be let in.
    ///
    /// # Errors
    /// Why it is not.
    pub fn admit(&mut self, now: Instant) -> Result<(Pass, Option<Change>), Shut> {
        match (self.state, self.shut(now)) {
            (State::Open { until }, _) if now >= until => {
                let change = self.half_open(true);
                Ok((Pass::Trial(self.trials), change))
            }
            (_, Some(shut)) => Err(shut),
            (State::HalfOpen { .. }, None) => {
                self.state = State::HalfOpen { busy: true };
                Ok((Pass::Trial(self.trials), None))
            }
            (_, None) => Ok((Pass::Free, None)),
        }
    }

    /// Why a call would not be let in now, if it would not.
    pub fn shut(&self, now: Instant) -> Option<Shut> {
        match self.state {
            State::Closed | State::HalfOpen { busy: false } => None,
            State::Open { until } => Some(Shut::Open(until.saturating_duration_since(now))),
            State::HalfOpen { busy: true } if self.was_quarantined => Some(Shut::Quarantined(TRIAL_RETRY)),
            State::HalfOpen { busy: true } => Some(Shut::Open(TRIAL_RETRY)),
            State::Quarantined { until } => Some(Shut::Quarantined(until.saturating_duration_since(now))),
            State::Stopped => Some(Shut::Stopped),
        }
    }

    /// A call that was let in has ended.
    pub fn ended(&mut self, now: Instant, pass: Pass, verdict: Verdict) -> Vec<Change> {
        match (pass, self.state) {
            (Pass::Free, State::Closed) => self.count(now, verdict).into_iter().collect(),
            (Pass::Trial(trial), State::HalfOpen { busy: true }) if trial == self.trials => self.tried(now, verdict),
            // It was let in before the state became what it is.
            _ => Vec::new(),
        }
    }

    /// No worker stands, and none is tried before `until`.
    pub fn quarantine(&mut self, until: Instant) {
        if self.state != State::Stopped {
            self.state = State::Quarantined { until };
            self.was_quarantined = true;
        }
    }

    /// A worker is ready.
    pub fn worker_ready(&mut self) -> Option<Change> {
        if matches!(self.state, State::Quarantined { .. }) { self.half_open(false) } else { None }
    }

    /// No worker will stand any more.
    pub fn stop(&mut self) {
        self.state = State::Stopped;
    }

    fn half_open(&mut self, busy: bool) -> Option<Change> {
        self.trials += 1;
        self.state = State::HalfOpen { busy };
        let was_open = self.breaker == Breaker::Open;
        was_open.then(|| {
            self.breaker = Breaker::HalfOpen;
            Change::HalfOpened
        })
    }

    fn count(&mut self, now: Instant, verdict: Verdict) -> Option<Change> {
        if verdict == Verdict::Unknown || self.policy.calls == 0 {
            return None;
        }
        let (calls, faults) = self.window.count(now, verdict == Verdict::Faulted);
        let too_many = calls >= self.policy.calls && faults as u64 * 100 > self.policy.fault_pct * calls as u64;
        too_many.then(|| self.open(now, calls, faults))
    }

    fn tried(&mut self, now: Instant, verdict: Verdict) -> Vec<Change> {
        match verdict {
            Verdict::Unknown => {
                self.state = State::HalfOpen { busy: false };
                Vec::new()
            }
            Verdict::Faulted => vec![self.open(now, 1, 1)],
            Verdict::Good => {
                self.state = State::Closed;
                self.opens = 0;
                let before = std::mem::replace(&mut self.breaker, Breaker::Closed);
                let closed = (before != Breaker::Closed).then_some(Change::Closed);
                let readmitted = std::mem::take(&mut self.was_quarantined).then_some(Change::Readmitted);
                closed.into_iter().chain(readmitted).collect()
            }
        }
    }

    fn open(&mut self, now: Instant, calls: usize, faults: usize) -> Change {
        let open = super::restart::doubled(self.policy.open, self.opens, self.policy.open_cap);
        self.opens = self.opens.saturating_add(1);
        self.window.clear();
        self.breaker = Breaker::Open;
        self.state = State::Open { until: now + open };
        Change::Opened { open, calls, faults }
    }
}

/// Calls and faults of the last period, in buckets.
#[derive(Debug)]
struct Window {
    bucket: Duration,
    /// Begin, calls and faults of each bucket, oldest first.
    buckets: VecDeque<(Instant, usize, usize)>,
}

impl Window {
    fn new(period: Duration) -> Self {
        Self { bucket: period / BUCKETS, buckets: VecDeque::new() }
    }

    /// Counts a call; returns the calls and faults of the period that ends with it.
    fn count(&mut self, now: Instant, faulted: bool) -> (usize, usize) {
        let since = |begin: Instant| now.saturating_duration_since(begin);
        let period = self.bucket * BUCKETS;
        while self.buckets.front().is_some_and(|(begin, ..)| since(*begin) >= period) {
            self.buckets.pop_front();
        }
        match self.buckets.back_mut() {
            Some((begin, calls, faults)) if since(*begin) < self.bucket => {
                *calls += 1;
                *faults += usize::from(faulted);
            }
            _ => self.buckets.push_back((now, 1, usize::from(faulted))),
        }
        self.buckets.iter().fold((0, 0), |(calls, faults), (_, more, bad)| (calls + more, faults + bad))
    }

    fn clear(&mut self) {
        self.buckets.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> BreakerPolicy {
        BreakerPolicy::default()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Lets a call in and ends it; `None` when it is not let in.
    fn call(gate: &mut Gate, now: Instant, verdict: Verdict) -> Option<Vec<Change>> {
        let (pass, change) = gate.admit(now).ok()?;
        Some(change.into_iter().chain(gate.ended(now, pass, verdict)).collect())
    }

    #[test]
    fn a_tool_that_faults_more_than_half_the_time_is_left_alone_for_longer_and_longer() {
        let (mut gate, start) = (Gate::new(policy()), Instant::now());
        for _ in 0..19 {
            assert_eq!(call(&mut gate, start, Verdict::Faulted), Some(vec![]));
        }
        let opened = |open, calls| Change::Opened { open: ms(open), calls, faults: calls };
        assert_eq!(call(&mut gate, start, Verdict::Faulted), Some(vec![opened(1000, 20)]));
        assert_eq!(gate.admit(start + ms(400)), Err(Shut::Open(ms(600))));
        let mut now = start;
        for open in [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            now += ms(open);
            let next = opened((open * 2).min(30_000), 1);
            assert_eq!(call(&mut gate, now, Verdict::Faulted), Some(vec![Change::HalfOpened, next]));
        }
        now += ms(30_000);
        assert_eq!(call(&mut gate, now, Verdict::Good), Some(vec![Change::HalfOpened, Change::Closed]));
        assert!(gate.is_free());
    }

    #[test]
    fn half_open_lets_one_call_through_at_a_time() {
        let (mut gate, start) = (Gate::new(policy()), Instant::now());
        gate.quarantine(start + ms(500));
        assert_eq!(gate.admit(start), Err(Shut::Quarantined(ms(500))));
        gate.worker_ready();
        let (trial, _) = gate.admit(start).unwrap();
        assert_eq!(gate.admit(start), Err(Shut::Quarantined(TRIAL_RETRY)));
        assert_eq!(gate.ended(start, trial, Verdict::Unknown), []);
        let (second, _) = gate.admit(start).unwrap();
        assert_eq!(gate.ended(start, second, Verdict::Good), [Change::Readmitted]);
        assert_eq!(gate.admit(start), Ok((Pass::Free, None)));
    }

    #[test]
    fn a_trial_of_an_earlier_time_says_nothing() {
        let (mut gate, start) = (Gate::new(policy()), Instant::now());
        gate.quarantine(start);
        gate.worker_ready();
        let (old, _) = gate.admit(start).unwrap();
        gate.quarantine(start);
        gate.worker_ready();
        let (new, _) = gate.admit(start).unwrap();
        assert_eq!(gate.ended(start, old, Verdict::Good), []);
        assert!(!gate.is_free());
        assert_eq!(gate.ended(start, new, Verdict::Good), [Change::Readmitted]);
    }

    #[test]
    fn half_of_the_calls_may_fault() {
        let (mut gate, start) = (Gate::new(policy()), Instant::now());
        for n in 0..10_000 {
            let verdict = if n % 2 == 0 { Verdict::Good } else { Verdict::Faulted };
            assert_eq!(call(&mut gate, start + ms(n), verdict), Some(vec![]));
        }
    }

    #[test]
    fn a_tool_that_is_stopped_stays_so() {
        let (mut gate, start) = (Gate::new(policy()), Instant::now());
        gate.stop();
        gate.quarantine(start);
        gate.worker_ready();
        assert_eq!(gate.admit(start), Err(Shut::Stopped));
    }

    /// The same rules as naively as possible: every call of the closed time is kept and searched.
    #[derive(Default)]
    struct Model {
        calls: Vec<(Duration, bool)>,
        open_until: Option<Duration>,
        opens: u32,
    }

    impl Model {
        /// Whether the call is let in, and whether the breaker is open after it.
        fn call(&mut self, now: Duration, faulted: bool) -> (bool, bool) {
            if let Some(until) = self.open_until {
                if now < until {
                    return (false, true);
                }
                // The trial call.
                return if faulted { (true, self.open(now)) } else { (true, self.close()) };
            }
            self.calls.push((now, faulted));
            // The window's buckets begin with the first call in each.
            let mut begins: Vec<Duration> = Vec::new();
            for (at, _) in &self.calls {
                if begins.last().is_none_or(|begin| *at - *begin >= ms(1000)) {
                    begins.push(*at);
                }
            }
            let oldest = begins.into_iter().find(|begin| now - *begin < ms(10_000)).unwrap_or(now);
            let recent: Vec<bool> = self.calls.iter().filter(|(at, _)| *at >= oldest).map(|call| call.1).collect();
            let faults = recent.iter().filter(|faulted| **faulted).count();
            if recent.len() >= 20 && faults * 2 > recent.len() { (true, self.open(now)) } else { (true, false) }
        }

        fn open(&mut self, now: Duration) -> bool {
            let mut open = ms(1000);
            for _ in 0..self.opens.min(10) {
                open = (open * 2).min(ms(30_000));
            }
            self.opens += 1;
            self.open_until = Some(now + open);
            self.calls.clear();
            true
        }

        fn close(&mut self) -> bool {
            *self = Self::default();
            false
        }
    }

    proptest! {
        #[test]
        fn the_breaker_agrees_with_a_naive_model(
            calls in prop::collection::vec((0u64..900, prop::bool::weighted(0.55)), 1..400),
        ) {
            let (mut gate, mut model, start) = (Gate::new(policy()), Model::default(), Instant::now());
            let mut now = Duration::ZERO;
            for (gap, faulted) in calls {
                now += ms(gap);
                let verdict = if faulted { Verdict::Faulted } else { Verdict::Good };
                let let_in = call(&mut gate, start + now, verdict).is_some();
                prop_assert_eq!((let_in, !gate.is_free()), model.call(now, faulted));
            }
        }
    }
}
