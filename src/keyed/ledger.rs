//! What is known of each key, on disk.
//!
//! SQLite in WAL mode: several servers share one file, and a transaction that was committed survives both a killed server
//! and, as every commit is synced, a power cut.

use std::path::Path;
use std::time::Duration;

use crate::config::KeyPolicy;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

/// Another server's transaction is waited for so long; they take milliseconds.
const BUSY: Duration = Duration::from_secs(5);

/// The version of the tables below, in `user_version`.
const SCHEMA: i64 = 1;

const TABLES: &str = "
    CREATE TABLE calls (
        tenant     TEXT NOT NULL,
        key        TEXT NOT NULL,
        digest     BLOB NOT NULL,
        state      INTEGER NOT NULL,
        owner      TEXT NOT NULL,
        expires_ms INTEGER NOT NULL,
        answer     TEXT,
        PRIMARY KEY (tenant, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX calls_by_expiry ON calls (expires_ms);
    PRAGMA user_version = 1;
";

/// Keys are counted after so many new ones, as counting looks at each.
const COUNT_EVERY: u64 = 64;

const RUNNING: i64 = 0;
const DONE: i64 = 1;
const UNKNOWN: i64 = 2;

/// A call under a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Whose key it is: two tenants may use the same.
    pub tenant: String,
    /// The key.
    pub key: String,
    /// SHA-256 of what is to be called with what.
    pub digest: [u8; 32],
    /// Whether the tool may be run again when nobody knows whether it was.
    pub repeatable: bool,
}

/// What has become of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The call is to be made, by whoever asked.
    Run,
    /// It is being made, by somebody who is alive.
    Running,
    /// It was made; this is its answer.
    Done(String),
    /// The key was used for another call.
    Conflict,
    /// It was begun, and nobody knows how it ended.
    Unknown,
    /// As many keys are kept as may be.
    Full,
}

/// Who makes a call that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Somebody who is alive.
    Alive,
    /// Somebody who has died meanwhile.
    Dead,
    /// Nobody: it was written down, and never handed out.
    Nobody,
}

/// Where a server asks what it should do.
pub struct Asking<'a> {
    /// The name of this server.
    pub owner: &'a str,
    /// Whether the server of this name still makes this call.
    pub holder: &'a dyn Fn(&str, &Claim) -> Holder,
    /// Now, in Unix milliseconds.
    pub now_ms: i64,
    /// How much is kept.
    pub keep: KeyPolicy,
}

/// See the module documentation.
pub struct Ledger {
    connection: Connection,
    /// New keys since they were last counted.
    uncounted: u64,
}

/// Changes that reach the disk together.
pub struct Page<'a> {
    transaction: Transaction<'a>,
    uncounted: &'a mut u64,
}

impl Ledger {
    /// Opens the file `path`, or makes it.
    ///
    /// # Errors
    /// What SQLite says; also when a newer version has written it.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match transaction.query_row("PRAGMA user_version", [], |row| row.get(0))? {
            0 => transaction.execute_batch(TABLES)?,
            SCHEMA => {}
            // Never written by this version: what it means is not for us to guess.
            version => return Err(rusqlite::Error::IntegralValueOutOfRange(0, version)),
        }
        transaction.commit()?;
        Ok(Self { connection, uncounted: u64::MAX })
    }

    /// Begins a page; other servers' changes wait until it is committed or dropped.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn page(&mut self) -> rusqlite::Result<Page<'_>> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        Ok(Page { transaction, uncounted: &mut self.uncounted })
    }
}

