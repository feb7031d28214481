//! How many calls were refused, by reason. Counted where it happens, read by whoever wants to show it; and said on the
//! event bus, if anybody wants to hear it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::event_bus::EventBus;
use super::message::Refusal;
use crate::events::{Class, Event};

/// The reasons as they go over the wire.
const REASONS: [&str; 8] =
    ["queue_full", "inflight", "codel", "rate", "quarantined", "breaker_open", "not_compiled", "shutting_down"];

/// See the module documentation.
pub struct Sheds {
    counts: [AtomicU64; REASONS.len()],
    /// Whose calls they are.
    path: Arc<str>,
    bus: EventBus,
}

impl Sheds {
    /// None yet, of the calls of `path`.
    pub fn new(path: Arc<str>, bus: EventBus) -> Self {
        Self { counts: Default::default(), path, bus }
    }

    /// A call was refused; it belonged to the chain of thought `trace_id`, as far as it was read.
    pub fn note(&self, refusal: Refusal, trace_id: Option<&Arc<str>>) {
        let reason = refusal.as_str();
        if let Some(at) = REASONS.iter().position(|known| *known == reason) {
            self.counts[at].fetch_add(1, Ordering::Relaxed);
        }
        if self.bus.wants(Class::Low) {
            let event = Event::new("call_refused", Arc::clone(&self.path), Class::Low);
            let event = event.with_data(format!("{{\"reason\":\"{reason}\"}}"));
            self.bus.publish(Event { trace_id: trace_id.map(Arc::clone), ..event });
        }
    }

    /// Those that more room or more speed would have spared.
    pub fn for_want_of_room(&self) -> u64 {
        let is_one = |reason: &str| [Refusal::QueueFull, Refusal::Codel].iter().any(|known| known.as_str() == reason);
        self.counts().filter(|(reason, _)| is_one(reason)).map(|(_, count)| count).sum()
    }

    /// Every reason with its count.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.iter().copied().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_refusal_has_its_counter() {
        let sheds = Sheds::new("root".into(), EventBus::default());
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
        refusals.iter().for_each(|refusal| sheds.note(*refusal, None));
        assert!(sheds.counts().all(|(_, count)| count == 1));
        let mut heard = sheds.bus.subscribe(Class::Low, 4, None);
        sheds.note(Refusal::TenantRate(Duration::ZERO), Some(&"t".into()));
        sheds.note(Refusal::TenantCpu(Duration::ZERO), None);
        sheds.note(Refusal::Stopped, None);
        let more: Vec<_> = sheds.counts().filter(|(_, count)| *count > 1).collect();
        assert_eq!(more, [("rate", 3), ("quarantined", 2)]);
        sheds.bus.close();
        let batch = heard.next(None).unwrap();
        let said: Vec<_> = batch.iter().map(|event| (event.trace_id.as_deref(), &*event.data)).collect();
        let (rate, quarantined) = (r#"{"reason":"rate"}"#, r#"{"reason":"quarantined"}"#);
        assert_eq!(said, [(Some("t"), rate), (None, rate), (None, quarantined)]);
        assert!(batch.iter().all(|event| event.kind == "call_refused"));
    }
}
