//! One line of the log, as far as it is understood: what a later version adds passes.

use serde::Deserialize;

/// A line. What the contract always has is required, everything else may be absent.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Entry {
    /// Version of the contract.
    pub v: u64,
    /// Number in its boot, from 0.
    pub seq: u64,
    /// Names the run of the process.
    pub boot: String,
    /// The wall clock, RFC 3339.
    pub ts: String,
    /// Microseconds since the boot.
    pub mono_us: u64,
    /// What happened.
    pub event: String,
    /// Whom it happened to.
    pub path: String,
    /// `L1`, `L2` or `L3`.
    #[serde(default)]
    pub level: Option<String>,
    /// Which life of the child.
    #[serde(default)]
    pub incarnation: Option<u64>,
    /// Why.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// What became of calls in hand.
    #[serde(default)]
    pub inflight: Option<InFlight>,
    /// Calls waiting for the tool.
    #[serde(default)]
    pub queue_depth: Option<u64>,
    /// What is done about it.
    #[serde(default)]
    pub restart: Option<Restart>,
    /// How long the life lasted.
    #[serde(default)]
    pub uptime_ms: Option<u64>,
    /// How long nobody stood in its place.
    #[serde(default)]
    pub downtime_us: Option<u64>,
    /// How many it stands for, or what the event counts.
    #[serde(default)]
    pub count: Option<u64>,
    /// What the process is.
    #[serde(default)]
    pub server: Option<Server>,
    /// Which part of the end begins.
    #[serde(default)]
    pub phase: Option<String>,
    /// The thread lived on.
    #[serde(default)]
    pub adopted: bool,
}

/// Why something happened.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Reason {
    /// The kind.
    pub kind: String,
    /// The trap or exit code.
    #[serde(default)]
    pub code: Option<String>,
    /// For a person.
    #[serde(default)]
    pub msg: String,
}

/// What became of calls in hand.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct InFlight {
    /// Answered with a fault.
    #[serde(default)]
    pub answered: u64,
}

/// What is done about an exit.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Restart {
    /// Exits in the window, and the window.
    #[serde(default)]
    pub window: Option<String>,
    /// The delay.
    #[serde(default)]
    pub backoff_ms: Option<u64>,
    /// How long rebuilding took.
    #[serde(default)]
    pub took_us: Option<u64>,
}

/// What the process is.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Server {
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// Its tools.
    #[serde(default)]
    pub tools: Vec<String>,
}

impl Entry {
    /// The delay that was announced.
    pub fn backoff_ms(&self) -> Option<u64> {
        self.restart.as_ref().and_then(|restart| restart.backoff_ms)
    }

    /// The kind of its reason.
    pub fn reason_kind(&self) -> Option<&str> {
        self.reason.as_ref().map(|reason| reason.kind.as_str())
    }

    /// The tool it is about: NAME of `root/tools/NAME` and of what is below it.
    pub fn tool(&self) -> Option<&str> {
        self.path.strip_prefix("root/tools/")?.split('/').next()
    }
}
