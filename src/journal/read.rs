//! The journal read, also while servers write it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row, params_from_iter, types::Value};

use super::file::SCHEMA;

/// A writer is waited for so long, when it just starts the file anew.
const BUSY: Duration = Duration::from_secs(5);

/// One event as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the journal, over all servers.
    pub number: i64,
    /// The run of the server that wrote it.
    pub boot: String,
    /// Its place among what that run has written.
    pub seq: i64,
    /// Its place among that run's events.
    pub offset: i64,
    /// Its name among them.
    pub id: i64,
    /// When it was published, in microseconds since 1970.
    pub at_us: i64,
    /// How much it matters.
    pub class: String,
    /// What happened.
    pub kind: String,
    /// Whom it happened to.
    pub stream: String,
    /// The ContextFrame's `reason_trace_id` of the call concerned.
    pub trace_id: Option<String>,
    /// What it is about.
    pub correlation_id: Option<String>,
    /// The event of the same run that it followed from.
    pub causation_id: Option<i64>,
    /// Details, a JSON object or nothing.
    pub data: String,
}

/// Which events are wanted; of all by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// With at least this number.
    pub from: i64,
    /// Not before this time, in microseconds since 1970.
    pub since_us: Option<i64>,
    /// Of these kinds, unless there is none.
    pub kinds: Vec<String>,
    /// With this trace id.
    pub trace_id: Option<String>,
}

/// What the journal comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Events in it.
    pub events: i64,
    /// Runs of servers that wrote them.
    pub boots: i64,
    /// Where events are missing that were written, in words.
    pub gaps: Vec<String>,
}

/// The open journal.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Opens the journal `path` for reading only.
    ///
    /// # Errors
    /// What SQLite says; also when a newer version has written it.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(BUSY)?;
        match connection.query_row("PRAGMA user_version", [], |row| row.get(0))? {
            SCHEMA => Ok(Self { connection }),
            version => Err(rusqlite::Error::IntegralValueOutOfRange(0, version)),
        }
    }

    /// The first `most` events that `query` asks for, in the order they were written.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn entries(&self, query: &Query, most: usize) -> rusqlite::Result<Vec<Entry>> {
        let mut conditions = vec!["number >= ?".to_owned()];
        let mut values = vec![Value::from(query.from)];
        if let Some(since_us) = query.since_us {
            conditions.push("at_us >= ?".to_owned());
            values.push(since_us.into());
        }
        if let Some(trace_id) = &query.trace_id {
            conditions.push("trace_id = ?".to_owned());
            values.push(trace_id.clone().into());
        }
        if !query.kinds.is_empty() {
            conditions.push(format!("kind IN ({})", vec!["?"; query.kinds.len()].join(", ")));
            values.extend(query.kinds.iter().cloned().map(Value::from));
        }
        values.push(i64::try_from(most).unwrap_or(i64::MAX).into());
        let sql = format!(
            "SELECT number, name, seq, offset, id, at_us, class, kind, stream, trace_id, correlation_id, causation_id, data \
             FROM events JOIN boots USING (boot) WHERE {} ORDER BY number LIMIT ?",
            conditions.join(" AND ")
        );
        self.connection.prepare_cached(&sql)?.query_map(params_from_iter(values), entry)?.collect()
    }

    /// The number of the oldest event that is kept, if there is any.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn oldest(&self) -> rusqlite::Result<Option<i64>> {
        self.connection.query_row("SELECT min(number) FROM events", [], |row| row.get(0))
    }

    /// Whether what each run of a server has written is there without a gap, up to its end.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn check(&self) -> rusqlite::Result<Verdict> {
        let sql = "SELECT boots.name, boots.next_seq, count(seq), min(seq), max(seq) \
                   FROM boots LEFT JOIN events USING (boot) GROUP BY boots.boot ORDER BY boots.boot";
        let mut statement = self.connection.prepare(sql)?;
        let mut verdict = Verdict::default();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (name, next_seq, count): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            verdict.events += count;
            verdict.boots += i64::from(next_seq > 0);
            let (Some(first), Some(last)) = (row.get::<_, Option<i64>>(3)?, row.get::<_, Option<i64>>(4)?) else {
                continue;
            };
            if last + 1 - first != count || last + 1 != next_seq {
                let written = format!("{next_seq} events were written, {count} are there, from {first} to {last}");
                verdict.gaps.push(format!("boot {name}: {written}"));
            }
        }
        Ok(verdict)
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        number: row.get(0)?,
        boot: row.get(1)?,
        seq: row.get(2)?,
        offset: row.get(3)?,
        id: row.get(4)?,
        at_us: row.get(5)?,
        class: row.get(6)?,
        kind: row.get(7)?,
        stream: row.get(8)?,
        trace_id: row.get(9)?,
        correlation_id: row.get(10)?,
        causation_id: row.get(11)?,
        data: row.get(12)?,
    })
}
