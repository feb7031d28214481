//! Writes the trail on a thread of its own, which begins with the first entry.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, after, bounded};

use super::book::Book;
use super::entry::{CallEntry, Entry};
use crate::config::{AuditMode, AuditPolicy};
use crate::{private_folder, redact};

/// Entries that may wait; more are counted and lost.
const MAILBOX: usize = 16_384;

/// Bytes of entries that may wait, about; more are counted and lost.
const MAILBOX_BYTES: usize = 64 << 20;

/// Entries written together.
const BATCH: usize = 512;

/// How long entries gather: a transaction costs as much as a hundred of them.
const GATHER: Duration = Duration::from_millis(20);

/// How often the file is tried again when it could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// The handle; cheap to clone. Costs nothing until the first entry.
#[derive(Clone)]
pub struct Trail {
    inner: Arc<Inner>,
}

struct Inner {
    folder: Option<PathBuf>,
    policy: AuditPolicy,
    /// The server's life.
    server: String,
    lost: AtomicU64,
    /// Bytes of the entries that wait, about.
    waiting: AtomicUsize,
    keeper: OnceLock<Option<Sender<Told>>>,
}

enum Told {
    Call {
        entry: Box<CallEntry>,
        arguments: Option<String>,
        /// How much it is, about.
        bytes: usize,
    },
    /// What came before is to be written; then this is dropped.
    Flush(Sender<()>),
}

impl Trail {
    /// A trail in `folder`, if there is one, of what `policy` wants, for the server whose life is called `server`.
    pub fn new(folder: Option<PathBuf>, policy: AuditPolicy, server: String) -> Self {
        Self {
            inner: Arc::new(Inner {
                folder,
                policy,
                server,
                lost: AtomicU64::new(0),
                waiting: AtomicUsize::new(0),
                keeper: OnceLock::new(),
            }),
        }
    }

    /// Whether a call is to be written down: one that `changes` something, or may, or is denied.
    pub fn wants(&self, changes: impl FnOnce() -> bool) -> bool {
        match self.inner.policy.mode {
            AuditMode::Off => false,
            AuditMode::Changes => changes(),
            AuditMode::All => true,
        }
    }

    /// Whether arguments are kept.
    pub fn keeps_arguments(&self) -> bool {
        self.inner.policy.keep_arguments
    }

    /// The server's life.
    pub fn server(&self) -> &str {
        &self.inner.server
    }

