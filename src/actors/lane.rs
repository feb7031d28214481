//! The bounded queue of one tool.
//!
//! It belongs to the tool, not to a worker: when a worker dies, the calls it had not taken wait for its successor. A
//! full lane gives the call back at once. A cancelled call that still waits does not hold its place: when the lane is
//! full and something was cancelled since the last look, such calls are swept out first.
//!
//! ```text
//!   senders ── try_send ──► mailbox ──┐ gathered by whoever looks
//!   (no lock, no wait)     (crossbeam)│
//!                                     └──► a queue for each tenant ── in turn ──► workers
//! ```
//!
//! Senders and workers meet in the mailbox only. What is in it is moved into a [`FairQueue`] by whoever has to see the
//! calls of each tenant: a worker that takes one, and a sender that finds the lane full or standing (see [`Codel`]).
//!
//! Rule: whoever takes out of the mailbox holds the lock of the queue. So within a tenant calls are taken in the order
//! in which they were sent. A worker that is about to sleep says so (`idle`) before it looks into the mailbox for the
//! last time, and a sender looks whether anybody is idle after it has put its call there: one of them sees the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

use super::bulkhead::Bulkhead;
use super::codel::Codel;
use super::fair_queue::{FairQueue, OfTenant};
use super::message::Call;
use crate::config::CodelPolicy;

/// What a lane is for.
#[derive(Debug, Clone)]
pub struct LaneSettings {
    /// Calls that may wait, at the moment.
    pub depth: Arc<AtomicUsize>,
    /// Calls that may ever wait: there is room for them.
    pub places: usize,
    /// Workers that take them.
    pub workers: usize,
    /// When those that wait are too many for their own good; `None` for never.
    pub codel: Option<CodelPolicy>,
    /// What all lanes together may hold.
    pub bulkhead: Arc<Bulkhead>,
    /// Counts what clients have cancelled, whichever tool it was for.
    pub cancellations: Arc<AtomicU64>,
}

/// A call that was not taken, with the reason.
#[derive(Debug)]
pub enum SendError {
    /// The lane is full.
    Full(Call),
    /// Calls of its tenant wait for too long already.
    Standing(Call),
    /// The tool takes no calls any more.
    Closed(Call),
}

/// What [`Lane::recv`] came back with.
#[derive(Debug)]
pub enum Received {
    /// The next call.
    Call(Call),
    /// The next call, which has waited for too long and is to be refused.
    Shed(Call),
    /// No call came in time.
    Nothing,
    /// The lane is closed and empty.
    Closed,
}

/// Times an idle worker looks again before it goes to sleep, for a call that is just being sent.
const LOOKS: usize = 16;

/// See the module documentation.
pub struct Lane {
    settings: LaneSettings,
    sender: Sender<Call>,
    receiver: Receiver<Call>,
    gathered: Mutex<FairQueue<Call>>,
    /// How fast a queue that does not run empty moves on.
    pace: Mutex<Pace>,
    /// Calls in the mailbox and in the queue.
    waiting: AtomicUsize,
    /// Some tenant's queue is standing: newcomers have to look closer.
    standing: AtomicBool,
    /// Workers that sleep, or are about to.
    idle: AtomicUsize,
    /// A call came while somebody was idle, or the lane was closed.
    arrived: Condvar,
    /// Held while a call is sent, so that none comes after the lane was closed.
    sending: RwLock<()>,
    closed: AtomicBool,
    /// `cancellations` when this lane was last swept.
    swept: AtomicU64,
    /// Moving average of the time a call takes.
    service_ns: AtomicU64,
}

/// Time between two calls taken out of a queue with more in it: what the worker does besides, and what the machine does
/// meanwhile, are in it, and it is the same however many workers there are.
#[derive(Default)]
struct Pace {
    /// When a call was taken that others waited behind.
    last: Option<Instant>,
    mean: Duration,
}

impl Pace {
    fn taken(&mut self, now: Instant, others_wait: bool) {
        if let Some(last) = self.last {
            let took = now.saturating_duration_since(last);
            self.mean = if self.mean.is_zero() { took } else { self.mean - self.mean / 16 + took / 16 };
        }
        self.last = others_wait.then_some(now);
    }
}

