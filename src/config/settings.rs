//! What parts of the server are told: each gets its own.

use std::path::PathBuf;
use std::time::Duration;

use crate::events::Class;

/// How much the server takes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Performance {
    /// Requests in flight before tool calls are refused.
    pub max_inflight: usize,
    /// Events handled together by the event bus.
    pub batch_size: usize,
    /// Share of `max_inflight` from which on calls of normal priority are refused; and of the event
    /// bus's queue, for events of class normal.
    pub queue_watermark: f64,
    /// When calls have waited for too long; `None` for never.
    pub codel: Option<CodelPolicy>,
    /// How long requests may gather before they are read; zero for not at all.
    pub coalesce: Duration,
}

/// When a queue is standing: nobody in it is served in good time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodelPolicy {
    /// How long a call may wait.
    pub target: Duration,
    /// How long all of them must have waited longer.
    pub interval: Duration,
}

/// When a file of the supervision log is full, and how many full ones are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRotation {
    /// A file of this size is put aside before the next line.
    pub max_bytes: u64,
    /// Files put aside that are kept; at least 1.
    pub keep: u32,
}

/// Times of an orderly end.
#[derive(Debug, Clone, PartialEq)]
pub struct Shutdown {
    /// For calls in flight to finish.
    pub drain: Duration,
    /// For interrupted guests to let go.
    pub interrupt: Duration,
}

/// How modules are compiled, and where compiled ones are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiling {
    /// Where compiled modules are kept, if anywhere.
    pub cache: Option<PathBuf>,
    /// How many bytes of them.
    pub cache_bytes: u64,
    /// Wall-clock time for one module.
    pub deadline: Duration,
}

/// Which calls are audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditMode {
    /// None.
    Off,
    /// Those that may change something, and those that are denied.
    Changes,
    /// All.
    All,
}

/// What is kept of audited calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditPolicy {
    /// Which calls.
    pub mode: AuditMode,
    /// Whether their arguments are kept, so that they can be made again.
    pub keep_arguments: bool,
    /// How many entries; the oldest go.
    pub entries: u64,
    /// For how long.
    pub age: Duration,
}

/// What is kept of calls with idempotency keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPolicy {
    /// How long a key and its answer are.
    pub ttl: Duration,
    /// How many keys; more are refused, as forgetting one early would make its call twice.
    pub keys: u64,
    /// How large an answer.
    pub answer_bytes: usize,
}

/// What is kept of events, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalPolicy {
    /// Events of this class and above; `None` for none.
    pub journaled: Option<Class>,
    /// When they must have reached the disk.
    pub fsync: Fsync,
    /// How many.
    pub keep: Retention,
}

/// When the journal waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Never: a power cut may cost the file.
    Never,
    /// Now and then: a power cut may cost the last events.
    #[default]
    Batch,
    /// With every transaction.
    Always,
}

impl Fsync {
    /// What SQLite calls it.
    pub fn pragma(self) -> &'static str {
        match self {
            Self::Never => "OFF",
            Self::Batch => "NORMAL",
            Self::Always => "FULL",
        }
    }
}

/// How much of the journal is kept: what is beyond any of these goes, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events.
    pub rows: u64,
    /// Since an event was published.
    pub age: Duration,
    /// The file's part in use.
    pub bytes: u64,
}
