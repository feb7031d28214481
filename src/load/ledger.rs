//! Which calls are open, and which of them count. Times are nanoseconds from any one moment; no I/O, no clock.

use std::collections::HashMap;

use super::recorder::Recorder;
use super::wire::Outcome;

/// The first id of measured calls; below are those of the session.
pub(super) const FIRST_CALL_ID: u64 = 1000;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Ledger {
    next_id: u64,
    /// When each open call was due, by id.
    open: HashMap<u64, u64>,
    /// How many open calls count.
    open_counted: usize,
    /// Calls due from here on count. Unknown as long as nothing has begun.
    counts_from_ns: u64,
    record: Recorder,
}

impl Ledger {
    /// No call is open, and none counts yet.
    pub(super) fn new() -> Self {
        let record = Recorder::new();
        Self { next_id: FIRST_CALL_ID, open: HashMap::new(), open_counted: 0, counts_from_ns: u64::MAX, record }
    }

    /// Calls due at or after this count.
    pub(super) fn count_from(&mut self, ns: u64) {
        self.counts_from_ns = ns;
    }

    /// Opens a call and returns its id; ids are consecutive.
    pub(super) fn issue(&mut self, due_ns: u64, now_ns: u64) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.open.insert(id, due_ns);
        if due_ns >= self.counts_from_ns {
            self.open_counted += 1;
            self.record.sent(due_ns, now_ns);
        }
        id
    }

    /// Closes the call an answer belongs to.
    pub(super) fn settle(&mut self, id: Option<u64>, outcome: Outcome, now_ns: u64) {
        match id.and_then(|id| self.open.remove(&id)) {
            Some(due_ns) if due_ns >= self.counts_from_ns => {
                self.open_counted -= 1;
                self.record.answered(outcome, due_ns, now_ns);
            }
            Some(_) => {}
            None => self.unexpected("an answer to no open call", now_ns),
        }
    }

    /// Takes note of a line that is no answer and should not be there.
    pub(super) fn unexpected(&mut self, what: &str, now_ns: u64) {
        if now_ns >= self.counts_from_ns {
            self.record.unexpected(what.to_owned());
        }
    }

    /// How many calls are open.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// How many open calls count.
    pub(super) fn open_counted(&self) -> usize {
        self.open_counted
    }

    /// What became of the calls that count.
    pub(super) fn record(&self) -> &Recorder {
        &self.record
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_calls_due_from_the_beginning_count() {
        let mut ledger = Ledger::new();
        ledger.count_from(100);
        let early = ledger.issue(99, 99);
        let counted = ledger.issue(100, 130);
        assert_eq!((ledger.open(), ledger.open_counted()), (2, 1));
        ledger.settle(Some(early), Outcome::Good, 500);
        ledger.settle(Some(counted), Outcome::Good, 600);
        let record = ledger.record();
        assert_eq!((record.sent, record.answered, record.latency.len()), (1, 1, 1));
        assert_eq!((record.latency.max(), record.lag.max(), record.last_answer_ns), (500, 30, Some(600)));
    }

    #[test]
    fn unknown_and_second_answers_are_errors_of_their_own() {
        let mut ledger = Ledger::new();
        ledger.settle(Some(7), Outcome::Good, 10);
        assert_eq!(ledger.record().unexpected, 0, "nothing counts yet");
        ledger.count_from(0);
        let id = ledger.issue(0, 0);
        for answer in [Some(id), Some(id), Some(id + 1), None] {
            ledger.settle(answer, Outcome::Good, 20);
        }
        let record = ledger.record();
        assert_eq!((record.answered, record.latency.len(), record.errors, record.unexpected), (1, 1, 3, 3));
    }

    #[test]
    fn the_first_texts_are_kept_and_the_rest_only_counted() {
        let mut ledger = Ledger::new();
        ledger.count_from(0);
        for number in 0..20 {
            let id = ledger.issue(0, 0);
            ledger.settle(Some(id), Outcome::Error(format!("error {}", number % 10)), 1);
        }
        let (seen, unseen) = ledger.record().seen();
        assert_eq!((seen.len(), seen[0].count, unseen), (5, 2, 10));
    }

    proptest! {
        #[test]
        fn whatever_is_answered_the_counts_add_up(
            outcomes in prop::collection::vec((0u8..4, any::<prop::sample::Index>()), 0..200),
        ) {
            let mut ledger = Ledger::new();
            ledger.count_from(0);
            let mut open: Vec<u64> = (0..outcomes.len() as u64).map(|due| ledger.issue(due, due)).collect();
            for (kind, which) in outcomes {
                let outcome = match kind {
                    0 => Outcome::Good,
                    1 => Outcome::Shed("full".to_owned()),
                    2 => Outcome::Error("broken".to_owned()),
                    _ => continue, // never answered
                };
                let id = open.swap_remove(which.index(open.len()));
                ledger.settle(Some(id), outcome, 1000);
            }
            let record = ledger.record();
            prop_assert_eq!(record.sent, record.answered + ledger.open_counted() as u64);
            prop_assert_eq!(record.answered, record.latency.len() + record.errors + record.shed);
        }
    }
}