impl OfTenant for Call {
    fn tenant(&self) -> &Arc<str> {
        &self.request.frame.tenant_id
    }
}

impl Lane {
    /// An empty lane.
    pub fn new(settings: LaneSettings) -> Self {
        const FIRST_GUESS: Duration = Duration::from_micros(100);
        let (sender, receiver) = bounded(settings.places);
        Self {
            settings,
            sender,
            receiver,
            gathered: Mutex::default(),
            pace: Mutex::default(),
            waiting: AtomicUsize::new(0),
            standing: AtomicBool::new(false),
            idle: AtomicUsize::new(0),
            arrived: Condvar::new(),
            sending: RwLock::new(()),
            closed: AtomicBool::new(false),
            swept: AtomicU64::new(0),
            service_ns: AtomicU64::new(FIRST_GUESS.as_nanos() as u64),
        }
    }

    /// Puts `call` into the lane, or gives it back at once. When the lane is full of another tenant's calls, one of
    /// those makes way and is returned; it is to be refused as if it had found the lane full.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn try_send(&self, call: Call) -> Result<Option<Call>, SendError> {
        let _sending = self.sending.read();
        if self.closed.load(Ordering::SeqCst) {
            return Err(SendError::Closed(call));
        }
        if self.standing.load(Ordering::Relaxed) && !self.lets_in(call.tenant()) {
            return Err(SendError::Standing(call));
        }
        let mut evicted = None;
        let has_place = self.reserve() || self.sweep() > 0 && self.reserve();
        if !has_place {
            evicted = self.gather().evict_for(call.tenant());
            if evicted.is_none() {
                return Err(SendError::Full(call));
            }
        }
        // The mailbox has as many places as calls may wait, and a place was reserved.
        self.sender.try_send(call).map_err(|error| SendError::Full(error.into_inner()))?;
        if self.idle.load(Ordering::SeqCst) > 0 {
            // A worker that has said it is idle sleeps once it lets go of the lock.
            drop(self.gathered.lock());
            self.arrived.notify_one();
        }
        Ok(evicted)
    }

    /// Calls waiting.
    pub fn depth(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits for the next call, at most `patience`. `before_sleep` is called if there is none to be had at once.
    pub fn recv(&self, patience: Duration, before_sleep: impl FnOnce()) -> Received {
        for look in 0..=LOOKS {
            // The closing is seen before the last calls are, so that none is left behind; a sender may have gathered them.
            let closed = self.closed.load(Ordering::SeqCst);
            if (look == 0 || closed || !self.receiver.is_empty())
                && let Some(received) = self.take(&mut self.gathered.lock())
            {
                return received;
            }
            if closed {
                return Received::Closed;
            }
            std::hint::spin_loop();
        }
        before_sleep();
        self.sleep(patience)
    }

    /// Takes no more calls; workers end when they have taken what is there.
    pub fn close(&self) {
        let sending = self.sending.write();
        self.closed.store(true, Ordering::SeqCst);
        drop(sending);
        drop(self.gathered.lock());
        self.arrived.notify_all();
    }

    /// Removes every waiting call and hands it to `each`; used when nobody is left to take them.
    pub fn drain(&self, each: impl FnMut(Call)) {
        self.remove(|_| true).into_iter().for_each(each);
    }

    /// Notes how long a call took.
    pub fn note_service(&self, took: Duration) {
        let took = took.as_nanos().min(u128::from(u64::MAX)) as u64;
        let old = self.service_ns.load(Ordering::Relaxed);
        self.service_ns.store(old - old / 8 + took / 8, Ordering::Relaxed);
    }

    /// How long calls took lately.
    pub fn service(&self) -> Duration {
        Duration::from_nanos(self.service_ns.load(Ordering::Relaxed))
    }

    /// How long it takes to work off so many calls.
    pub fn time_for(&self, calls: usize) -> Duration {
        let each = self.service_ns.load(Ordering::Relaxed);
        Duration::from_nanos(each.saturating_mul(calls as u64) / self.settings.workers.max(1) as u64)
    }

    fn sleep(&self, patience: Duration) -> Received {
        let mut gathered = self.gathered.lock();
        loop {
            let closed = self.closed.load(Ordering::SeqCst);
            self.idle.fetch_add(1, Ordering::SeqCst);
            let taken = self.take(&mut gathered);
            let waited_in_vain =
                taken.is_none() && !closed && self.arrived.wait_for(&mut gathered, patience).timed_out();
            self.idle.fetch_sub(1, Ordering::SeqCst);
            match taken.or_else(|| if waited_in_vain { self.take(&mut gathered) } else { None }) {
                Some(received) => return received,
                None if closed => return Received::Closed,
                None if waited_in_vain => return Received::Nothing,
                None => {}
            }
        }
    }

    /// The next call, if there is one.
    fn take(&self, gathered: &mut FairQueue<Call>) -> Option<Received> {
        if gathered.is_empty() {
            let call = self.receiver.try_recv().ok()?;
            if self.receiver.is_empty() {
                // The usual case: nothing else waits, and nothing is to be judged.
                self.left(1);
                if self.standing.load(Ordering::Relaxed) {
                    self.standing.store(false, Ordering::Relaxed);
                }
                return Some(Received::Call(call));
            }
            gathered.push(call);
        }
        self.receiver.try_iter().for_each(|call| gathered.push(call));
        let (call, good) = match self.policy() {
            None => gathered.pop(|_, _| true)?,
            Some(policy) => self.judged(gathered, policy)?,
        };
        self.left(1);
        if !gathered.is_empty() && self.idle.load(Ordering::SeqCst) > 0 {
            self.arrived.notify_one();
        }
        Some(if good { Received::Call(call) } else { Received::Shed(call) })
    }

    fn judged(&self, gathered: &mut FairQueue<Call>, policy: CodelPolicy) -> Option<(Call, bool)> {
        let now = Instant::now();
        let judge = |call: &Call, codel: &mut Codel| {
            let good = codel.taken(now, now.saturating_duration_since(call.deadline.began()), policy);
            (good, codel.is_standing())
        };
        let (call, (good, standing)) = gathered.pop(judge)?;
        self.pace.lock().taken(now, !gathered.is_empty());
        if standing || self.standing.load(Ordering::Relaxed) {
            self.standing.store(gathered.is_standing(), Ordering::Relaxed);
        }
        Some((call, good))
    }

    /// Whether another call of `tenant` may join those that wait too long already.
    fn lets_in(&self, tenant: &str) -> bool {
        let Some(policy) = self.policy() else { return true };
        let mut gathered = self.gather();
        // In turn with the others, each of its calls takes a round.
        let round = self.pace.lock().mean.max(self.time_for(1)) * gathered.tenants() as u32;
        gathered.of(tenant).is_none_or(|(own, codel)| codel.lets_in(round * own as u32, policy))
    }

    fn policy(&self) -> Option<CodelPolicy> {
        self.settings.codel.map(|policy| policy.for_service(self.service(), self.settings.workers))
    }

    /// The queue, with everything in it that was in the mailbox.
    fn gather(&self) -> MutexGuard<'_, FairQueue<Call>> {
        let mut gathered = self.gathered.lock();
        self.receiver.try_iter().for_each(|call| gathered.push(call));
        gathered
    }

    /// Removes waiting calls that were cancelled; returns how many.
    fn sweep(&self) -> usize {
        let cancelled = self.settings.cancellations.load(Ordering::SeqCst);
        if self.swept.swap(cancelled, Ordering::SeqCst) == cancelled {
            return 0;
        }
        let gone = self.remove(Call::is_cancelled);
        let swept = gone.len();
        gone.into_iter().for_each(|call| call.reply.stay_silent());
        swept
    }

    fn remove(&self, gone: impl FnMut(&Call) -> bool) -> Vec<Call> {
        let removed = self.gather().take_if(gone);
        // It may have run empty by that.
        self.pace.lock().last = None;
        self.left(removed.len());
        removed
    }

    /// Takes a place for a call that is about to be sent.
    fn reserve(&self) -> bool {
        let depth = self.settings.depth.load(Ordering::Relaxed);
        let more = |own: usize| (own < depth && self.settings.bulkhead.admits(own)).then_some(own + 1);
        let reserved = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if reserved {
            self.settings.bulkhead.came();
        }
        reserved
    }

    fn left(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        self.settings.bulkhead.left(count);
    }
}