impl Page<'_> {
    /// What is to be done about `claim`; when that is [`Begun::Run`], it is noted that the asking server does it.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn begin(&mut self, claim: &Claim, asking: &Asking<'_>) -> rusqlite::Result<Begun> {
        let sql = "SELECT digest, state, owner, expires_ms, answer FROM calls WHERE tenant = ?1 AND key = ?2";
        let known = self.transaction.prepare_cached(sql)?.query_row(params![claim.tenant, claim.key], |row| {
            Ok((
                row.get::<_, [u8; 32]>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, i64>(3)?,
                row.get::<_, Option<String>>(4)?,
            ))
        });
        let Some((digest, state, owner, expires_ms, answer)) = known.optional()? else {
            return self.begin_new(claim, asking);
        };
        let holder = (state == RUNNING).then(|| (asking.holder)(&owner, claim));
        let has_expired = holder != Some(Holder::Alive) && expires_ms <= asking.now_ms;
        if has_expired || holder == Some(Holder::Nobody) {
            return self.run(claim, asking);
        }
        if digest != claim.digest {
            return Ok(Begun::Conflict);
        }
        match (state, answer) {
            _ if holder == Some(Holder::Alive) => Ok(Begun::Running),
            (DONE, Some(answer)) => Ok(Begun::Done(answer)),
            _ if claim.repeatable => self.run(claim, asking),
            (UNKNOWN, _) => Ok(Begun::Unknown),
            _ => {
                self.set(claim, UNKNOWN, None, asking)?;
                Ok(Begun::Unknown)
            }
        }
    }

    /// The answer of a call that was begun here.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn finish(&self, claim: &Claim, answer: &str, asking: &Asking<'_>) -> rusqlite::Result<()> {
        self.set(claim, DONE, Some(answer), asking)
    }

    /// Nobody will know how a call that was begun here ended.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn give_up(&self, claim: &Claim, asking: &Asking<'_>) -> rusqlite::Result<()> {
        self.set(claim, UNKNOWN, None, asking)
    }

    /// A call that was begun here was not made after all.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn release(&self, claim: &Claim, asking: &Asking<'_>) -> rusqlite::Result<()> {
        let sql = "DELETE FROM calls WHERE tenant = ?1 AND key = ?2 AND owner = ?3 AND state = ?4";
        self.transaction.prepare_cached(sql)?.execute(params![claim.tenant, claim.key, asking.owner, RUNNING])?;
        Ok(())
    }

    /// Forgets what has expired; what is being run is not.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn forget(&self, asking: &Asking<'_>) -> rusqlite::Result<()> {
        let sql = "DELETE FROM calls WHERE expires_ms <= ?1 AND state != ?2";
        self.transaction.prepare_cached(sql)?.execute(params![asking.now_ms, RUNNING])?;
        Ok(())
    }

    /// Has all of it reach the disk.
    ///
    /// # Errors
    /// What SQLite says; then nothing of it has happened.
    pub fn commit(self) -> rusqlite::Result<()> {
        self.transaction.commit()
    }

    fn begin_new(&mut self, claim: &Claim, asking: &Asking<'_>) -> rusqlite::Result<Begun> {
        if *self.uncounted >= COUNT_EVERY.min(asking.keep.keys) {
            self.forget(asking)?;
            let count = self.transaction.query_row("SELECT count(*) FROM calls", [], |row| row.get::<_, i64>(0))?;
            if count.unsigned_abs() >= asking.keep.keys {
                return Ok(Begun::Full);
            }
            *self.uncounted = 0;
        }
        *self.uncounted += 1;
        self.run(claim, asking)
    }

    fn run(&self, claim: &Claim, asking: &Asking<'_>) -> rusqlite::Result<Begun> {
        let sql = "INSERT OR REPLACE INTO calls (tenant, key, digest, state, owner, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.transaction.prepare_cached(sql)?.execute(params![
            claim.tenant,
            claim.key,
            claim.digest,
            RUNNING,
            asking.owner,
            asking.expiry()
        ])?;
        Ok(Begun::Run)
    }

    fn set(&self, claim: &Claim, state: i64, answer: Option<&str>, asking: &Asking<'_>) -> rusqlite::Result<()> {
        let sql = "UPDATE calls SET state = ?3, answer = ?4, expires_ms = ?5 WHERE tenant = ?1 AND key = ?2";
        let values = params![claim.tenant, claim.key, state, answer, asking.expiry()];
        self.transaction.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }
}

