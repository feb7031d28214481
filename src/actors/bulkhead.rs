//! How much of what the server takes on one tool may hold: twice what is still free, and so two thirds at most.
//!
//! A tool that nobody competes with gets far, and the more all of them hold the less each gets, so that there is always
//! room for one that comes later (Choudhury and Hahne, "Dynamic Queue Length Thresholds").

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a tool may hold for each place that is free.
const SHARE: usize = 2;

/// See the module documentation.
#[derive(Debug)]
pub struct Bulkhead {
    /// Calls that may wait in all.
    budget: usize,
    waiting: AtomicUsize,
}

impl Bulkhead {
    /// For so many calls that wait in all.
    pub fn new(budget: usize) -> Self {
        Self { budget, waiting: AtomicUsize::new(0) }
    }

    /// Whether a tool of which `own` calls wait may have one more. Calls that are let in at the same moment may see the
    /// same number.
    pub fn admits(&self, own: usize) -> bool {
        let free = self.budget.saturating_sub(self.waiting.load(Ordering::Relaxed));
        own == 0 || own < free.saturating_mul(SHARE)
    }

    /// One more waits.
    pub fn came(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// So many wait no more.
    pub fn left(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many more calls a tool gets that has `own`.
    fn take_all(bulkhead: &Bulkhead, mut own: usize) -> usize {
        let before = own;
        while bulkhead.admits(own) {
            bulkhead.came();
            own += 1;
        }
        own - before
    }

    #[test]
    fn one_tool_alone_gets_two_thirds_and_the_next_finds_room() {
        let bulkhead = Bulkhead::new(900);
        assert_eq!(take_all(&bulkhead, 0), 600);
        assert_eq!(take_all(&bulkhead, 0), 200);
        assert_eq!(take_all(&bulkhead, 0), 67);
        bulkhead.left(200);
        assert!(!bulkhead.admits(600), "what others left is not for whoever has most");
        assert_eq!(take_all(&bulkhead, 67), 133);
    }

    #[test]
    fn a_tool_of_which_nothing_waits_is_always_let_in() {
        let bulkhead = Bulkhead::new(1);
        (0..3).for_each(|_| bulkhead.came());
        assert!(bulkhead.admits(0) && !bulkhead.admits(1));
    }
}
