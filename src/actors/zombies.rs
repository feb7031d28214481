//! Threads of one tool that are stuck in the system.
//!
//! A thread cannot be killed. A worker thread that does not come back is abandoned by its actor; a thread of an
//! executor that is blocked in a file operation is left behind with its runtime. Both are counted here as long as they
//! live, so that a tool that keeps producing them is left alone before it has used up the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// See the module documentation.
#[derive(Default)]
pub struct Zombies {
    abandoned: AtomicUsize,
    /// Live threads of each runtime that was left behind.
    left_behind: Mutex<Vec<Arc<AtomicUsize>>>,
}

impl Zombies {
    /// A worker thread was given up.
    pub fn abandon(&self) {
        self.abandoned.fetch_add(1, Ordering::SeqCst);
    }

    /// A worker thread that was given up has ended after all.
    pub fn came_back(&self) {
        self.abandoned.fetch_sub(1, Ordering::SeqCst);
    }

    /// A runtime was left behind; `threads` is how many of its threads live, and will go to 0 unless they are stuck.
    pub fn leave_behind(&self, threads: Arc<AtomicUsize>) {
        self.left_behind.lock().push(threads);
    }

    /// How many there are now.
    pub fn count(&self) -> usize {
        let mut left_behind = self.left_behind.lock();
        left_behind.retain(|threads| threads.load(Ordering::SeqCst) > 0);
        let threads: usize = left_behind.iter().map(|threads| threads.load(Ordering::SeqCst)).sum();
        threads + self.abandoned.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_comes_back_does_not_count() {
        let zombies = Zombies::default();
        let threads = Arc::new(AtomicUsize::new(2));
        zombies.leave_behind(Arc::clone(&threads));
        zombies.abandon();
        assert_eq!(zombies.count(), 3);
        threads.store(0, Ordering::SeqCst);
        zombies.came_back();
        assert_eq!(zombies.count(), 0);
    }
}
