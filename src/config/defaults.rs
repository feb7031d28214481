//! Built-in values, each with the reason for it.

use std::time::Duration;

use crate::events::Class;
use crate::wasi::limits::Limits;

/// Requests in flight before tool calls are refused with `inflight`. The seed's number; at 10,000 calls a second it is
/// 200 ms of work, more than any client should wait.
pub const MAX_INFLIGHT: usize = 2048;

/// Requests beyond [`MAX_INFLIGHT`] that are still taken when they are not tool calls, so that listing and pinging
/// work under overload.
pub const CONTROL_INFLIGHT: usize = 256;

/// Bytes of one input line. A file of a few MiB fits; more belongs in several calls.
pub const LINE_BYTES: usize = 4 << 20;

/// Bytes without a newline after which the client is given up.
pub const ENDLESS_LINE_BYTES: usize = 64 << 20;

/// Nesting of one message. MCP needs about ten; parsers spend stack on more.
pub const DEPTH: usize = 64;

/// Bytes waiting to be written before the reader stops reading: what a client that does not read costs us.
pub const OUTPUT_BUFFER_BYTES: usize = 8 << 20;

/// Bytes waiting to be written from which on calls of that client are refused instead of run: eight results of the
/// largest size that is the default, asked for at once by a client that reads.
pub const OUTPUT_REFUSE_BYTES: usize = 32 << 20;

/// Share of [`MAX_INFLIGHT`] from which on calls are refused, until it has come down to 60 %.
pub const QUEUE_WATERMARK: f64 = 0.9;

/// Events handled together. The seed's number; at a microsecond each, nobody else on the thread notices.
pub const BATCH_SIZE: usize = 64;

/// Time that calls of a tool may wait while it is in demand. A person does not notice; and a full lane of calls that take
/// microseconds is served within it, also on a machine that is slow for a moment.
pub const CODEL_TARGET: Duration = Duration::from_millis(100);

/// How long every call must have waited longer than [`CODEL_TARGET`] before newcomers are refused. A stall of the machine
/// or a burst is over by then.
pub const CODEL_INTERVAL: Duration = Duration::from_millis(300);

/// How long requests gather before they are read, while that costs the client nothing but this time. At 10,000 a second
/// two are then read together, and a third of the CPU is saved.
pub const COALESCE: Duration = Duration::from_micros(200);

/// How long an idempotency key and its answer are kept: retries come within minutes, but a client may be a laptop that
/// was closed.
pub const KEY_TTL: Duration = Duration::from_secs(86_400);

/// Idempotency keys that are kept; about 300 bytes each, besides their answers.
pub const KEYS: u64 = 100_000;

/// Bytes of an answer that is kept under its key.
pub const KEY_ANSWER_BYTES: usize = 1 << 20;

/// Events that the journal keeps: none, as nobody who starts a server for the first time has asked for a file.
pub const JOURNALED: Option<Class> = None;

/// Events in the journal; of those that say what became of the server, years.
pub const JOURNAL_ROWS: u64 = 1_000_000;

/// How long an event stays in the journal: whoever asks what happened asks within weeks.
pub const JOURNAL_AGE: Duration = Duration::from_secs(30 * 86_400);

/// Bytes of the journal in use; a million events take about as many.
pub const JOURNAL_BYTES: u64 = 256 << 20;

/// Bytes of a request id kept as a string.
pub const ID_BYTES: usize = 1024;

/// Worker threads per tool. One serves tens of thousands of file reads a second; more help CPU-bound tools.
pub const WORKERS: u64 = 1;

/// Calls waiting in one tool's lane.
pub const QUEUE_DEPTH: u64 = 1024;

/// Stores of different capability sets one worker keeps warm. Clients choose tenant ids, so it must be bounded.
pub const WARM_STORES: usize = 4;

/// Worker threads of one tool that may be stuck in the system before the tool is quarantined.
pub const ZOMBIES: usize = 4;

/// Time for calls in flight to finish when the client closes its end or the process is told to stop.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Time for interrupted guests to let go after that.
pub const INTERRUPT: Duration = Duration::from_millis(250);

