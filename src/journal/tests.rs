//! The journal written and read, with failures of every sort in between.

use std::path::Path;
use std::time::{Duration, Instant};

use super::file::JournalFile;
use super::*;
use crate::config::{Fsync, JournalPolicy, Retention};
use crate::events::{Class, Event, Hub};
use crate::failpoint::{Action, Failpoint, Plan, points};

const KEEP: Retention = Retention { rows: 1_000_000, age: Duration::from_secs(3600), bytes: 1 << 30 };

const POINTS: [&Failpoint; 4] =
    [&points::JOURNAL_INSERT, &points::JOURNAL_TRIM, &points::JOURNAL_COMMIT, &points::JOURNAL_COMMITTED];

fn event(kind: &'static str, at_us: i64) -> Event {
    Event { at_us, ..Event::new(kind, "root/tools/t".into(), Class::Critical) }
}

fn file(folder: &Path, boot: &str, keep: Retention) -> JournalFile {
    JournalFile::open(&folder.join(FILE), boot, Fsync::Batch, keep).unwrap()
}

fn reader(folder: &Path) -> Reader {
    Reader::open(&folder.join(FILE)).unwrap()
}

#[test]
fn what_is_written_is_read_back_whole_and_by_what_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let first = Event { id: 7, offset: 6, trace_id: Some("t".into()), ..event("a", 10) }.with_data("{}".to_owned());
    let second = Event { causation_id: Some(7), correlation_id: Some("c".into()), ..event("b", 20) };
    file(folder.path(), "one", KEEP).append([&first, &second].into_iter(), 30).unwrap();
    file(folder.path(), "two", KEEP).append([&event("a", 15)].into_iter(), 30).unwrap();
    let reader = reader(folder.path());
    let all = reader.entries(&Query::default(), 10).unwrap();
    let entry = Entry {
        number: 1,
        boot: "one".to_owned(),
        seq: 0,
        offset: 6,
        id: 7,
        at_us: 10,
        class: "critical".to_owned(),
        kind: "a".to_owned(),
        stream: "root/tools/t".to_owned(),
        trace_id: Some("t".to_owned()),
        correlation_id: None,
        causation_id: None,
        data: "{}".to_owned(),
    };
    assert_eq!(all[0], entry);
    assert_eq!((all[1].causation_id, all[1].correlation_id.as_deref()), (Some(7), Some("c")));
    let numbers =
        |query: &Query, most| reader.entries(query, most).unwrap().iter().map(|entry| entry.number).collect::<Vec<_>>();
    assert_eq!(numbers(&Query::default(), 2), [1, 2]);
    assert_eq!(numbers(&Query { from: 2, ..Query::default() }, 10), [2, 3]);
    assert_eq!(numbers(&Query { since_us: Some(15), ..Query::default() }, 10), [2, 3]);
    assert_eq!(numbers(&Query { kinds: vec!["a".to_owned(), "x".to_owned()], ..Query::default() }, 10), [1, 3]);
    assert_eq!(numbers(&Query { trace_id: Some("t".to_owned()), ..Query::default() }, 10), [1]);
    let verdict = reader.check().unwrap();
    assert_eq!((verdict.events, verdict.boots, verdict.gaps), (3, 2, vec![]));
}

#[test]
fn a_gap_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let events: Vec<Event> = (0..5).map(|_| event("k", 0)).collect();
    file(folder.path(), "one", KEEP).append(events.iter(), 0).unwrap();
    let delete = |number: i64| {
        let connection = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
        connection.execute("DELETE FROM events WHERE number = ?1", [number]).unwrap();
        reader(folder.path()).check().unwrap().gaps
    };
    assert!(delete(1).is_empty(), "the oldest may go");
    assert!(delete(3)[0].contains("5 events were written, 3 are there, from 1 to 4"));
}

