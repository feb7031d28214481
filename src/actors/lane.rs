//! The bounded queue of one tool: first in, first out.
//!
//! It belongs to the tool, not to a worker: when a worker dies, the calls it had not taken wait for its successor. A
//! full lane gives the call back at once. A cancelled call that still waits does not hold its place: when the lane is
//! full and something was cancelled since the last look, such calls are swept out first.
//!
//! Rule: calls are put in and taken out under the shared lock, and swept under the exclusive one; so sweeping, which
//! takes all of them out and puts the others back, changes no order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, TrySendError, bounded};
use parking_lot::RwLock;

use super::message::Call;

/// A call that was not taken, with the reason.
#[derive(Debug)]
pub enum SendError {
    /// The lane is full.
    Full(Call),
    /// The tool takes no calls any more.
    Closed(Call),
}

/// What [`Lane::recv`] came back with.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly always a call, which a box would make dearer")]
pub enum Received {
    /// The next call.
    Call(Call),
    /// No call came in time.
    Nothing,
    /// The lane is closed and empty.
    Closed,
}

/// See the module documentation.
pub struct Lane {
    /// `None` once closed. See the rule in the module documentation.
    sender: RwLock<Option<Sender<Call>>>,
    receiver: Receiver<Call>,
    /// Counts what clients have cancelled, whichever tool it was for.
    cancellations: Arc<AtomicU64>,
    /// That count when this lane was last swept.
    swept: AtomicU64,
}

impl Lane {
    /// A lane for at most `depth` waiting calls, whose clients' cancellations are counted by `cancellations`.
    pub fn new(depth: usize, cancellations: Arc<AtomicU64>) -> Self {
        let (sender, receiver) = bounded(depth);
        Self { sender: RwLock::new(Some(sender)), receiver, cancellations, swept: AtomicU64::new(0) }
    }

    /// Puts `call` into the lane, or gives it back at once.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn try_send(&self, call: Call) -> Result<(), SendError> {
        match self.try_send_once(call) {
            Err(SendError::Full(call)) if self.sweep() > 0 => self.try_send_once(call),
            result => result,
        }
    }

    /// Calls waiting.
    pub fn depth(&self) -> usize {
        self.receiver.len()
    }

    /// Waits for the next call, at most `patience`.
    pub fn recv(&self, patience: Duration) -> Received {
        loop {
            let taken = {
                let _shared = self.sender.read();
                self.receiver.try_recv()
            };
            match taken {
                Ok(call) => return Received::Call(call),
                Err(TryRecvError::Disconnected) => return Received::Closed,
                Err(TryRecvError::Empty) => {
                    let mut waiting = Select::new();
                    waiting.recv(&self.receiver);
                    if waiting.ready_timeout(patience).is_err() {
                        return Received::Nothing;
                    }
                }
            }
        }
    }

    /// Takes no more calls; workers end when they have taken what is there.
    pub fn close(&self) {
        self.sender.write().take();
    }

    /// Removes every waiting call and hands it to `each`; used when nobody is left to take them.
    pub fn drain(&self, each: impl FnMut(Call)) {
        self.receiver.try_iter().for_each(each);
    }

    fn try_send_once(&self, call: Call) -> Result<(), SendError> {
        match &*self.sender.read() {
            None => Err(SendError::Closed(call)),
            Some(sender) => sender.try_send(call).map_err(|error| match error {
                TrySendError::Full(call) => SendError::Full(call),
                TrySendError::Disconnected(call) => SendError::Closed(call),
            }),
        }
    }

    /// Removes waiting calls that were cancelled; returns how many.
    fn sweep(&self) -> usize {
        let cancelled = self.cancellations.load(Ordering::SeqCst);
        if self.swept.swap(cancelled, Ordering::SeqCst) == cancelled {
            return 0;
        }
        let sender = self.sender.write();
        let Some(sender) = &*sender else { return 0 };
        let (gone, waiting): (Vec<Call>, Vec<Call>) = self.receiver.try_iter().partition(Call::is_cancelled);
        for call in waiting {
            // Nobody else can send while the lock is held, so there is room for what was just taken out.
            let _ = sender.try_send(call);
        }
        let swept = gone.len();
        gone.into_iter().for_each(|call| call.reply.stay_silent());
        swept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::message::testing::call;

    fn next(lane: &Lane) -> Option<Call> {
        match lane.recv(Duration::from_secs(60)) {
            Received::Call(call) => Some(call),
            Received::Nothing => panic!("waited in vain"),
            Received::Closed => None,
        }
    }

    #[test]
    fn a_full_lane_gives_the_call_back_at_once() {
        let lane = Lane::new(2, Arc::default());
        let (calls, _answers): (Vec<_>, Vec<_>) = (0..3).map(|_| call()).unzip();
        let sent: Vec<_> = calls.into_iter().map(|call| lane.try_send(call)).collect();
        assert!(matches!(sent.as_slice(), [Ok(()), Ok(()), Err(SendError::Full(_))]));
        assert_eq!(lane.depth(), 2);
    }

    #[test]
    fn a_cancelled_call_that_waits_does_not_hold_its_place() {
        let cancellations = Arc::<AtomicU64>::default();
        let lane = Lane::new(2, Arc::clone(&cancellations));
        let (first, _first_answer) = call();
        let (second, _second_answer) = call();
        let cancel = first.cancel.clone();
        lane.try_send(first).unwrap();
        lane.try_send(second).unwrap();
        cancel.cancel();
        cancellations.fetch_add(1, Ordering::SeqCst);
        assert!(lane.try_send(call().0).is_ok());
        assert_eq!(lane.depth(), 2);
        assert!(!next(&lane).unwrap().is_cancelled());
    }

    #[test]
    fn a_closed_lane_lets_workers_finish_what_is_there() {
        let lane = Lane::new(2, Arc::default());
        lane.try_send(call().0).unwrap();
        lane.close();
        assert!(matches!(lane.try_send(call().0), Err(SendError::Closed(_))));
        assert!(next(&lane).is_some());
        assert!(next(&lane).is_none());
    }

    #[test]
    fn calls_are_taken_in_the_order_in_which_they_came_however_full_the_lane() {
        let cancellations = Arc::<AtomicU64>::default();
        let lane = Lane::new(50, Arc::clone(&cancellations));
        let taken = std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                std::iter::from_fn(|| next(&lane)).map(|call| call.request.arguments).collect::<Vec<String>>()
            });
            let mut answers = Vec::new();
            for number in 0..2000 {
                let (mut next, answer) = call();
                answers.push(answer);
                next.request.arguments = format!("{number:04}");
                if number % 3 == 0 {
                    next.cancel.cancel();
                    cancellations.fetch_add(1, Ordering::SeqCst);
                }
                if lane.try_send(next).is_err() {
                    std::thread::yield_now();
                }
            }
            lane.close();
            worker.join().unwrap()
        });
        assert!(taken.len() >= 50 && taken.is_sorted(), "{taken:?}");
    }
}