/// First delay between restarts of a worker; the very first restart is immediate.
pub const BACKOFF_BASE: Duration = Duration::from_millis(50);

/// Longest delay between restarts.
pub const BACKOFF_CAP: Duration = Duration::from_secs(10);

/// Restarts of one worker within [`RESTART_PERIOD`] after which its tool is quarantined.
pub const RESTART_INTENSITY: usize = 5;

/// The window of [`RESTART_INTENSITY`].
pub const RESTART_PERIOD: Duration = Duration::from_secs(10);

/// First wait of a quarantined tool before one worker is tried again; it doubles with each failed try.
pub const PROBE_AFTER: Duration = Duration::from_secs(30);

/// Longest wait between such tries.
pub const PROBE_CAP: Duration = Duration::from_secs(300);

/// Restarts of control actors within [`ROOT_PERIOD`] after which the process answers everything and exits with 70.
pub const ROOT_INTENSITY: usize = 3;

/// The window of [`ROOT_INTENSITY`].
pub const ROOT_PERIOD: Duration = Duration::from_secs(30);

/// Time a worker may take to build its first Store. Building one takes microseconds; a guest that computes while it
/// starts has to do that in every Store.
pub const INIT_DEADLINE: Duration = Duration::from_secs(1);

/// Calls of a tool within [`BREAKER_PERIOD`] below which its circuit breaker concludes nothing.
pub const BREAKER_CALLS: usize = 20;

/// The window of the circuit breaker.
pub const BREAKER_PERIOD: Duration = Duration::from_secs(10);

/// Percentage of faults above which the breaker opens. Below it, refusing calls would do more harm than the faults.
pub const BREAKER_FAULT_PCT: u64 = 50;

/// How long an open breaker refuses calls before it lets one through to see.
pub const BREAKER_OPEN: Duration = Duration::from_secs(1);

/// The longest it refuses, after several trial calls that faulted.
pub const BREAKER_OPEN_CAP: Duration = Duration::from_secs(30);

/// Time an instance serves before it is built anew: what a guest piles up is bounded, at 30 µs an hour.
pub const INSTANCE_AGE: Duration = Duration::from_secs(3600);

/// Calls an instance serves before it is built anew; at 10,000 calls a second that is 30 µs a second.
pub const INSTANCE_REUSE: u64 = 10_000;

/// Time without a call after which instances are dropped: a hundred tools that nobody uses should not hold memory.
pub const INSTANCE_IDLE: Duration = Duration::from_secs(300);

/// Bytes of one file of the supervision log. A quiet server writes a few KiB a day; a crash loop held back by backoff and
/// quarantine a few MiB. This is months of trouble, and still opens in an editor.
pub const LOG_BYTES: u64 = 64 << 20;

/// Full files of the supervision log that are kept beside the current one: 256 MiB in all.
pub const LOG_KEEP: u32 = 3;

/// Entries of the audit trail. At a thousand changes an hour these are six weeks, and about a gigabyte.
pub const AUDIT_ENTRIES: u64 = 1_000_000;

/// How long entries of the audit trail are kept: long enough for whoever looks into something at the end of a quarter.
pub const AUDIT_AGE: Duration = Duration::from_secs(90 * 86_400);

/// Bytes of compiled modules kept on disk. The built-in tools take about 2 MB, a component from a scripting language 50.
pub const CACHE_BYTES: u64 = 512 << 20;

/// Wall-clock time one module may take to compile. Components from scripting languages have been seen to take 20 s on
/// two cores.
pub const COMPILE_DEADLINE: Duration = Duration::from_secs(120);

/// What one call may use unless its manifest says otherwise.
pub fn limits() -> Limits {
    Limits {
        // A file tool answers in microseconds; half a minute leaves room for tools that compute.
        deadline: Duration::from_secs(30),
        // Room for a file of the output limit a few times over.
        memory_bytes: 64 << 20,
        output_bytes: 4 << 20,
        // A component built by a compiler toolchain has about five core instances; scripting languages need more.
        instances: 16,
        tables: 32,
        table_elements: 20_000,
        // Every handle may be a file descriptor of ours: a guest without this limit can take all of them.
        handles: 256,
    }
}
