//! What a tenant may use, over all of its calls.

use std::time::Duration;

use crate::fields::Fields;

/// The most CPU time a minute that can be said: that of a thousand cores.
const CPU_MS_PER_MIN: u64 = 60_000_000;

/// Absent means without limit. A tenant can allow itself less in `budgets` of a ContextFrame; the server's own limits are
/// the policy's.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Allowance {
    /// Calls a second: `rps`.
    pub calls_per_s: Option<f64>,
    /// CPU time that its calls may use in a minute: `cpu_ms_per_min`.
    pub cpu_per_minute: Option<Duration>,
}

impl Allowance {
    /// Reads and checks the keys of an allowance.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            calls_per_s: fields.number("rps", 0.001..=1_000_000.0),
            cpu_per_minute: fields.integer("cpu_ms_per_min", 1..=CPU_MS_PER_MIN).map(Duration::from_millis),
        }
    }

    /// Whether anything is limited.
    pub fn is_limited(&self) -> bool {
        self.calls_per_s.is_some() || self.cpu_per_minute.is_some()
    }

    /// What both allow.
    pub fn strictest(self, other: Self) -> Self {
        Self {
            calls_per_s: sooner(self.calls_per_s, other.calls_per_s),
            cpu_per_minute: sooner(self.cpu_per_minute, other.cpu_per_minute),
        }
    }
}

/// The lesser of two limits, each of which may be missing.
fn sooner<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b < a { b } else { a }),
        (a, b) => a.or(b),
    }
}
