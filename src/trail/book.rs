//! The trail on disk: SQLite in WAL mode, shared by all servers of a user.
//!
//! What is hashed is the text of an entry, and nothing else is said of it outside of that text. Arguments that are kept
//! stand beside it, where they can be removed; their digest is in the entry.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};

use super::chain::Head;
use super::entry::{CallEntry, Entry};
use crate::config::AuditPolicy;

/// Another server's transaction is waited for so long; they take milliseconds.
const BUSY: Duration = Duration::from_secs(5);

/// The version of the tables below, in `user_version`.
const SCHEMA: i64 = 1;

const TABLES: &str = "
    CREATE TABLE entries (seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, entry TEXT NOT NULL, hash BLOB NOT NULL) STRICT;
    CREATE INDEX entries_by_call ON entries (json_extract(entry, '$.call_id'));
    CREATE TABLE kept (seq INTEGER PRIMARY KEY, arguments TEXT NOT NULL) STRICT;
    CREATE TABLE removed (only INTEGER PRIMARY KEY CHECK (only = 0), seq INTEGER NOT NULL, hash BLOB NOT NULL) STRICT;
    PRAGMA user_version = 1;
";

/// Entries that are removed at once, so that no other server waits for long.
const REMOVE: i64 = 1000;

/// See the module documentation.
pub struct Book {
    connection: Connection,
}

/// What a look at the whole chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Where the oldest entry hangs on: what was before it, retention has removed.
    pub start: Head,
    /// The newest entry.
    pub head: Head,
    /// Calls, and entries that stand for lost ones.
    pub calls: u64,
    /// Entries that were lost, as counted then.
    pub lost: u64,
    /// The first break, in words.
    pub broken: Option<String>,
}

