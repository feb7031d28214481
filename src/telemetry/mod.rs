//! What the server says of itself: a log for people on standard error, and a span per tool call for a collector.
//!
//! [`log`] is always on, and waits for nobody who reads [`stderr`]. Spans are off unless the environment names a collector: [`settings`] reads what it asks for,
//! [`otlp`] sends, [`trace_parent`] joins a span with the trace of its caller. Which spans there are, and what they say,
//! is in `mcp/call_span.rs`.

mod clean_span;
pub mod log;
pub mod otlp;
pub mod settings;
pub mod stderr;
pub mod trace_parent;

pub use log::{flush, install};