/// What is left after 100 pages of 100 events, a second each.
fn left_of_10_000(keep: Retention) -> Vec<i64> {
    let folder = tempfile::tempdir().unwrap();
    let mut file = file(folder.path(), "one", keep);
    for page in 0..100_i64 {
        let at_us = page * 1_000_000;
        let events: Vec<Event> = (0..100).map(|_| event("k", at_us).with_data("x".repeat(500))).collect();
        file.append(events.iter(), at_us).unwrap();
    }
    let reader = reader(folder.path());
    assert!(reader.check().unwrap().gaps.is_empty());
    reader.entries(&Query::default(), usize::MAX).unwrap().iter().map(|entry| entry.seq).collect()
}

#[test]
fn what_is_too_old_too_many_or_too_large_goes_from_the_oldest_on() {
    assert_eq!(left_of_10_000(KEEP).len(), 10_000);
    assert_eq!(left_of_10_000(Retention { rows: 250, ..KEEP }), (9750..10_000).collect::<Vec<_>>());
    let young = left_of_10_000(Retention { age: Duration::from_secs(3), ..KEEP });
    assert_eq!(young, (9600..10_000).collect::<Vec<_>>(), "from the 96th second on");
    let small = left_of_10_000(Retention { bytes: 1 << 20, ..KEEP });
    assert!((1..2000).contains(&small.len()), "{}", small.len());
}

/// Publishes in three parts, with `plan` armed at `point` for the second; returns what the journal holds.
fn interrupted(point: &Failpoint, action: Action, boot: &str) -> Vec<i64> {
    let folder = tempfile::tempdir().unwrap();
    let mut hub = Hub::new(0.9);
    let policy = JournalPolicy { journaled: Some(Class::Low), fsync: Fsync::Batch, keep: KEEP };
    let events = hub.subscribe(Class::Low, WAITING, None);
    let journal = Journal::start(folder.path().to_owned(), boot.to_owned(), policy, events).unwrap();
    // As young as they are, or they go as too old.
    let now_us = chrono::Utc::now().timestamp_micros();
    let part = |hub: &mut Hub| (0..10).for_each(|_| hub.take(vec![event("k", now_us); 5]));
    let written = |least: usize| {
        let patience = Instant::now() + Duration::from_secs(30);
        let held =
            || Reader::open(&folder.path().join(FILE)).and_then(|reader| reader.entries(&Query::default(), 1000));
        while held().map_or(0, |held| held.len()) < least {
            assert!(Instant::now() < patience, "the journal is not written");
            std::thread::yield_now();
        }
    };
    part(&mut hub);
    written(50);
    let acted = point.acted();
    point.arm(Plan { action, only: Some(boot.to_owned()), skip: 0, times: 1 });
    part(&mut hub);
    written(100);
    assert!(point.acted() > acted, "{} was not passed", point.name);
    part(&mut hub);
    hub.close();
    journal.finish(Duration::from_secs(30));
    let reader = reader(folder.path());
    assert_eq!(reader.check().unwrap().gaps, Vec::<String>::new(), "{}", point.name);
    reader.entries(&Query::default(), 1000).unwrap().iter().map(|entry| entry.offset).collect()
}

#[test]
fn whatever_fails_in_between_each_event_is_written_once_and_in_order() {
    for (number, point) in POINTS.into_iter().enumerate() {
        for action in [Action::Fail, Action::Panic] {
            let boot = format!("journal test {number} {action:?}");
            assert_eq!(interrupted(point, action, &boot), (0..150).collect::<Vec<_>>(), "{} {action:?}", point.name);
        }
    }
}

#[test]
fn what_the_journal_could_not_take_is_counted_where_it_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let mut hub = Hub::new(0.9);
    let policy = JournalPolicy { journaled: Some(Class::Low), fsync: Fsync::Never, keep: KEEP };
    let events = hub.subscribe(Class::Low, 4, None);
    (0..10).for_each(|_| hub.take(vec![event("k", 0); 5]));
    let journal = Journal::start(folder.path().to_owned(), "one".to_owned(), policy, events).unwrap();
    hub.close();
    journal.finish(Duration::from_secs(30));
    let entries = reader(folder.path()).entries(&Query::default(), 100).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.offset).take(20).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    let last = &entries[20..];
    assert_eq!((last.len(), last[0].kind.as_str(), last[0].data.as_str()), (1, "events_lost", r#"{"count":30}"#));
}
