//! The journal's file, as its one writer per server sees it. SQLite in WAL mode: several servers append to one file, and
//! a transaction that was committed survives a killed server. What must not leave the process is taken out here.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::config::{Fsync, Retention};
use crate::events::Event;
use crate::failpoint::{Injected, points};
use crate::redact;

/// Another server's transaction is waited for so long; they take milliseconds.
const BUSY: Duration = Duration::from_secs(5);

/// The version of the tables below, in `user_version`.
pub(super) const SCHEMA: i64 = 1;

const TABLES: &str = "
    CREATE TABLE boots (
        boot        INTEGER PRIMARY KEY AUTOINCREMENT,
        name        TEXT NOT NULL UNIQUE,
        next_seq    INTEGER NOT NULL,
        last_number INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE events (
        number         INTEGER PRIMARY KEY AUTOINCREMENT,
        boot           INTEGER NOT NULL,
        seq            INTEGER NOT NULL,
        offset         INTEGER NOT NULL,
        id             INTEGER NOT NULL,
        at_us          INTEGER NOT NULL,
        class          TEXT NOT NULL,
        kind           TEXT NOT NULL,
        stream         TEXT NOT NULL,
        trace_id       TEXT,
        correlation_id TEXT,
        causation_id   INTEGER,
        data           TEXT NOT NULL
    ) STRICT;
    PRAGMA user_version = 1;
";

/// Old events that one transaction deletes at most, besides twice as many as it adds.
const TRIM: i64 = 1024;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file refuses.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A drill says so.
    #[error(transparent)]
    Injected(#[from] Injected),
}

/// See the module documentation.
#[derive(Debug)]
pub struct JournalFile {
    connection: Connection,
    /// This run of the server: its number in the file, and its name.
    boot: i64,
    name: String,
    next_seq: i64,
    keep: Retention,
}

impl JournalFile {
    /// Opens the file `path`, or makes it, for the run of the server called `name`.
    ///
    /// # Errors
    /// What SQLite says; also when a newer version has written it.
    pub fn open(path: &Path, name: &str, fsync: Fsync, keep: Retention) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", fsync.pragma())?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match transaction.query_row("PRAGMA user_version", [], |row| row.get(0))? {
            0 => transaction.execute_batch(TABLES)?,
            SCHEMA => {}
            // Never written by this version: what it means is not for us to guess.
            version => return Err(rusqlite::Error::IntegralValueOutOfRange(0, version)),
        }
        transaction.execute(
            "INSERT INTO boots (name, next_seq, last_number) VALUES (?1, 0, 0) ON CONFLICT (name) DO NOTHING",
            [name],
        )?;
        let known = "SELECT boot, next_seq FROM boots WHERE name = ?1";
        let (boot, next_seq) = transaction.query_row(known, [name], |row| Ok((row.get(0)?, row.get(1)?)))?;
        transaction.commit()?;
        Ok(Self { connection, boot, name: name.to_owned(), next_seq, keep })
    }

    /// How many events of this run of the server were ever written.
    pub fn next_seq(&self) -> i64 {
        self.next_seq
    }

    /// Writes `events` and deletes what is too old, both or neither. After an error it is not known which: open the
    /// file anew and look at [`JournalFile::next_seq`].
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn append<'a>(&mut self, events: impl Iterator<Item = &'a Event>, now_us: i64) -> Result<(), WriteError> {
        points::JOURNAL_INSERT.hit_for(&self.name)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = self.next_seq;
        let after = insert(&transaction, self.boot, before, events)?;
        points::JOURNAL_TRIM.hit_for(&self.name)?;
        trim(&transaction, self.keep, after - before, now_us)?;
        points::JOURNAL_COMMIT.hit_for(&self.name)?;
        transaction.commit()?;
        points::JOURNAL_COMMITTED.hit_for(&self.name)?;
        self.next_seq = after;
        Ok(())
    }
}

fn insert<'a>(
    transaction: &Transaction<'_>,
    boot: i64,
    mut seq: i64,
    events: impl Iterator<Item = &'a Event>,
) -> rusqlite::Result<i64> {
    let mut row = transaction.prepare_cached(
        "INSERT INTO events (boot, seq, offset, id, at_us, class, kind, stream, trace_id, correlation_id, causation_id, \
         data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    for event in events {
        row.execute(params![
            boot,
            seq,
            integer(event.offset),
            integer(event.id),
            event.at_us,
            event.class.as_str(),
            event.kind,
            redact::text(&event.stream),
            event.trace_id.as_deref().map(redact::text),
            event.correlation_id.as_deref().map(redact::text),
            event.causation_id.map(integer),
            String::from_utf8_lossy(&redact::json_line(event.data.as_bytes())),
        ])?;
        seq += 1;
    }
    let last = transaction.last_insert_rowid();
    let mut noted = transaction.prepare_cached("UPDATE boots SET next_seq = ?2, last_number = ?3 WHERE boot = ?1")?;
    noted.execute(params![boot, seq, last])?;
    Ok(seq)
}

/// As SQLite has them: nothing of ours is counted further.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Deletes from the oldest end, so that what is left has no gaps.
fn trim(transaction: &Transaction<'_>, keep: Retention, added: i64, now_us: i64) -> rusqlite::Result<()> {
    let one = |sql: &str| transaction.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0));
    let (first, last) = (one("SELECT min(number) FROM events")?, one("SELECT max(number) FROM events")?);
    let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
    let used_pages = one("PRAGMA page_count")?.unwrap_or(0) - one("PRAGMA freelist_count")?.unwrap_or(0);
    let used = used_pages * one("PRAGMA page_size")?.unwrap_or(0);
    // Never what was just written.
    let most = (first + TRIM + 2 * added).min(last + 1 - added);
    let too_many = (last + 1).saturating_sub(integer(keep.rows));
    let too_large = if used > integer(keep.bytes) { most } else { 0 };
    let young = i64::try_from(keep.age.as_micros()).map_or(i64::MIN, |age| now_us.saturating_sub(age));
    let first_young = "SELECT min(number) FROM events WHERE number < ?1 AND at_us >= ?2";
    let first_young: Option<i64> =
        transaction.prepare_cached(first_young)?.query_row(params![most, young], |row| row.get(0))?;
    let cut = too_many.max(too_large).max(first_young.unwrap_or(most)).min(most);
    if cut > first {
        transaction.prepare_cached("DELETE FROM events WHERE number < ?1")?.execute([cut])?;
        transaction.prepare_cached("DELETE FROM boots WHERE last_number < ?1 AND last_number > 0")?.execute([cut])?;
    }
    Ok(())
}
