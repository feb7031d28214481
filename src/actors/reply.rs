//! The way back of a call: answers exactly once.
//!
//! A [`Reply`] is consumed by its answer. Dropped without one, in a panic, with a dead worker, in a closed lane, it
//! says [`CallOutcome::Lost`]. So "no call unanswered, none answered twice" is a property of a type.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::message::CallOutcome;

/// Whoever waits for a call. Told on the thread that ends the call, so it must not wait for anybody.
pub trait Caller: Send + Sync {
    /// The call has ended so. Said once at most.
    fn answered(&self, outcome: CallOutcome);

    /// The answer, and whatever else waits to be sent the same way, is to be sent now.
    fn send(&self);

    /// Whether nobody waits any more.
    fn is_gone(&self) -> bool;
}

/// The sending half; see the module documentation.
pub struct Reply {
    caller: Option<Arc<dyn Caller>>,
}

/// The receiving half, for a caller that is a task.
#[derive(Debug)]
pub struct Answer {
    receiver: oneshot::Receiver<CallOutcome>,
}

impl Reply {
    /// A new pair.
    pub fn new() -> (Self, Answer) {
        let (sender, receiver) = oneshot::channel();
        (Self::to(Arc::new(Task(Mutex::new(Some(sender))))), Answer { receiver })
    }

    /// A way back to `caller`.
    pub fn to(caller: Arc<dyn Caller>) -> Self {
        Self { caller: Some(caller) }
    }

    /// Answers.
    pub fn answer(self, outcome: CallOutcome) {
        if let Some(caller) = self.answer_unsent(outcome) {
            caller.send();
        }
    }

    /// Answers, and leaves it to whoever asks to have the answer sent: see [`Unsent`](super::unsent::Unsent).
    pub fn answer_unsent(mut self, outcome: CallOutcome) -> Option<Arc<dyn Caller>> {
        let caller = self.caller.take()?;
        caller.answered(outcome);
        Some(caller)
    }

    /// Ends without an answer, because the caller was cancelled and must not hear of the call again.
    pub fn stay_silent(mut self) {
        self.caller = None;
    }

    /// Whether nobody waits any more.
    pub fn is_abandoned(&self) -> bool {
        self.caller.as_ref().is_none_or(|caller| caller.is_gone())
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(caller) = self.caller.take() {
            caller.answered(CallOutcome::Lost);
            caller.send();
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("answered", &self.caller.is_none()).finish()
    }
}

/// A task that waits on its [`Answer`].
struct Task(Mutex<Option<oneshot::Sender<CallOutcome>>>);

impl Caller for Task {
    fn answered(&self, outcome: CallOutcome) {
        if let Some(sender) = self.0.lock().take() {
            // The task may be gone: it was cancelled, and then nobody wants to know.
            let _ = sender.send(outcome);
        }
    }

    /// It was woken already.
    fn send(&self) {}

    fn is_gone(&self) -> bool {
        self.0.lock().as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl Answer {
    /// Waits for the answer.
    pub async fn wait(&mut self) -> CallOutcome {
        (&mut self.receiver).await.unwrap_or(CallOutcome::Lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasi::call::GuestOutput;

    #[tokio::test]
    async fn a_dropped_reply_says_lost() {
        let (reply, mut answer) = Reply::new();
        drop(reply);
        assert_eq!(answer.wait().await, CallOutcome::Lost);
    }

    #[tokio::test]
    async fn an_answer_is_given_once_and_wins_over_the_drop() {
        let (reply, mut answer) = Reply::new();
        let outcome = CallOutcome::Finished(GuestOutput::text("x"));
        reply.answer(outcome.clone());
        assert_eq!(answer.wait().await, outcome);
    }

    #[tokio::test]
    async fn a_panic_on_the_way_says_lost() {
        let (reply, mut answer) = Reply::new();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = reply;
            panic!("expected by the test");
        }));
        assert!(panicked.is_err());
        assert_eq!(answer.wait().await, CallOutcome::Lost);
    }

    #[test]
    fn a_caller_that_left_is_noticed() {
        let (reply, answer) = Reply::new();
        assert!(!reply.is_abandoned());
        drop(answer);
        assert!(reply.is_abandoned());
    }
}
