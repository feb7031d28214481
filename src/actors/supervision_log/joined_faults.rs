//! Faults of single calls, joined: the first of a kind and worker is passed on at once, those of the following second as
//! one record with their count. Pure: the time is an argument.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Record;

/// Window in which the call faults of one kind and worker become one record.
const WINDOW: Duration = Duration::from_secs(1);

/// Whose faults, and of which kind.
type Key = (Arc<str>, &'static str);

/// What is held back.
#[derive(Default)]
pub struct JoinedFaults {
    held: BTreeMap<Key, Held>,
}

struct Held {
    /// When the second ends.
    until: Instant,
    /// The last of the faults, with the count.
    last: Option<Record>,
}

impl JoinedFaults {
    /// Takes a record and returns what is to be written now, in this order.
    pub fn take(&mut self, record: Record, now: Instant) -> Vec<Record> {
        if record.event != "call_faulted" {
            // What was held back of it, or of its workers, happened before: it is written first.
            let below = format!("{}/", record.path);
            let of_it = |path: &str| path == &*record.path || path.starts_with(&below);
            let held = self.held.iter_mut().filter(|((path, _), _)| of_it(path));
            let before: Vec<Record> = held.filter_map(|(_, held)| held.last.take()).collect();
            return before.into_iter().chain([record]).collect();
        }
        let key = (Arc::clone(&record.path), record.reason.as_ref().map_or("", |reason| reason.kind));
        if let Some(held) = self.held.get_mut(&key).filter(|held| now < held.until) {
            let count = held.last.as_ref().and_then(|last| last.count).unwrap_or(0) + 1;
            held.last = Some(Record { count: Some(count), ..record });
            return Vec::new();
        }
        let mut written = self.release(Some(now));
        self.held.insert(key, Held { until: now + WINDOW, last: None });
        written.push(Record { count: Some(1), ..record });
        written
    }

    /// What is due at `now`; everything when `None`.
    pub fn release(&mut self, now: Option<Instant>) -> Vec<Record> {
        let mut due = Vec::new();
        self.held.retain(|_, held| {
            let keep = now.is_some_and(|now| now < held.until);
            if !keep {
                due.extend(held.last.take());
            }
            keep
        });
        due
    }

    /// When something is due next.
    pub fn next_due(&self) -> Option<Instant> {
        self.held.values().map(|held| held.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(path: &str) -> Record {
        Record { level: Some("L1"), ..Record::new("call_faulted", path.into()) }
    }

    fn seen(records: &[Record]) -> Vec<(&str, &str, Option<u64>)> {
        records.iter().map(|record| (record.event, &*record.path, record.count)).collect()
    }

    #[test]
    fn the_first_goes_at_once_and_the_rest_of_the_second_as_one() {
        let (mut faults, start) = (JoinedFaults::default(), Instant::now());
        assert_eq!(seen(&faults.take(fault("a"), start)), [("call_faulted", "a", Some(1))]);
        for _ in 0..9 {
            assert!(faults.take(fault("a"), start).is_empty());
        }
        assert_eq!(faults.next_due(), Some(start + WINDOW));
        assert!(faults.release(Some(start + WINDOW / 2)).is_empty());
        assert_eq!(seen(&faults.release(Some(start + WINDOW))), [("call_faulted", "a", Some(9))]);
        assert_eq!(faults.next_due(), None);
    }

    #[test]
    fn what_happened_before_an_exit_is_written_before_it() {
        let (mut faults, start) = (JoinedFaults::default(), Instant::now());
        faults.take(fault("a"), start);
        faults.take(fault("b"), start);
        faults.take(fault("a"), start);
        faults.take(fault("b"), start);
        let exit = Record::new("child_exited", "a".into());
        assert_eq!(seen(&faults.take(exit, start)), [("call_faulted", "a", Some(1)), ("child_exited", "a", None)]);
        assert_eq!(seen(&faults.release(None)), [("call_faulted", "b", Some(1))]);
    }

    #[test]
    fn faults_of_different_kinds_are_counted_apart_and_stand_before_what_came_of_them() {
        let (mut faults, start) = (JoinedFaults::default(), Instant::now());
        let of_kind = |kind| Record { reason: Some(super::super::Reason::new(kind, None, "")), ..fault("t/w0") };
        for kind in ["trap", "deadline", "trap", "trap", "deadline"] {
            faults.take(of_kind(kind), start);
        }
        let opened = Record { level: Some("L1"), count: Some(20), ..Record::new("breaker_open", "t".into()) };
        let written = faults.take(opened, start);
        let kinds: Vec<_> =
            written.iter().filter_map(|record| Some((record.reason.as_ref()?.kind, record.count))).collect();
        assert_eq!(kinds, [("deadline", Some(1)), ("trap", Some(2))]);
        assert_eq!(seen(&written[2..]), [("breaker_open", "t", Some(20))]);
    }

    #[test]
    fn a_new_second_writes_what_the_last_one_held() {
        let (mut faults, start) = (JoinedFaults::default(), Instant::now());
        faults.take(fault("a"), start);
        faults.take(fault("a"), start);
        let written = faults.take(fault("a"), start + WINDOW);
        assert_eq!(seen(&written), [("call_faulted", "a", Some(1)), ("call_faulted", "a", Some(1))]);
    }
}
