//! The way back of a call: answers exactly once.
//!
//! A [`Reply`] is consumed by its answer. Dropped without one, in a panic, with a dead worker, in a closed lane, it
//! says [`CallOutcome::Lost`]. So "no call unanswered, none answered twice" is a property of a type.

use tokio::sync::oneshot;

use super::message::CallOutcome;

/// The sending half; see the module documentation.
#[derive(Debug)]
pub struct Reply {
    sender: Option<oneshot::Sender<CallOutcome>>,
}

/// The receiving half.
#[derive(Debug)]
pub struct Answer {
    receiver: oneshot::Receiver<CallOutcome>,
}

impl Reply {
    /// A new pair.
    pub fn new() -> (Self, Answer) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender: Some(sender) }, Answer { receiver })
    }

    /// Answers.
    pub fn answer(mut self, outcome: CallOutcome) {
        if let Some(sender) = self.sender.take() {
            // The caller may be gone: it was cancelled, and then nobody wants to know.
            let _ = sender.send(outcome);
        }
    }

    /// Ends without an answer, because the caller was cancelled and must not hear of the call again.
    pub fn stay_silent(mut self) {
        self.sender = None;
    }

    /// Whether nobody waits any more.
    pub fn is_abandoned(&self) -> bool {
        self.sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            let _ = sender.send(CallOutcome::Lost);
        }
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
