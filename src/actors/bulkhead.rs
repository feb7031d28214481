//! How much of what the server takes on one tool may hold while others have calls waiting too: twice what is still free.
//!
//! A tool that nobody competes with may have it all. From the first call of another on, the more all of them hold the less
//! each gets, so that there is room for those that come later (Choudhury and Hahne, "Dynamic Queue Length Thresholds").

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
        let all = self.waiting.load(Ordering::Relaxed);
        let free = self.budget.saturating_sub(all);
        own == 0 || own >= all || own < free.saturating_mul(SHARE)
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
    fn a_tool_that_has_company_gets_two_thirds_and_the_next_finds_room() {
        let bulkhead = Bulkhead::new(901);
        bulkhead.came();
        assert_eq!(take_all(&bulkhead, 0), 600);
        assert_eq!(take_all(&bulkhead, 0), 200);
        assert_eq!(take_all(&bulkhead, 0), 67);
        bulkhead.left(200);
        assert!(!bulkhead.admits(600), "what others left is not for whoever has most");
        assert_eq!(take_all(&bulkhead, 67), 133);
    }

    #[test]
    fn a_tool_alone_may_have_all_until_another_comes() {
        let bulkhead = Bulkhead::new(4);
        (0..4).for_each(|own| {
            assert!(bulkhead.admits(own));
            bulkhead.came();
        });
        assert!(bulkhead.admits(4), "it is the requests in flight that are limited then");
        bulkhead.came();
        assert!(!bulkhead.admits(4) && bulkhead.admits(0));
    }

    #[test]
    fn a_tool_of_which_nothing_waits_is_always_let_in() {
        let bulkhead = Bulkhead::new(1);
        (0..3).for_each(|_| bulkhead.came());
        assert!(bulkhead.admits(0) && !bulkhead.admits(1));
    }
}
