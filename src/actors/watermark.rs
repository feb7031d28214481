//! When there is too much of something: a gate with hysteresis on a count. A pure core.
//!
//! ```text
//!     0 ──────────────── resume ─────────── shed ──────── limit
//!     batch  let in      │ refused
//!     normal let in, or refused since shed  │ refused
//!     high   let in                                       │ refused
//! ```
//!
//! Once the count has reached the shed mark, normal calls are refused until it has come down to the resume mark. So a
//! server that is full works off a good part before it takes on more, and does not refuse every other call at the brim.

use crate::wasi::manifest::Priority;

/// Share of the limit at which refusing ends.
const RESUME: f64 = 0.6;

/// See the module documentation.
#[derive(Debug, Clone)]
pub struct Watermark {
    limit: usize,
    shed: usize,
    resume: usize,
    shedding: bool,
}

impl Watermark {
    /// Refuses from the share `shed` of `limit` on, and until the count has come down to 60 % of it. Each mark leaves
    /// room for one at least.
    pub fn new(limit: usize, shed: f64) -> Self {
        let mark = |share: f64| ((limit as f64 * share).ceil() as usize).clamp(1, limit.max(1));
        let shed = mark(shed);
        Self { limit, shed, resume: mark(RESUME).min(shed), shedding: false }
    }

    /// The count from which on normal calls are refused.
    pub fn shed_mark(&self) -> usize {
        self.shed
    }

    /// Whether everybody is let in at this count, whatever their priority. Says the same as [`Watermark::admits`] would.
    pub fn admits_all(&mut self, count: usize) -> bool {
        self.note(count);
        count < self.resume
    }

    /// Whether one more is let in when there are `count`.
    pub fn admits(&mut self, priority: Priority, count: usize) -> bool {
        self.note(count);
        match priority {
            Priority::High => count < self.limit,
            Priority::Normal => !self.shedding,
            Priority::Batch => count < self.resume,
        }
    }

    /// Whether normal calls are refused at this count.
    pub fn is_shedding(&mut self, count: usize) -> bool {
        self.note(count);
        self.shedding
    }

    fn note(&mut self, count: usize) {
        self.shedding = count >= self.shed || self.shedding && count >= self.resume;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_refuses_from_the_shed_mark_until_the_resume_mark() {
        let mut mark = Watermark::new(100, 0.9);
        let admitted = |mark: &mut Watermark, counts: std::ops::Range<usize>| {
            counts.filter(|count| mark.admits(Priority::Normal, *count)).count()
        };
        assert_eq!(admitted(&mut mark, 0..100), 90);
        assert_eq!(admitted(&mut mark, 60..90), 0);
        assert_eq!(admitted(&mut mark, 59..90), 31);
    }

    #[test]
    fn priorities_are_let_in_up_to_their_own_mark() {
        let mut mark = Watermark::new(2048, 0.75);
        let highest =
            |mark: &mut Watermark, priority| (0..4096).take_while(|count| mark.admits(priority, *count)).count();
        assert_eq!(highest(&mut mark, Priority::Batch), 1229);
        assert_eq!(highest(&mut mark, Priority::Normal), 1536);
        assert_eq!(highest(&mut mark, Priority::High), 2048);
    }

    #[test]
    fn small_limits_let_somebody_in() {
        for limit in 1..10 {
            for shed in [0.1, 0.5, 0.9, 1.0] {
                let mut mark = Watermark::new(limit, shed);
                assert!([Priority::High, Priority::Normal, Priority::Batch].iter().all(|who| mark.admits(*who, 0)));
                assert!(!mark.admits(Priority::High, limit));
            }
        }
    }

    proptest! {
        /// Against the rule itself, over the whole history: normal calls are refused iff the count was at the shed mark
        /// more recently than below the resume mark.
        #[test]
        fn it_remembers_which_mark_was_passed_last(
            limit in 1_usize..200,
            shed in 0.1_f64..1.0,
            counts in proptest::collection::vec(0_usize..250, 1..300),
        ) {
            let mut mark = Watermark::new(limit, shed);
            let (high, low) = (mark.shed, mark.resume);
            prop_assert!(0 < low && low <= high && high <= limit);
            for (index, count) in counts.iter().enumerate() {
                let seen = &counts[..=index];
                let last_high = seen.iter().rposition(|count| *count >= high);
                let last_low = seen.iter().rposition(|count| *count < low);
                prop_assert_eq!(mark.admits(Priority::Normal, *count), last_high.is_none() || last_low > last_high);
                prop_assert_eq!(mark.admits_all(*count), *count < low);
                prop_assert!(!mark.admits(Priority::Batch, *count) || mark.admits(Priority::Normal, *count));
                prop_assert!(!mark.admits(Priority::Normal, *count) || mark.admits(Priority::High, *count));
            }
        }
    }
}