    /// Has an entry written, with the arguments if they are to be kept. Never waits.
    pub fn add(&self, entry: CallEntry, arguments: Option<String>) {
        let bytes = entry.size() + arguments.as_ref().map_or(0, String::len);
        let told = Told::Call { entry: Box::new(entry), arguments, bytes };
        let waiting = self.inner.waiting.fetch_add(bytes, Ordering::Relaxed);
        let keeper = self.keeper().filter(|_| waiting + bytes <= MAILBOX_BYTES);
        if keeper.is_none_or(|keeper| keeper.try_send(told).is_err()) {
            self.inner.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.inner.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is written, at most `patience`; says so if that was too short.
    pub fn flush(&self, patience: Duration) {
        let Some(Some(keeper)) = self.inner.keeper.get() else { return };
        let (done, is_done) = bounded(0);
        // Nothing is sent back; the sender is dropped once everything before it was to be written.
        let written = keeper.send_timeout(Told::Flush(done), patience).is_ok()
            && is_done.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected);
        if !written {
            tracing::error!(
                "the server ends before all of the audit trail was written; the newest entries are missing"
            );
        }
    }

    fn keeper(&self) -> Option<&Sender<Told>> {
        let start = || {
            let Some(folder) = self.inner.folder.clone() else {
                tracing::warn!("calls are not audited: there is no folder for it; choose one with --state-dir");
                return None;
            };
            let (sender, receiver) = bounded(MAILBOX);
            let keeper = Keeper {
                folder,
                inner: Arc::downgrade(&self.inner),
                book: None,
                unwritten: Vec::new(),
                unwritten_bytes: 0,
                failing: false,
            };
            match std::thread::Builder::new().name("audit".to_owned()).spawn(move || keeper.keep(&receiver)) {
                Ok(_) => Some(sender),
                Err(error) => {
                    tracing::error!("calls are not audited: cannot start a thread: {error}");
                    None
                }
            }
        };
        self.inner.keeper.get_or_init(start).as_ref()
    }
}

/// What the thread knows.
struct Keeper {
    folder: PathBuf,
    inner: Weak<Inner>,
    book: Option<Book>,
    /// Entries that could not be written yet.
    unwritten: Vec<(i64, String, Option<String>)>,
    unwritten_bytes: usize,
    failing: bool,
}

impl Keeper {
    /// Until nobody can add any more.
    fn keep(mut self, mailbox: &Receiver<Told>) {
        loop {
            let mut flushes = Vec::new();
            if self.unwritten.len() >= BATCH {
                // What is to be written next has to wait where it is, and is counted once there is no room for it.
                let _ = after(RETRY).recv();
            } else {
                match mailbox.recv_timeout(if self.unwritten.is_empty() { Duration::MAX } else { RETRY }) {
                    Ok(told) => self.take(told, &mut flushes),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                self.gather(mailbox, &mut flushes);
            }
            let Some(inner) = self.inner.upgrade() else { return };
            let written = catch_unwind(AssertUnwindSafe(|| self.write(&inner)));
            if let Err(problem) = written.unwrap_or_else(|_| Err("the server failed on them".to_owned())) {
                self.fail(&problem);
            }
        }
    }

    /// Takes what comes in the next moment, unless somebody waits for what is there.
    fn gather(&mut self, mailbox: &Receiver<Told>, flushes: &mut Vec<Sender<()>>) {
        let until = Instant::now() + GATHER;
        while flushes.is_empty() && self.unwritten.len() < BATCH {
            match mailbox.recv_deadline(until) {
                Ok(told) => self.take(told, flushes),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, told: Told, flushes: &mut Vec<Sender<()>>) {
        match told {
            Told::Flush(done) => flushes.push(done),
            Told::Call { entry, arguments, bytes } => {
                let at_ms = entry.at_ms;
                self.unwritten.push((at_ms, text(&Entry::Call(entry)), arguments));
                self.unwritten_bytes += bytes;
            }
        }
    }

    fn write(&mut self, inner: &Inner) -> Result<(), String> {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let entries = inner.lost.swap(0, Ordering::Relaxed);
        if entries > 0 {
            let lost = Entry::Lost { at_ms: now_ms, server: inner.server.clone(), entries };
            self.unwritten.push((now_ms, text(&lost), None));
        }
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let book = match &mut self.book {
            Some(book) => book,
            none => {
                private_folder::prepare(&self.folder, "state folder", "--state-dir")?;
                none.insert(Book::open(&self.folder.join("audit.db")).map_err(|error| error.to_string())?)
            }
        };
        book.add(&self.unwritten, now_ms, &inner.policy).map_err(|error| error.to_string())?;
        self.unwritten.clear();
        inner.waiting.fetch_sub(std::mem::take(&mut self.unwritten_bytes), Ordering::Relaxed);
        if std::mem::take(&mut self.failing) {
            tracing::info!("calls are audited again");
        }
        Ok(())
    }

    /// What cannot be written waits, up to a batch; what comes then fills the mailbox, and what comes after that is counted.
    fn fail(&mut self, problem: &str) {
        self.book = None;
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(
                folder = %self.folder.display(),
                "calls cannot be audited just now: {problem}; it is tried again, and what is lost will be counted in the trail"
            );
        }
    }
}

/// The text that is hashed and written.
fn text(entry: &Entry) -> String {
    let line = serde_json::to_vec(entry).expect("entries are serialisable");
    String::from_utf8_lossy(&redact::json_line(&line)).into_owned()
}
