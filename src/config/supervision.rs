//! The supervision policy: when to restart, when to leave alone, when to try again.

use std::time::Duration;

use super::defaults;
use super::file::millis;
use crate::fields::Fields;

/// Which exits of a worker are followed by a successor; OTP's word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartKind {
    /// Every exit.
    #[default]
    Permanent,
    /// Every exit but one in good order.
    Transient,
    /// None.
    Temporary,
}

impl RestartKind {
    /// The kind, as OTP, manifests and the supervision log have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Temporary => "temporary",
        }
    }
}

/// Every number of the policy; [`defaults`] has the reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct SupervisionPolicy {
    /// First delay between restarts.
    pub backoff_base: Duration,
    /// Longest delay between restarts.
    pub backoff_cap: Duration,
    /// Exits within `restart_period` that are too many.
    pub restart_intensity: usize,
    /// The window of `restart_intensity`.
    pub restart_period: Duration,
    /// First wait in quarantine.
    pub probe_after: Duration,
    /// Longest wait in quarantine.
    pub probe_cap: Duration,
    /// How long a worker may take to build its first Store.
    pub init_deadline: Duration,
    /// Stuck threads of one tool that are too many.
    pub zombies: usize,
    /// Exits of one control actor within `root_period` that are too many.
    pub root_intensity: usize,
    /// The window of `root_intensity`.
    pub root_period: Duration,
    /// When calls of a tool are refused because too many of them fault.
    pub breaker: BreakerPolicy,
}

/// When a tool's circuit breaker opens, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerPolicy {
    /// Calls within `period` below which nothing is concluded; 0 switches the breaker off.
    pub calls: usize,
    /// The window.
    pub period: Duration,
    /// Percentage of faults in it above which the breaker opens.
    pub fault_pct: u64,
    /// How long it stays open at first.
    pub open: Duration,
    /// Longest time it stays open; it doubles with each trial call that faults.
    pub open_cap: Duration,
}

impl Default for SupervisionPolicy {
    fn default() -> Self {
        Self {
            backoff_base: defaults::BACKOFF_BASE,
            backoff_cap: defaults::BACKOFF_CAP,
            restart_intensity: defaults::RESTART_INTENSITY,
            restart_period: defaults::RESTART_PERIOD,
            probe_after: defaults::PROBE_AFTER,
            probe_cap: defaults::PROBE_CAP,
            init_deadline: defaults::INIT_DEADLINE,
            zombies: defaults::ZOMBIES,
            root_intensity: defaults::ROOT_INTENSITY,
            root_period: defaults::ROOT_PERIOD,
            breaker: BreakerPolicy::default(),
        }
    }
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            calls: defaults::BREAKER_CALLS,
            period: defaults::BREAKER_PERIOD,
            fault_pct: defaults::BREAKER_FAULT_PCT,
            open: defaults::BREAKER_OPEN,
            open_cap: defaults::BREAKER_OPEN_CAP,
        }
    }
}

impl SupervisionPolicy {
    /// Takes what the config file's `supervision` says.
    pub(super) fn read(&mut self, fields: &mut Fields<'_>) {
        let times = [
            ("backoffBaseMs", &mut self.backoff_base),
            ("backoffCapMs", &mut self.backoff_cap),
            ("restartPeriodMs", &mut self.restart_period),
            ("probeAfterMs", &mut self.probe_after),
            ("probeCapMs", &mut self.probe_cap),
            ("initDeadlineMs", &mut self.init_deadline),
            ("rootPeriodMs", &mut self.root_period),
            ("breakerPeriodMs", &mut self.breaker.period),
            ("breakerOpenMs", &mut self.breaker.open),
            ("breakerOpenCapMs", &mut self.breaker.open_cap),
        ];
        for (key, time) in times {
            *time = millis(fields, key).unwrap_or(*time);
        }
        let counts = [
            ("restartIntensity", 1, &mut self.restart_intensity),
            ("zombies", 1, &mut self.zombies),
            ("rootIntensity", 1, &mut self.root_intensity),
            ("breakerCalls", 0, &mut self.breaker.calls),
        ];
        for (key, least, count) in counts {
            *count = fields.integer(key, least..=1_000_000).map_or(*count, |number| number as usize);
        }
        self.breaker.fault_pct = fields.integer("breakerFaultPct", 0..=99).unwrap_or(self.breaker.fault_pct);
    }
}
