//! What a supervisor knows about each child, in OTP's words, and the one place that turns an exit into a decision.

use std::time::{Duration, Instant};

use ractor::ActorId;

use super::restart::{Decision, RestartPolicy, RestartWindow};
use crate::config::{SupervisionTimes, defaults};

/// A child: who it is now, and its history.
#[derive(Debug)]
pub struct Child {
    /// The actor that lives at the moment.
    pub actor: Option<ActorId>,
    /// Set while the child is ready.
    pub ready_since: Option<Instant>,
    /// When the last life ended, until the next is ready.
    pub down_since: Option<Instant>,
    /// Counts the lives of the actor, from 0.
    pub incarnation: u64,
    window: RestartWindow,
}

impl Child {
    /// A child that was never started.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { actor: None, ready_since: None, down_since: None, incarnation: 0, window: RestartWindow::new(policy) }
    }

    /// The child ended: what to do, how long it had been ready, and the window for the log.
    pub fn on_exit(&mut self, now: Instant) -> (Decision, Duration, String) {
        let healthy = self.ready_since.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.actor = None;
        self.down_since.get_or_insert(now);
        let decision = self.window.on_exit(now, healthy, jitter());
        let policy = self.window.policy();
        let window = format!("{}/{}@{}s", self.window.count(), policy.intensity, policy.period.as_secs_f64());
        (decision, healthy, window)
    }

    /// The child is ready: how long it was away, if it was.
    pub fn on_ready(&mut self, now: Instant) -> Option<Duration> {
        self.ready_since = Some(now);
        self.down_since.take().map(|since| now.saturating_duration_since(since))
    }
}

/// The policy of a tool's workers.
pub fn worker_policy(times: &SupervisionTimes) -> RestartPolicy {
    RestartPolicy {
        backoff_base: times.backoff_base,
        backoff_cap: times.backoff_cap,
        intensity: times.restart_intensity,
        period: times.restart_period,
        probe_after: times.probe_after,
        probe_cap: times.probe_cap,
    }
}

/// The policy of control actors: few restarts, at once, and then the process gives up.
pub fn control_policy(times: &SupervisionTimes) -> RestartPolicy {
    RestartPolicy { intensity: defaults::ROOT_INTENSITY, period: defaults::ROOT_PERIOD, ..worker_policy(times) }
}

/// A number in 0..1 that differs from tool to tool and from time to time; nothing depends on its quality.
fn jitter() -> f64 {
    let nanos =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    f64::from(nanos.wrapping_mul(2_654_435_761) >> 8) / f64::from(1_u32 << 24)
}
