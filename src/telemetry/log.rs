//! The server's own log: human-readable lines on standard error, never on standard output.
//!
//! `NURONES_LOG` (or `RUST_LOG`) filters it in `tracing`'s syntax; the default shows warnings, what guests log, and what
//! supervision does. Panics go the same way, as nobody may wait for standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::stderr::{self, Drain};

static DRAIN: OnceLock<Drain> = OnceLock::new();

/// Installs the log. Call it once, first thing, and [`flush`] last.
pub fn install() {
    const DEFAULT: &str = "warn,rmcp=error,nurones_mcp=info,guest=info,supervision=info";
    let said = ["NURONES_LOG", "RUST_LOG"].iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let (filter, wrong) = match said.map(|(name, text)| (name, EnvFilter::try_new(&text))) {
        None => (EnvFilter::new(DEFAULT), None),
        Some((_, Ok(filter))) => (filter, None),
        Some((name, Err(error))) => (EnvFilter::new(DEFAULT), Some(format!("{name} is ignored: {error}"))),
    };
    let (lines, drain) = stderr::start(std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let _ = DRAIN.set(drain);
    std::panic::set_hook(Box::new(log_panic));
    if let Some(wrong) = wrong {
        tracing::warn!("{wrong}; write a filter like `debug` or `nurones_mcp=debug`");
    }
}

/// Waits, at most `patience`, until the log is written. Call it before the process ends.
pub fn flush(patience: Duration) {
    if let Some(drain) = DRAIN.get() {
        drain.flush(patience);
    }
}

/// The default hook writes to standard error itself, and would make the panicking thread wait for its reader.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(target: "panic", "thread {thread}: {panic}\n{backtrace}"),
        _ => tracing::error!(target: "panic", "thread {thread}: {panic}; RUST_BACKTRACE=1 shows how it came there"),
    }
}
