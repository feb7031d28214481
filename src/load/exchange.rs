//! What the threads of a connection share: one lock around the ledger, what is to be written, and what the session waits
//! for.
//!
//! The lock is never held while anything is read or written. The writer waits for work, the caller for progress; the
//! reader waits for nobody here.

use std::ops::Range;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::ledger::Ledger;
use super::plan::{Mode, Plan};
use super::schedule::Share;
use super::tally::Tally;
use super::wire::Outcome;

/// Calls that may be open. A stalled server leaves that many after 100 s of 10,000 a second.
pub(super) const OPEN_CALLS: usize = 1_000_000;

/// Bytes of answers to the server's own requests that wait to be written; a server that asks more is not answered.
const REPLY_BYTES: usize = 1 << 20;

/// Why the end came before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It closed its output.
    Output,
    /// It closed its input.
    Input,
    /// It wrote a line that does not end.
    EndlessLine,
    /// [`OPEN_CALLS`] are open.
    Full,
}

/// What decides that a call is due.
enum Pacer {
    /// The times of the calls to come.
    Open(std::iter::Peekable<Box<dyn Iterator<Item = u64> + Send>>),
    Closed {
        in_flight: usize,
    },
}

/// When calls are due and when they count, in nanoseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// The warm-up begins.
    pub(super) start_ns: u64,
    /// Calls due from here on count.
    pub(super) counts_from_ns: u64,
    /// No call is due any more.
    pub(super) until_ns: u64,
}

/// A run that has begun. All times are nanoseconds since the epoch.
struct Running {
    pacer: Pacer,
    /// Calls due at or after this count.
    counts_from_ns: u64,
    /// No call is due at or after this.
    until_ns: u64,
}

/// What the lock guards.
pub(super) struct State {
    /// Counts and open calls.
    pub(super) ledger: Ledger,
    /// The answer the session waits for, once it is there.
    pub(super) answer: Option<Vec<u8>>,
    /// Why the end came before its time, if it did.
    pub(super) ended: Option<Ended>,
    /// The id of the request whose answer the session waits for.
    awaited: Option<u64>,
    outgoing: Vec<u8>,
    running: Option<Running>,
    closing: bool,
}

/// What the writer has to write.
pub(super) enum Work {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Calls with these ids.
    Calls(Range<u64>),
}

/// See the module documentation.
pub(super) struct Exchange {
    epoch: Instant,
    state: Mutex<State>,
    /// For the writer: there may be something to write.
    to_write: Condvar,
    /// For the caller: something it waits for may have happened.
    progress: Condvar,
}

impl Exchange {
    /// Nothing is open and nothing is to be written. Times count from `epoch`.
    pub(super) fn new(epoch: Instant, ledger: Ledger) -> Self {
        let state = State {
            ledger,
            answer: None,
            ended: None,
            awaited: None,
            outgoing: Vec::new(),
            running: None,
            closing: false,
        };
        Self { epoch, state: Mutex::new(state), to_write: Condvar::new(), progress: Condvar::new() }
    }

    /// Nanoseconds since the epoch.
    pub(super) fn now_ns(&self) -> u64 {
        ns(self.epoch.elapsed())
    }

    /// Takes the lock.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits until something happens or until `until_ns`.
    pub(super) fn wait(&self, state: &mut MutexGuard<'_, State>, until_ns: u64) {
        self.progress.wait_until(state, self.epoch + Duration::from_nanos(until_ns));
    }

    /// Has `bytes` written as soon as possible.
    pub(super) fn write(&self, bytes: &[u8]) {
        self.lock().outgoing.extend_from_slice(bytes);
        self.to_write.notify_one();
    }

    /// Has a request of the session written, whose answer will be in [`State::answer`].
    pub(super) fn ask(&self, id: u64, request: &[u8]) {
        let mut state = self.lock();
        state.awaited = Some(id);
        state.answer = None;
        state.outgoing.extend_from_slice(request);
        self.to_write.notify_one();
    }

    /// Begins the calls of `plan` that are this connection's.
    pub(super) fn begin(&self, plan: &Plan, share: Share, span: Span) {
        let pacer = match plan.mode {
            Mode::Closed { in_flight } => {
                let (each, rest) = (in_flight / share.of, in_flight % share.of);
                Pacer::Closed { in_flight: each + usize::from(share.index < rest) }
            }
            Mode::Open { .. } => {
                let (warm_up, counted) = (super::offer::warm_up(plan, share), super::offer::counted(plan, share));
                let warm_up = warm_up.map(move |time| span.start_ns + time);
                let counted = counted.map(move |time| span.counts_from_ns + time);
                let times: Box<dyn Iterator<Item = u64> + Send> = Box::new(warm_up.chain(counted));
                Pacer::Open(times.peekable())
            }
        };
        let mut state = self.lock();
        let part_ns = ns(plan.duration).div_ceil(plan.parts() as u64);
        state.ledger.count_from(span.counts_from_ns, part_ns);
        let Span { counts_from_ns, until_ns, .. } = span;
        state.running = Some(Running { pacer, counts_from_ns, until_ns });
        self.to_write.notify_one();
    }

