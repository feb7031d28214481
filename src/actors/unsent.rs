//! Answers that a worker has given and not yet sent.
//!
//! Sending costs a system call and wakes the client, which is more than a fast guest's work. So a worker that has more
//! calls waiting, and whose calls are short, sends several answers at once. None waits for long: all are sent when the
//! lane is empty, when the next call turns out not to be short ([`InHand`](super::worker_thread::InHand)), and when
//! there are as many as the tool's `batchSize` says.

use std::sync::Arc;

use super::reply::Caller;

/// See the module documentation. What is left when it is dropped is sent.
#[derive(Default)]
pub struct Unsent(Vec<Arc<dyn Caller>>);

impl Unsent {
    /// One more answer, given to this caller; at most so many are kept back.
    pub fn add(&mut self, caller: Option<Arc<dyn Caller>>, most: usize) {
        self.0.extend(caller);
        if self.0.len() >= most {
            self.send();
        }
    }

    /// Sends them all.
    pub fn send(&mut self) {
        // Callers that share a way out are served by the first; the others find nothing left to send.
        for caller in self.0.drain(..) {
            caller.send();
        }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.send();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::actors::message::CallOutcome;

    const MOST: usize = 16;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Caller for Counted {
        fn answered(&self, _: CallOutcome) {}

        fn send(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }

        fn is_gone(&self) -> bool {
            false
        }
    }

    #[test]
    fn answers_are_sent_when_there_are_enough_or_when_told_or_at_the_end() {
        let caller = Arc::<Counted>::default();
        let sent = || caller.0.load(Ordering::SeqCst);
        let mut unsent = Unsent::default();
        (1..MOST).for_each(|_| unsent.add(Some(caller.clone()), MOST));
        assert_eq!(sent(), 0);
        unsent.add(Some(caller.clone()), MOST);
        assert_eq!(sent(), MOST);
        unsent.add(Some(caller.clone()), MOST);
        unsent.add(None, MOST);
        unsent.send();
        unsent.send();
        assert_eq!(sent(), MOST + 1);
        unsent.add(Some(caller.clone()), MOST);
        drop(unsent);
        assert_eq!(sent(), MOST + 2);
    }
}