impl Asking<'_> {
    fn expiry(&self) -> i64 {
        self.now_ms.saturating_add(i64::try_from(self.keep.ttl.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn keep(keys: u64) -> KeyPolicy {
        KeyPolicy { ttl: Duration::from_millis(HOUR_MS as u64), keys, answer_bytes: 1 << 20 }
    }

    struct Desk {
        folder: tempfile::TempDir,
        ledger: Ledger,
        now_ms: i64,
        dead: Vec<&'static str>,
        keys: u64,
    }

    impl Desk {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ledger = Ledger::open(&folder.path().join("calls.db")).unwrap();
            Self { folder, ledger, now_ms: 1_000_000, dead: Vec::new(), keys: 1000 }
        }

        fn ask<T>(&mut self, owner: &str, asked: impl FnOnce(&mut Page<'_>, &Asking<'_>) -> rusqlite::Result<T>) -> T {
            let dead = self.dead.clone();
            let keep = keep(self.keys);
            let holder = |id: &str, _: &Claim| if dead.contains(&id) { Holder::Dead } else { Holder::Alive };
            let asking = Asking { owner, holder: &holder, now_ms: self.now_ms, keep };
            let mut page = self.ledger.page().unwrap();
            let said = asked(&mut page, &asking).unwrap();
            page.commit().unwrap();
            said
        }

        fn begin(&mut self, owner: &str, claim: &Claim) -> Begun {
            self.ask(owner, |page, asking| page.begin(claim, asking))
        }

        fn finish(&mut self, owner: &str, claim: &Claim, answer: &str) {
            self.ask(owner, |page, asking| page.finish(claim, answer, asking));
        }
    }

    fn claim(key: &str) -> Claim {
        Claim { tenant: "t".to_owned(), key: key.to_owned(), digest: [1; 32], repeatable: false }
    }

    #[test]
    fn a_call_is_run_once_waited_for_and_then_answered_the_same() {
        let mut desk = Desk::new();
        assert_eq!(desk.begin("a", &claim("k")), Begun::Run);
        assert_eq!(desk.begin("a", &claim("k")), Begun::Running);
        assert_eq!(desk.begin("b", &claim("k")), Begun::Running, "another server waits for it too");
        desk.finish("a", &claim("k"), "answer");
        for owner in ["a", "b"] {
            assert_eq!(desk.begin(owner, &claim("k")), Begun::Done("answer".to_owned()));
        }
    }

    #[test]
    fn what_is_known_survives_the_server() {
        let mut desk = Desk::new();
        desk.begin("a", &claim("k"));
        desk.finish("a", &claim("k"), "answer");
        desk.ledger = Ledger::open(&desk.folder.path().join("calls.db")).unwrap();
        assert_eq!(desk.begin("b", &claim("k")), Begun::Done("answer".to_owned()));
    }

    #[test]
    fn another_call_under_the_same_key_is_a_conflict_and_another_tenants_key_is_another_key() {
        let mut desk = Desk::new();
        desk.begin("a", &claim("k"));
        let other_call = Claim { digest: [2; 32], ..claim("k") };
        assert_eq!(desk.begin("a", &other_call), Begun::Conflict);
        desk.finish("a", &claim("k"), "answer");
        assert_eq!(desk.begin("a", &other_call), Begun::Conflict);
        assert_eq!(desk.begin("a", &Claim { tenant: "u".to_owned(), ..other_call }), Begun::Run);
    }

    #[test]
    fn nobody_knows_the_end_of_a_call_whose_server_died_and_only_a_repeatable_one_is_made_again() {
        let mut desk = Desk::new();
        let repeatable = Claim { repeatable: true, ..claim("repeatable") };
        desk.begin("a", &claim("k"));
        desk.begin("a", &repeatable);
        desk.dead.push("a");
        for _ in 0..2 {
            assert_eq!(desk.begin("b", &claim("k")), Begun::Unknown);
        }
        assert_eq!(desk.begin("b", &repeatable), Begun::Run);
        assert_eq!(desk.begin("c", &repeatable), Begun::Running);
    }

    #[test]
    fn a_call_that_was_not_made_leaves_its_key_free() {
        let mut desk = Desk::new();
        desk.begin("a", &claim("k"));
        desk.ask("b", |page, asking| page.release(&claim("k"), asking));
        assert_eq!(desk.begin("b", &claim("k")), Begun::Running, "only who has begun it can say that");
        desk.ask("a", |page, asking| page.release(&claim("k"), asking));
        assert_eq!(desk.begin("b", &claim("k")), Begun::Run);
    }

    #[test]
    fn a_key_is_forgotten_when_its_time_is_over_unless_its_call_still_runs() {
        let mut desk = Desk::new();
        desk.begin("a", &claim("done"));
        desk.finish("a", &claim("done"), "answer");
        desk.begin("a", &claim("running"));
        desk.now_ms += HOUR_MS;
        assert_eq!(desk.begin("a", &claim("running")), Begun::Running);
        assert_eq!(desk.begin("a", &Claim { digest: [2; 32], ..claim("done") }), Begun::Run);
    }

    #[test]
    fn more_keys_than_may_be_kept_are_refused_until_some_expire() {
        let mut desk = Desk::new();
        desk.keys = 2;
        for key in ["1", "2"] {
            assert_eq!(desk.begin("a", &claim(key)), Begun::Run);
            desk.finish("a", &claim(key), "answer");
        }
        assert_eq!(desk.begin("a", &claim("3")), Begun::Full);
        assert_eq!(desk.begin("a", &claim("1")), Begun::Done("answer".to_owned()), "those there are go on");
        desk.now_ms += HOUR_MS;
        assert_eq!(desk.begin("a", &claim("3")), Begun::Run);
    }

    #[test]
    fn a_call_that_was_written_down_and_handed_to_nobody_is_free() {
        let mut desk = Desk::new();
        desk.begin("a", &claim("k"));
        let asking = Asking { owner: "a", holder: &|_, _| Holder::Nobody, now_ms: desk.now_ms, keep: keep(10) };
        let mut page = desk.ledger.page().unwrap();
        assert_eq!(page.begin(&Claim { digest: [2; 32], ..claim("k") }, &asking).unwrap(), Begun::Run);
    }

    #[test]
    fn a_page_that_is_not_committed_has_not_happened() {
        let mut desk = Desk::new();
        let asking = Asking { owner: "a", holder: &|_, _| Holder::Alive, now_ms: desk.now_ms, keep: keep(10) };
        let mut page = desk.ledger.page().unwrap();
        assert_eq!(page.begin(&claim("k"), &asking).unwrap(), Begun::Run);
        drop(page);
        assert_eq!(desk.begin("b", &claim("k")), Begun::Run);
    }
}
