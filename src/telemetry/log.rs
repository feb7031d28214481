//! The server's own log: human-readable lines on standard error, never on standard output.
//!
//! `NURONES_LOG` (or `RUST_LOG`) filters it in `tracing`'s syntax; the default shows warnings, and what guests log.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::actors::event_bus::EventBus;
use crate::actors::message::Event;

/// Events waiting to be logged; more are dropped, as the supervision log is the complete record.
const EVENTS: usize = 256;

/// Installs the log. Call it once, first thing.
pub fn install() {
    const DEFAULT: &str = "warn,rmcp=error,nurones_mcp=info,guest=info";
    let said = ["NURONES_LOG", "RUST_LOG"].iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let (filter, wrong) = match said.map(|(name, text)| (name, EnvFilter::try_new(&text))) {
        None => (EnvFilter::new(DEFAULT), None),
        Some((_, Ok(filter))) => (filter, None),
        Some((name, Err(error))) => (EnvFilter::new(DEFAULT), Some(format!("{name} is ignored: {error}"))),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    if let Some(wrong) = wrong {
        tracing::warn!("{wrong}; write a filter like `debug` or `nurones_mcp=debug`");
    }
}

/// Logs what the event bus carries, until the server ends.
pub fn log_events(bus: &EventBus) {
    let mut events = bus.subscribe(EVENTS);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            match event {
                Event::WorkerReady { tool, worker, incarnation } => {
                    tracing::debug!(%tool, worker, incarnation, "worker ready");
                }
                Event::WorkerExited { tool, worker, reason } => {
                    tracing::warn!(%tool, worker, reason = reason.kind(), text = reason.text(), "worker ended");
                }
                Event::Quarantined { tool } => tracing::error!(%tool, "tool quarantined"),
                Event::CallFaulted { tool, code } => {
                    tracing::debug!(%tool, code = code.as_str(), "call faulted, Store rebuilt");
                }
            }
        }
    });
}
