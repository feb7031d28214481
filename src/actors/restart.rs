//! The restart policy: a pure core that is told of exits and says what to do.
//!
//! OTP's restart intensity with what OTP leaves out: a delay that grows, jitter, and a reset after health. It does no
//! I/O and reads no clock, so property tests drive it through millions of exits.
//!
//! ```text
//!            exit                          exit, intensity exceeded
//!  healthy ───────► restarting (0, 50, 100 … ms) ───────────────► quarantined (30 s, 60 s … 5 min)
//!     ▲                  │ healthy for max(period, 2 × last delay)      │ one try after each wait
//!     └──────────────────┴──────────────────────────────────────────────┘
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The numbers of a policy; see `config::defaults` for the reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct RestartPolicy {
    /// First delay after the first, immediate, restart.
    pub backoff_base: Duration,
    /// Longest delay.
    pub backoff_cap: Duration,
    /// Exits within `period` that lead to quarantine.
    pub intensity: usize,
    /// The window of `intensity`.
    pub period: Duration,
    /// First wait in quarantine.
    pub probe_after: Duration,
    /// Longest wait in quarantine.
    pub probe_cap: Duration,
}

/// What to do about an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Start a successor after this delay.
    Restart {
        /// Zero for the first exit of a healthy child.
        after: Duration,
    },
    /// Too many exits: refuse calls, and try one successor after this delay.
    Quarantine {
        /// Until the next try.
        probe_after: Duration,
    },
}

impl Decision {
    /// The delay, whichever it is.
    pub fn delay(self) -> Duration {
        match self {
            Self::Restart { after } => after,
            Self::Quarantine { probe_after } => probe_after,
        }
    }
}

/// The history of one child; see the module documentation.
#[derive(Debug, Clone)]
pub struct RestartWindow {
    policy: RestartPolicy,
    /// Exits that still count, oldest first; never longer than `intensity`.
    exits: VecDeque<Instant>,
    /// Restarts since the child was last healthy for long enough.
    attempts: u32,
    /// Failed tries in quarantine.
    probes: u32,
    last_delay: Duration,
    /// What chance added to the last delay, or took from it.
    last_jitter_ms: i64,
    /// Exits that counted at the last one.
    counted: usize,
}

impl RestartWindow {
    /// A child with no history.
    pub fn new(policy: RestartPolicy) -> Self {
        Self {
            policy,
            exits: VecDeque::new(),
            attempts: 0,
            probes: 0,
            last_delay: Duration::ZERO,
            last_jitter_ms: 0,
            counted: 0,
        }
    }

    /// What chance added to the last delay, or took from it.
    pub fn last_jitter_ms(&self) -> i64 {
        self.last_jitter_ms
    }

    /// The child exited at `now` after having been ready for `healthy` (zero if it never was). `jitter` in 0..=1 moves
    /// the delay by up to 20 % either way, so that tools that failed together do not come back together.
    pub fn on_exit(&mut self, now: Instant, healthy: Duration, jitter: f64) -> Decision {
        if healthy >= self.policy.period.max(self.last_delay * 2) {
            self.forget();
        }
        let decision = if self.probes > 0 {
            self.quarantine()
        } else {
            self.exits.retain(|exit| now.saturating_duration_since(*exit) < self.policy.period);
            self.exits.push_back(now);
            self.counted = self.exits.len();
            if self.exits.len() >= self.policy.intensity { self.quarantine() } else { self.backoff(jitter) }
        };
        self.last_delay = decision.delay();
        decision
    }

    /// How many exits counted at the last one, for the log.
    pub fn count(&self) -> usize {
        self.counted
    }

    /// The policy's intensity, for the log.
    pub fn policy(&self) -> &RestartPolicy {
        &self.policy
    }

    fn forget(&mut self) {
        self.exits.clear();
        self.attempts = 0;
        self.probes = 0;
    }

    fn backoff(&mut self, jitter: f64) -> Decision {
        let exact = match self.attempts {
            0 => Duration::ZERO,
            n => doubled(self.policy.backoff_base, n - 1, self.policy.backoff_cap),
        };
        let after = exact.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0)).min(self.policy.backoff_cap);
        self.last_jitter_ms = after.as_millis() as i64 - exact.as_millis() as i64;
        self.attempts = self.attempts.saturating_add(1);
        Decision::Restart { after }
    }

    fn quarantine(&mut self) -> Decision {
        let probe_after = doubled(self.policy.probe_after, self.probes, self.policy.probe_cap);
        self.probes = self.probes.saturating_add(1);
        self.exits.clear();
        Decision::Quarantine { probe_after }
    }
}

