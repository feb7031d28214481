//! How many calls were refused, by reason. Counted where it happens, read by whoever wants to show it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::message::Refusal;

/// The reasons as they go over the wire.
const REASONS: [&str; 8] =
    ["queue_full", "inflight", "codel", "rate", "quarantined", "breaker_open", "not_compiled", "shutting_down"];

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Sheds([AtomicU64; REASONS.len()]);

impl Sheds {
    /// A call was refused.
    pub fn note(&self, refusal: Refusal) {
        let reason = refusal.as_str();
        if let Some(at) = REASONS.iter().position(|known| *known == reason) {
            self.0[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every reason with its count.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.iter().copied().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_refusal_has_its_counter() {
        let sheds = Sheds::default();
        let refusals = [
            Refusal::QueueFull,
            Refusal::Inflight,
            Refusal::Codel,
            Refusal::ToolRate(Duration::ZERO),
            Refusal::Quarantined,
            Refusal::BreakerOpen,
            Refusal::NotCompiled,
            Refusal::ShuttingDown,
        ];
        refusals.iter().for_each(|refusal| sheds.note(*refusal));
        assert!(sheds.counts().all(|(_, count)| count == 1));
        sheds.note(Refusal::TenantRate(Duration::ZERO));
        sheds.note(Refusal::TenantCpu(Duration::ZERO));
        sheds.note(Refusal::Stopped);
        let more: Vec<_> = sheds.counts().filter(|(_, count)| *count > 1).collect();
        assert_eq!(more, [("rate", 3), ("quarantined", 2)]);
    }
}