impl Book {
    /// Opens the file `path` for writing, or makes it.
    ///
    /// # Errors
    /// What SQLite says; also when a newer version has written it.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What was committed survives a killed server. A power cut may take the last moments; FULL would cost a sync each.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match transaction.query_row("PRAGMA user_version", [], |row| row.get(0))? {
            0 => transaction.execute_batch(TABLES)?,
            SCHEMA => {}
            // Never written by this version: what it means is not for us to guess.
            version => return Err(rusqlite::Error::IntegralValueOutOfRange(0, version)),
        }
        transaction.commit()?;
        Ok(Self { connection })
    }

    /// Opens the file `path` for reading; `None` if there is none.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn read(path: &Path) -> rusqlite::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        // For writing, too, as far as SQLite is concerned: a log that a killed server has left must be taken in.
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(BUSY)?;
        match connection.query_row("PRAGMA user_version", [], |row| row.get(0))? {
            SCHEMA => Ok(Some(Self { connection })),
            version => Err(rusqlite::Error::IntegralValueOutOfRange(0, version)),
        }
    }

    /// Adds entries, each with the arguments that are to be kept beside it, and removes what is too old or too much.
    ///
    /// # Errors
    /// What SQLite says; then none of them is written.
    pub fn add(
        &mut self,
        entries: &[(i64, String, Option<String>)],
        now_ms: i64,
        keep: &AuditPolicy,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut head = head(&transaction)?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO entries VALUES (?1, ?2, ?3, ?4)")?;
            let mut keep = transaction.prepare_cached("INSERT INTO kept VALUES (?1, ?2)")?;
            for (at_ms, entry, arguments) in entries {
                head = head.with(entry);
                insert.execute(params![head.seq, at_ms, entry, head.hash])?;
                if let Some(arguments) = arguments {
                    keep.execute(params![head.seq, arguments])?;
                }
            }
        }
        if let Some(removed) = due(&transaction, head, now_ms, keep)? {
            transaction.execute("DELETE FROM entries WHERE seq <= ?1", [removed.seq])?;
            transaction.execute("DELETE FROM kept WHERE seq <= ?1", [removed.seq])?;
            transaction
                .execute("INSERT OR REPLACE INTO removed VALUES (0, ?1, ?2)", params![removed.seq, removed.hash])?;
        }
        transaction.commit()
    }

    /// The newest entry's place in the chain.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn head(&self) -> rusqlite::Result<Head> {
        head(&self.connection)
    }

    /// The entry of a call, its number, and its arguments if they were kept.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn call(&self, call_id: &str) -> rusqlite::Result<Option<(i64, CallEntry, Option<String>)>> {
        let sql = "SELECT seq, entry, (SELECT arguments FROM kept WHERE kept.seq = entries.seq) FROM entries
                   WHERE json_extract(entry, '$.call_id') = ?1";
        let found = self.connection.query_row(sql, [call_id], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?))
        });
        let Some((seq, entry, arguments)) = found.optional()? else { return Ok(None) };
        match serde_json::from_str(&entry) {
            Ok(Entry::Call(call)) => Ok(Some((seq, *call, arguments))),
            _ => Ok(None),
        }
    }

    /// Hands each entry with its number to `each`, the newest first, until that has enough.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn each(&self, each: &mut dyn FnMut(i64, &str) -> bool) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare("SELECT seq, entry FROM entries ORDER BY seq DESC")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let entry: String = row.get(1)?;
            if !each(row.get(0)?, &entry) {
                break;
            }
        }
        Ok(())
    }

    /// Looks at the whole chain. `noted` are heads that somebody has noted: the chain must go through each.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn verify(&self, noted: &[Head]) -> rusqlite::Result<Verdict> {
        let start = removed(&self.connection)?;
        let mut verdict = Verdict { start, head: start, calls: 0, lost: 0, broken: None };
        let mut statement = self.connection.prepare("SELECT seq, hash, entry FROM entries ORDER BY seq")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (stands, entry): (Head, String) = (place(row)?, row.get(2)?);
            let expected = verdict.head.with(&entry);
            let parsed = serde_json::from_str(&entry);
            let noted = noted.iter().find(|noted| noted.seq == stands.seq);
            verdict.broken = if stands.seq != expected.seq {
                Some(format!("after entry {} comes {}: what was between is gone", verdict.head.seq, stands.seq))
            } else if stands.hash != expected.hash {
                Some(format!("entry {} is not what was written, or follows another than it did", stands.seq))
            } else if noted.is_some_and(|noted| *noted != stands) {
                Some(format!("entry {} has another hash than was noted: the trail was written anew", stands.seq))
            } else {
                parsed.as_ref().err().map(|error| format!("entry {} cannot be read: {error}", stands.seq))
            };
            if verdict.broken.is_some() {
                return Ok(verdict);
            }
            verdict.head = expected;
            match parsed {
                Ok(Entry::Lost { entries, .. }) => verdict.lost += entries,
                _ => verdict.calls += 1,
            }
        }
        if let Some(noted) = noted.iter().find(|noted| noted.seq > verdict.head.seq) {
            verdict.broken = Some(format!(
                "the trail ends with entry {}, and entry {} was noted: the newest are gone",
                verdict.head.seq, noted.seq
            ));
        }
        Ok(verdict)
    }
}

/// The last of the entries that are to be removed now, if any are: the oldest of those that are too old or too many.
fn due(connection: &Connection, head: Head, now_ms: i64, keep: &AuditPolicy) -> rusqlite::Result<Option<Head>> {
    let first = removed(connection)?.seq + 1;
    let too_many = head.seq - i64::try_from(keep.entries).unwrap_or(i64::MAX);
    let oldest_ms = now_ms - i64::try_from(keep.age.as_millis()).unwrap_or(i64::MAX);
    let young = "SELECT seq FROM entries WHERE at_ms >= ?1 ORDER BY seq LIMIT 1";
    let young: Option<i64> = connection.prepare_cached(young)?.query_row([oldest_ms], |row| row.get(0)).optional()?;
    let too_old = young.unwrap_or(head.seq + 1) - 1;
    let last = too_many.max(too_old).min(first + REMOVE - 1);
    match last < first {
        true => Ok(None),
        false => connection.query_row("SELECT seq, hash FROM entries WHERE seq = ?1", [last], place).optional(),
    }
}

fn place(row: &Row<'_>) -> rusqlite::Result<Head> {
    Ok(Head { seq: row.get(0)?, hash: row.get(1)? })
}

fn removed(connection: &Connection) -> rusqlite::Result<Head> {
    let removed = connection.query_row("SELECT seq, hash FROM removed", [], place).optional()?;
    Ok(removed.unwrap_or_default())
}

fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let newest = "SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1";
    match connection.prepare_cached(newest)?.query_row([], place).optional()? {
        Some(head) => Ok(head),
        None => removed(connection),
    }
}