    /// Takes what came since it was taken last.
    pub(super) fn take_recent(&self) -> Tally {
        self.lock().ledger.take_recent()
    }

    /// No call is due from now on.
    pub(super) fn stop(&self) {
        let now = self.now_ns();
        if let Some(running) = &mut self.lock().running {
            running.until_ns = running.until_ns.min(now);
        }
        self.to_write.notify_one();
    }

    /// The writer's end, and with it that of the server's input.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.to_write.notify_one();
    }

    /// Nothing more can be done with the server. The first reason stays, except that a server which takes no more input
    /// may go on answering until its output ends too.
    pub(super) fn end(&self, why: Ended) {
        let mut state = self.lock();
        if matches!(state.ended, None | Some(Ended::Input)) {
            state.ended = Some(why);
        }
        self.progress.notify_one();
    }

    /// For the writer: waits for something to write; `None` when there will be nothing more. At most `at_most` calls.
    pub(super) fn next_work(&self, at_most: usize) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.closing {
                return None;
            }
            if !state.outgoing.is_empty() {
                return Some(Work::Bytes(std::mem::take(&mut state.outgoing)));
            }
            let calls = state.issue(self.now_ns(), at_most);
            if !calls.is_empty() {
                return Some(Work::Calls(calls));
            }
            if state.ended == Some(Ended::Full) {
                self.progress.notify_one();
            }
            match state.next_due_ns() {
                Some(due) => {
                    self.to_write.wait_until(&mut state, self.epoch + Duration::from_nanos(due));
                }
                None => self.to_write.wait(&mut state),
            }
        }
    }

    /// For the reader: the answers of one read, which came at `now_ns`.
    pub(super) fn settle(&self, now_ns: u64, answers: &mut Vec<(Option<u64>, Outcome)>, unreadable: u64) {
        if answers.is_empty() && unreadable == 0 {
            return;
        }
        let mut state = self.lock();
        for (id, outcome) in answers.drain(..) {
            state.ledger.settle(id, outcome, now_ns);
        }
        for _ in 0..unreadable {
            state.ledger.unexpected("a line that is no JSON-RPC message", now_ns);
        }
        let Some(running) = &state.running else { return };
        if matches!(running.pacer, Pacer::Closed { .. }) {
            self.to_write.notify_one();
        }
        if now_ns >= running.until_ns && state.ledger.open_counted() == 0 {
            self.progress.notify_one();
        }
    }

    /// For the reader: an answer that may be the one the session waits for; says whether it is.
    pub(super) fn deliver(&self, id: u64, line: &[u8]) -> bool {
        let mut state = self.lock();
        let is_awaited = state.awaited == Some(id);
        if is_awaited {
            state.awaited = None;
            state.answer = Some(line.to_vec());
            self.progress.notify_one();
        }
        is_awaited
    }

    /// For the reader: an answer to a request of the server.
    pub(super) fn reply(&self, bytes: &[u8]) {
        if self.lock().outgoing.len() < REPLY_BYTES {
            self.write(bytes);
        }
    }
}

impl State {
    /// Whether every call that is due before the end was issued, and every one that counts answered.
    pub(super) fn is_settled(&mut self) -> bool {
        self.ledger.open_counted() == 0 && self.next_due_ns().is_none()
    }

    /// Takes note of the calls that were due before the end and never left, because the server took no more input. Only
    /// for the end: they cannot be sent any more.
    pub(super) fn give_up_unsent(&mut self) {
        let Some(Running { pacer: Pacer::Open(times), until_ns, .. }) = &mut self.running else { return };
        while let Some(due) = times.next_if(|due| due < until_ns) {
            self.ledger.never_sent(due);
        }
    }

    /// How long calls that count could be due.
    pub(super) fn counted_time(&self) -> Duration {
        let running = self.running.as_ref();
        Duration::from_nanos(running.map_or(0, |running| running.until_ns.saturating_sub(running.counts_from_ns)))
    }

    /// Opens the calls that are due; returns their ids.
    fn issue(&mut self, now_ns: u64, at_most: usize) -> Range<u64> {
        let Some(running) = &mut self.running else { return 0..0 };
        let mut ids = 0..0;
        for _ in 0..at_most {
            let due = match &mut running.pacer {
                Pacer::Open(times) => times.next_if(|due| *due <= now_ns && *due < running.until_ns),
                Pacer::Closed { in_flight } => {
                    (now_ns < running.until_ns && self.ledger.open() < *in_flight).then_some(now_ns)
                }
            };
            let Some(due) = due else { break };
            if self.ledger.open() == OPEN_CALLS {
                running.until_ns = running.until_ns.min(due);
                self.ended.get_or_insert(Ended::Full);
                break;
            }
            let id = self.ledger.issue(due, now_ns);
            ids = if ids.is_empty() { id..id + 1 } else { ids.start..id + 1 };
        }
        ids
    }

    /// When the next call is due, if the clock decides that.
    fn next_due_ns(&mut self) -> Option<u64> {
        match &mut self.running {
            Some(Running { pacer: Pacer::Open(times), until_ns, .. }) => {
                times.peek().copied().filter(|due| due < until_ns)
            }
            _ => None,
        }
    }
}

/// Whole nanoseconds.
pub(super) fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