/// `base · 2ⁿ`, at most `cap`.
pub(super) fn doubled(base: Duration, n: u32, cap: Duration) -> Duration {
    let factor = 1_u32.checked_shl(n).unwrap_or(u32::MAX);
    base.checked_mul(factor).unwrap_or(cap).min(cap)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> RestartPolicy {
        RestartPolicy {
            backoff_base: Duration::from_millis(50),
            backoff_cap: Duration::from_secs(10),
            intensity: 5,
            period: Duration::from_secs(10),
            probe_after: Duration::from_secs(30),
            probe_cap: Duration::from_secs(300),
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_crash_loop_backs_off_and_ends_in_quarantine() {
        let mut window = RestartWindow::new(policy());
        let start = Instant::now();
        let decisions: Vec<_> = (0..7).map(|n| window.on_exit(start + ms(n * 10), Duration::ZERO, 0.5)).collect();
        let restart = |after| Decision::Restart { after };
        let quarantine = |seconds| Decision::Quarantine { probe_after: Duration::from_secs(seconds) };
        assert_eq!(
            decisions,
            [
                restart(ms(0)),
                restart(ms(50)),
                restart(ms(100)),
                restart(ms(200)),
                quarantine(30),
                quarantine(60),
                quarantine(120)
            ]
        );
    }

    #[test]
    fn health_resets_everything() {
        let mut window = RestartWindow::new(policy());
        let start = Instant::now();
        for n in 0..6 {
            window.on_exit(start + ms(n), Duration::ZERO, 0.5);
        }
        let after_health = window.on_exit(start + Duration::from_secs(1000), Duration::from_secs(900), 0.5);
        assert_eq!(after_health, Decision::Restart { after: Duration::ZERO });
    }

    #[test]
    fn rare_exits_never_lead_to_quarantine() {
        let mut window = RestartWindow::new(policy());
        let start = Instant::now();
        for n in 0..1000 {
            let decision = window.on_exit(start + Duration::from_secs(n * 11), Duration::from_secs(11), 0.5);
            assert_eq!(decision, Decision::Restart { after: Duration::ZERO });
        }
    }

    /// The same rules, written as naively as possible: the whole history is kept and searched each time.
    #[derive(Default)]
    struct Model {
        exits: Vec<Duration>,
        attempts: u32,
        probes: u32,
        last_delay: Duration,
    }

    impl Model {
        fn on_exit(&mut self, policy: &RestartPolicy, now: Duration, healthy: Duration) -> Decision {
            if healthy >= policy.period && healthy >= self.last_delay * 2 {
                *self = Self::default();
            }
            self.exits.push(now);
            let recent = self.exits.iter().filter(|exit| now - **exit < policy.period).count();
            let decision = if self.probes > 0 || recent >= policy.intensity {
                let mut probe_after = policy.probe_after;
                for _ in 0..self.probes.min(20) {
                    probe_after = (probe_after * 2).min(policy.probe_cap);
                }
                self.probes += 1;
                Decision::Quarantine { probe_after: probe_after.min(policy.probe_cap) }
            } else {
                let mut after = if self.attempts == 0 { Duration::ZERO } else { policy.backoff_base };
                for _ in 1..self.attempts.min(20) {
                    after = (after * 2).min(policy.backoff_cap);
                }
                self.attempts += 1;
                Decision::Restart { after: after.min(policy.backoff_cap) }
            };
            self.last_delay = decision.delay();
            decision
        }
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_naive_model(steps in prop::collection::vec((0u64..30_000, 0u64..60_000), 1..200)) {
            let start = Instant::now();
            let mut window = RestartWindow::new(policy());
            let mut model = Model::default();
            let mut now = Duration::ZERO;
            for (gap, healthy) in steps {
                now += ms(gap);
                // A child cannot have been healthy for longer than the time since the last exit.
                let healthy = ms(healthy.min(gap));
                let said = window.on_exit(start + now, healthy, 0.5);
                prop_assert_eq!(said, model.on_exit(&policy(), now, healthy));
            }
        }

        #[test]
        fn jitter_stays_within_twenty_percent(jitter in 0.0f64..=1.0) {
            let mut window = RestartWindow::new(policy());
            let start = Instant::now();
            window.on_exit(start, Duration::ZERO, jitter);
            let delay = window.on_exit(start, Duration::ZERO, jitter).delay();
            prop_assert!((ms(40)..=ms(60)).contains(&delay), "{delay:?}");
        }
    }
}
