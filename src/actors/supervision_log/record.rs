//! One record of the supervision log, before it gets its place in the file.

use std::sync::Arc;

use serde::Serialize;

use crate::redact;

/// Bytes kept of a reason's text.
const TEXT_BYTES: usize = 512;

/// What happened, to whom, why, and what is done about it. Absent parts are left out.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// What happened.
    pub event: &'static str,
    /// Whom it happened to: the place in the supervision tree.
    pub path: Arc<str>,
    /// L1: a call; L2: a worker; L3: a control actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<&'static str>,
    /// Which life of it, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<u64>,
    /// During what it ended: `start_error`, `child_terminated` or `shutdown_error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<&'static str>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What became of the calls it had in hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inflight: Option<InFlight>,
    /// Calls waiting for the tool at that moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_depth: Option<usize>,
    /// What is done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// How long the life lasted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// How long nobody stood in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downtime_us: Option<u64>,
    /// How many equal events this record stands for, or what the event counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// What the process is and serves, at its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// The ContextFrame's `reason_trace_id` of the call concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<Arc<str>>,
    /// Which part of the end begins: `drain`, `interrupt` or `stop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<&'static str>,
    /// The thread and its Stores lived on; only who watches them is new.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
}

impl Record {
    /// A record of `event` at `path`, and nothing else.
    pub fn new(event: &'static str, path: Arc<str>) -> Self {
        Self {
            event,
            path,
            level: None,
            incarnation: None,
            context: None,
            reason: None,
            inflight: None,
            queue_depth: None,
            restart: None,
            uptime_ms: None,
            downtime_us: None,
            count: None,
            server: None,
            trace_id: None,
            phase: None,
            adopted: false,
        }
    }
}

/// What a process is and serves.
#[derive(Debug, Clone, Serialize)]
pub struct Server {
    /// Its version.
    pub version: &'static str,
    /// Whether the context engine is on.
    pub context_engine: bool,
    /// The published names of its tools.
    pub tools: Vec<String>,
    /// The manifests it does not serve.
    pub refused: Vec<String>,
}

/// Why something ended.
#[derive(Debug, Clone, Serialize)]
pub struct Reason {
    /// `host_panic`, `wedged`, `tool_trapped`, …
    pub kind: &'static str,
    /// The trap or exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For a person.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub msg: String,
}

impl Reason {
    /// A reason whose text is cut to a length fit for a log.
    pub fn new(kind: &'static str, code: Option<String>, text: &str) -> Self {
        Self { kind, code, msg: redact::first_of_text(text, TEXT_BYTES).into_owned() }
    }
}

/// What became of the calls that were in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InFlight {
    /// Answered with a fault because of this exit.
    pub answered: u64,
}

/// What is done about an exit.
#[derive(Debug, Clone, Serialize)]
pub struct Restart {
    /// `worker`, `store` or `actor`.
    pub what: &'static str,
    /// `permanent`, `transient` or `temporary`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<&'static str>,
    /// `one_for_one`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<&'static str>,
    /// Exits counted in the window and the window itself, for example `3/5@10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// Delay before the successor starts, the jitter included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<u64>,
    /// What chance added to the delay, or took from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<i64>,
    /// How long rebuilding took, when it is already done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
}

impl Restart {
    /// A restart of `what`, and nothing else.
    pub fn new(what: &'static str) -> Self {
        Self { what, policy: None, strategy: None, window: None, backoff_ms: None, jitter_ms: None, took_us: None }
    }
}
