//! The bounded queue of one tool.
//!
//! It belongs to the tool, not to a worker: when a worker dies, the calls it had not taken wait for its successor. A
//! full lane gives the call back at once. A cancelled call that still waits does not hold its place: when the lane is
//! full, such calls are swept out first.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
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

/// See the module documentation.
pub struct Lane {
    /// `None` once closed. Senders share the lock; sweeping takes it alone, so that swept calls find their place again.
    sender: RwLock<Option<Sender<Call>>>,
    receiver: Receiver<Call>,
}

impl Lane {
    /// A lane for at most `depth` waiting calls.
    pub fn new(depth: usize) -> Self {
        let (sender, receiver) = bounded(depth);
        Self { sender: RwLock::new(Some(sender)), receiver }
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

    /// The end a worker takes calls from.
    pub fn receiver(&self) -> Receiver<Call> {
        self.receiver.clone()
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
        let sender = self.sender.write();
        let Some(sender) = &*sender else { return 0 };
        let mut swept = 0;
        for _ in 0..self.receiver.len() {
            let Ok(call) = self.receiver.try_recv() else { break };
            if call.is_cancelled() {
                swept += 1;
                call.reply.stay_silent();
            } else {
                // Nobody else can send while the lock is held, so there is room for what was just taken out.
                let _ = sender.try_send(call);
            }
        }
        swept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::message::testing::call;

    #[test]
    fn a_full_lane_gives_the_call_back_at_once() {
        let lane = Lane::new(2);
        let (calls, _answers): (Vec<_>, Vec<_>) = (0..3).map(|_| call()).unzip();
        let sent: Vec<_> = calls.into_iter().map(|call| lane.try_send(call)).collect();
        assert!(matches!(sent.as_slice(), [Ok(()), Ok(()), Err(SendError::Full(_))]));
        assert_eq!(lane.depth(), 2);
    }

    #[test]
    fn a_cancelled_call_that_waits_does_not_hold_its_place() {
        let lane = Lane::new(2);
        let (first, _first_answer) = call();
        let (second, _second_answer) = call();
        let cancel = first.cancel.clone();
        lane.try_send(first).unwrap();
        lane.try_send(second).unwrap();
        cancel.cancel();
        assert!(lane.try_send(call().0).is_ok());
        assert_eq!(lane.depth(), 2);
        assert!(!lane.receiver().recv().unwrap().is_cancelled());
    }

    #[test]
    fn a_closed_lane_lets_workers_finish_what_is_there() {
        let lane = Lane::new(2);
        lane.try_send(call().0).unwrap();
        lane.close();
        assert!(matches!(lane.try_send(call().0), Err(SendError::Closed(_))));
        let receiver = lane.receiver();
        assert!(receiver.recv().is_ok());
        assert!(receiver.recv().is_err());
    }
}
