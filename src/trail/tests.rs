//! The chain on disk: what breaks it, what does not, and several servers that write it.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::book::Book;
use super::chain::Head;
use crate::config::{AuditMode, AuditPolicy};

fn keep(entries: u64) -> AuditPolicy {
    AuditPolicy { mode: AuditMode::All, keep_arguments: true, entries, age: Duration::from_secs(3600) }
}

fn lost(number: u64) -> String {
    format!(r#"{{"at_ms":0,"entries":{number},"kind":"lost","server":"s"}}"#)
}

/// Adds entries one by one, all of the time `now_ms`.
fn add(book: &mut Book, numbers: std::ops::Range<u64>, now_ms: i64, keep: &AuditPolicy) {
    for number in numbers {
        book.add(&[(now_ms, lost(number), Some(number.to_string()))], now_ms, keep).unwrap();
    }
}

fn book_of(folder: &Path, entries: u64) -> Book {
    let mut book = Book::open(&folder.join("audit.db")).unwrap();
    add(&mut book, 0..entries, 0, &keep(1_000_000));
    book
}

fn breaks_after(sql: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let book = book_of(folder.path(), 10);
    let head = book.head().unwrap();
    Connection::open(folder.path().join("audit.db")).unwrap().execute_batch(sql).unwrap();
    book.verify(&[head]).unwrap().broken
}

#[test]
fn whatever_is_done_to_an_entry_is_found() {
    assert_eq!(breaks_after(""), None);
    for (sql, said) in [
        ("UPDATE entries SET entry = replace(entry, '4', '5') WHERE seq = 5", "entry 5 is not what was written"),
        ("DELETE FROM entries WHERE seq = 5", "after entry 4 comes 6"),
        ("DELETE FROM entries WHERE seq = 1", "after entry 0 comes 2"),
        ("DELETE FROM entries WHERE seq > 8", "the newest are gone"),
        (
            "UPDATE entries SET seq = 100 WHERE seq = 4; UPDATE entries SET seq = 4 WHERE seq = 5;
             UPDATE entries SET seq = 5 WHERE seq = 100",
            "entry 4 is not what was written",
        ),
        ("INSERT INTO entries SELECT 11, at_ms, entry, hash FROM entries WHERE seq = 10", "entry 11 is not what"),
        ("DELETE FROM entries WHERE seq <= 3; INSERT INTO removed VALUES (0, 3, zeroblob(32))", "entry 4 is not what"),
        ("DELETE FROM entries", "the newest are gone"),
    ] {
        let found = breaks_after(sql).unwrap_or_else(|| panic!("nothing is found after {sql}"));
        assert!(found.contains(said), "{sql}: {found}");
    }
}

#[test]
fn a_trail_written_anew_does_not_go_through_a_head_that_was_noted() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let noted = book_of(folder.path(), 5).head().unwrap();
    let mut forged = Book::open(&other.path().join("audit.db")).unwrap();
    add(&mut forged, 1..12, 0, &keep(1_000_000));
    assert_eq!(forged.verify(&[]).unwrap().broken, None);
    let found = forged.verify(&[noted]).unwrap().broken.unwrap();
    assert!(found.contains("written anew"), "{found}");
}

#[test]
fn what_is_too_much_or_too_old_goes_and_the_chain_stays_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = Book::open(&folder.path().join("audit.db")).unwrap();
    add(&mut book, 0..50, 0, &keep(20));
    let verdict = book.verify(&[]).unwrap();
    assert_eq!((verdict.start.seq, verdict.head.seq, &verdict.broken), (30, 50, &None));
    let later_ms = 3_600_001;
    add(&mut book, 0..1, later_ms, &keep(20));
    let verdict = book.verify(&[]).unwrap();
    assert_eq!((verdict.start.seq, verdict.head.seq, &verdict.broken), (50, 51, &None));
    let kept: i64 = Connection::open(folder.path().join("audit.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM kept", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 1, "arguments go with their entries");
}

#[test]
fn a_trail_of_which_all_has_gone_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = book_of(folder.path(), 3);
    let head = book.head().unwrap();
    book.add(&[], 10_000_000, &keep(1_000_000)).unwrap();
    assert_eq!(book.head().unwrap(), head);
    add(&mut book, 0..1, 10_000_000, &keep(1_000_000));
    assert_eq!(book.verify(&[]).unwrap().broken, None);
    assert_eq!(book.head().unwrap().seq, 4);
}

#[test]
fn several_writers_make_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = folder.path().join("audit.db");
            scope.spawn(move || {
                let mut book = Book::open(&path).unwrap();
                add(&mut book, writer * 100..writer * 100 + 50, 0, &keep(1_000_000));
            });
        }
    });
    let book = Book::read(&folder.path().join("audit.db")).unwrap().unwrap();
    let verdict = book.verify(&[book.head().unwrap()]).unwrap();
    assert_eq!((verdict.head.seq, verdict.broken), (200, None));
    assert_eq!(verdict.lost, (0..4).flat_map(|writer| writer * 100..writer * 100 + 50).sum::<u64>());
    assert_ne!(verdict.head, Head::default());
}

#[test]
fn arguments_that_are_removed_break_nothing() {
    assert_eq!(breaks_after("DELETE FROM kept"), None);
}
