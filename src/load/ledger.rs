//! Which calls of a connection are open, and which of them count. Times are nanoseconds from any one moment; no I/O, no
//! clock.

use std::collections::HashMap;

use super::deal::Deal;
use super::recorder::{Place, Recorder};
use super::tally::Tally;
use super::wire::Outcome;

/// The first id of measured calls; below are those of the session.
pub(super) const FIRST_CALL_ID: u64 = 1000;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Ledger {
    next_id: u64,
    deal: Deal,
    /// When each open call was due, by id.
    open: HashMap<u64, u64>,
    /// How many open calls count.
    open_counted: usize,
    /// Calls due from here on count. Unknown as long as nothing has begun.
    counts_from_ns: u64,
    /// How long each part of the measuring time is.
    part_ns: u64,
    record: Recorder,
}

impl Ledger {
    /// No call is open, and none counts yet.
    pub(super) fn new(deal: Deal, calls: usize, parts: usize) -> Self {
        Self {
            next_id: FIRST_CALL_ID,
            deal,
            open: HashMap::new(),
            open_counted: 0,
            counts_from_ns: u64::MAX,
            part_ns: u64::MAX,
            record: Recorder::new(calls, parts),
        }
    }

    /// Calls due at or after `ns` count, in parts of the time that are `part_ns` long.
    pub(super) fn count_from(&mut self, ns: u64, part_ns: u64) {
        self.counts_from_ns = ns;
        self.part_ns = part_ns.max(1);
    }

    /// Opens a call and returns its id; ids are consecutive.
    pub(super) fn issue(&mut self, due_ns: u64, now_ns: u64) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.open.insert(id, due_ns);
        if due_ns >= self.counts_from_ns {
            self.open_counted += 1;
            self.record.sent(self.place(id, due_ns), due_ns, now_ns);
        }
        id
    }

    /// Closes the call an answer belongs to.
    pub(super) fn settle(&mut self, id: Option<u64>, outcome: Outcome, now_ns: u64) {
        match id.and_then(|id| Some((id, self.open.remove(&id)?))) {
            Some((id, due_ns)) if due_ns >= self.counts_from_ns => {
                self.open_counted -= 1;
                self.record.answered(self.place(id, due_ns), outcome, due_ns, now_ns);
            }
            Some(_) => {}
            None => self.unexpected("an answer to no open call", now_ns),
        }
    }

    /// A call was due and can no longer be sent.
    pub(super) fn never_sent(&mut self, due_ns: u64) {
        if due_ns >= self.counts_from_ns {
            self.record.never_sent(self.place(self.next_id, due_ns));
        }
        self.next_id += 1;
    }

    fn place(&self, id: u64, due_ns: u64) -> Place {
        let part = (due_ns - self.counts_from_ns) / self.part_ns;
        Place { call: self.deal.which(id - FIRST_CALL_ID), part: part as usize }
    }

    /// Takes what came since it was taken last.
    pub(super) fn take_recent(&mut self) -> Tally {
        std::mem::replace(&mut self.record.recent, Tally::new())
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

    use super::super::plan::Call;
    use super::super::schedule::Share;
    use super::*;

    /// Two kinds of calls in turn, in two parts of 100 ns.
    fn ledger(counts_from_ns: u64) -> Ledger {
        let calls = [Call::new("a", &Default::default()), Call::new("b", &Default::default())];
        let mut ledger = Ledger::new(Deal::new(&calls, Share::ALL), 2, 2);
        ledger.count_from(counts_from_ns, 100);
        ledger
    }

    #[test]
    fn only_calls_due_from_the_beginning_count() {
        let mut ledger = ledger(100);
        let early = ledger.issue(99, 99);
        let counted = ledger.issue(100, 130);
        assert_eq!((ledger.open(), ledger.open_counted()), (2, 1));
        ledger.settle(Some(early), Outcome::Good, 500);
        ledger.settle(Some(counted), Outcome::Good, 600);
        let record = ledger.record();
        assert_eq!((record.whole.sent, record.answered, record.whole.good()), (1, 1, 1));
        let maxima = [&record.whole.latency, &record.lag].map(|times| times.latency().max.unwrap());
        assert_eq!((maxima, record.last_answer_ns), ([0.5, 0.03], Some(600)));
    }

    #[test]
    fn calls_that_never_left_are_counted_where_they_were_due() {
        let mut ledger = ledger(100);
        [99, 100, 200, 299].into_iter().for_each(|due| ledger.never_sent(due));
        let record = ledger.record();
        assert_eq!((record.whole.sent, record.unsent, ledger.open()), (3, 3, 0));
        assert_eq!([record.parts[0].sent, record.parts[1].sent], [1, 2]);
    }

    #[test]
    fn unknown_and_second_answers_are_errors_of_their_own() {
        let mut ledger = ledger(u64::MAX);
        ledger.settle(Some(7), Outcome::Good, 10);
        assert_eq!(ledger.record().unexpected, 0, "nothing counts yet");
        ledger.count_from(0, 100);
        let id = ledger.issue(0, 0);
        for answer in [Some(id), Some(id), Some(id + 1), None] {
            ledger.settle(answer, Outcome::Good, 20);
        }
        let record = ledger.record();
        assert_eq!((record.answered, record.whole.good(), record.whole.errors, record.unexpected), (1, 1, 3, 3));
    }

    #[test]
    fn the_first_texts_are_kept_and_the_rest_only_counted() {
        let mut ledger = ledger(0);
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
            let mut ledger = ledger(0);
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
            let counts = |tally: &Tally| [tally.sent, tally.good(), tally.errors, tally.shed];
            let [sent, good, errors, shed] = counts(&record.whole);
            prop_assert_eq!(sent, record.answered + ledger.open_counted() as u64);
            prop_assert_eq!(record.answered, good + errors + shed);
            prop_assert_eq!(record.shed_latency.len(), shed);
            for places in [&record.calls, &record.parts] {
                let sums = places.iter().map(counts).reduce(|a, b| std::array::from_fn(|i| a[i] + b[i]));
                prop_assert_eq!(sums, Some(counts(&record.whole)));
            }
            prop_assert_eq!(counts(&ledger.take_recent()), [sent, good, errors, shed]);
            prop_assert_eq!(counts(&ledger.take_recent()), [0; 4]);
        }
    }
}
