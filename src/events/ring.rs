//! The last events, for whoever comes late. Pure.

use std::collections::VecDeque;

use super::{Batch, Event};

/// The last batches, up to a number of events.
#[derive(Debug)]
pub struct Ring {
    batches: VecDeque<Batch>,
    events: usize,
    capacity: usize,
}

impl Ring {
    /// Keeps at most `capacity` events.
    pub fn new(capacity: usize) -> Self {
        Self { batches: VecDeque::new(), events: 0, capacity }
    }

    /// Keeps `batch`, whose offsets follow those of the last one, and forgets what is too old.
    pub fn push(&mut self, batch: Batch) {
        self.events += batch.len();
        self.batches.push_back(batch);
        while self.events > self.capacity
            && let Some(oldest) = self.batches.pop_front()
        {
            self.events -= oldest.len();
        }
    }

    /// The offset of the oldest event that is kept.
    pub fn oldest(&self) -> Option<u64> {
        self.batches.front().and_then(|batch| batch.first()).map(|event| event.offset)
    }

    /// What is kept from `offset` on, in order.
    pub fn since(&self, offset: u64) -> impl Iterator<Item = &Event> {
        let first = self.batches.partition_point(|batch| batch.last().is_none_or(|event| event.offset < offset));
        self.batches.range(first..).flat_map(|batch| batch.iter()).skip_while(move |event| event.offset < offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::events::Class;

    proptest! {
        #[test]
        fn the_last_ones_are_there_whole_and_in_order(
            sizes in proptest::collection::vec(1_usize..8, 0..60),
            asked in 0_u64..300,
        ) {
            let (mut ring, mut next) = (Ring::new(32), 0);
            for size in sizes {
                let event = |offset| Event { offset, ..Event::new("k", "s".into(), Class::Low) };
                ring.push((next..next + size as u64).map(event).collect());
                next += size as u64;
            }
            let offsets: Vec<u64> = ring.since(asked).map(|event| event.offset).collect();
            let oldest = ring.oldest().unwrap_or(next);
            // A batch goes as a whole, so a few fewer than the capacity may be left.
            prop_assert!(next - oldest <= 32 && (next - oldest > 24 || oldest == 0));
            prop_assert_eq!(offsets, (asked.max(oldest)..next.max(asked.max(oldest))).collect::<Vec<_>>());
        }
    }
}
