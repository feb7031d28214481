//! What a supervisor is told of each child, in OTP's words.

use std::sync::Arc;
use std::time::Duration;

use super::restart::RestartPolicy;
use crate::config::{RestartKind, SupervisionPolicy};

/// See the module documentation.
#[derive(Debug, Clone)]
pub struct ChildSpec {
    /// Its place in the supervision tree.
    pub path: Arc<str>,
    /// Whether it runs guests or watches over others.
    pub kind: ChildKind,
    /// Which exits are followed by a successor.
    pub restart: RestartKind,
    /// How often, and how soon.
    pub policy: RestartPolicy,
}

/// What a child is, and with that what too many exits of it lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildKind {
    /// It runs guests: level L2. Too many exits put its tool into quarantine.
    Worker,
    /// It watches over others: level L3. Too many exits end its supervisor.
    Control,
}

impl ChildKind {
    /// The level of its exits.
    pub fn level(self) -> &'static str {
        match self {
            Self::Worker => "L2",
            Self::Control => "L3",
        }
    }

    /// What is restarted.
    pub fn what(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Control => "actor",
        }
    }
}

impl ChildSpec {
    /// A worker of a tool whose manifest says `restart`.
    pub fn worker(path: Arc<str>, restart: RestartKind, policy: &SupervisionPolicy) -> Self {
        let policy = RestartPolicy {
            backoff_base: policy.backoff_base,
            backoff_cap: policy.backoff_cap,
            intensity: policy.restart_intensity,
            period: policy.restart_period,
            probe_after: policy.probe_after,
            probe_cap: policy.probe_cap,
        };
        Self { path, kind: ChildKind::Worker, restart, policy }
    }

    /// A control actor: restarted at once, few times; while it is away something goes unwatched.
    pub fn control(path: Arc<str>, policy: &SupervisionPolicy) -> Self {
        let policy = RestartPolicy {
            backoff_base: Duration::ZERO,
            backoff_cap: Duration::ZERO,
            intensity: policy.root_intensity,
            period: policy.root_period,
            probe_after: Duration::ZERO,
            probe_cap: Duration::ZERO,
        };
        Self { path, kind: ChildKind::Control, restart: RestartKind::Permanent, policy }
    }
}
