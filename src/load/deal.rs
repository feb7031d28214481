//! Which call of a mix is made when: in a fixed order, each as often as its weight says and as evenly as that goes. The
//! same plan makes the same calls.

use std::sync::Arc;

use super::plan::Call;
use super::schedule::Share;

/// The sum of the weights of a mix, at most: the length of its order.
pub(super) const MAX_WEIGHT: u32 = 10_000;

/// The order of the calls of one connection.
#[derive(Debug, Clone)]
pub(super) struct Deal {
    /// Positions in the mix, repeated again and again.
    order: Arc<[u16]>,
    share: Share,
}

impl Deal {
    /// The order of `calls` in the part of one connection.
    pub(super) fn new(calls: &[Call], share: Share) -> Self {
        let total: i64 = calls.iter().map(|call| i64::from(call.weight)).sum();
        let mut credits = vec![0; calls.len()];
        // Each turn everybody earns its weight, and the richest pays for all: no call comes twice before it has to.
        let order = (0..total).map(|_| {
            credits.iter_mut().zip(calls).for_each(|(credit, call)| *credit += i64::from(call.weight));
            let richest = (0..credits.len()).rev().max_by_key(|index| credits[*index]).unwrap_or_default();
            credits[richest] -= total;
            richest as u16
        });
        Self { order: order.collect(), share }
    }

    /// The position in the mix of what the connection calls in its `turn`, from 0. Connections begin at different places,
    /// so that each makes every call.
    pub(super) fn which(&self, turn: u64) -> usize {
        match self.order.len() as u64 {
            0 | 1 => 0,
            len => usize::from(self.order[((turn + self.share.index as u64) % len) as usize]),
        }
    }

    /// The number of that call among those of all connections, from 1.
    pub(super) fn number(&self, turn: u64) -> u64 {
        turn * self.share.of as u64 + self.share.index as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn mix(weights: &[u32]) -> Vec<Call> {
        weights.iter().map(|weight| Call { weight: *weight, ..Call::new("t", &Default::default()) }).collect()
    }

    #[test]
    fn a_heavy_call_does_not_come_in_one_block() {
        let deal = Deal::new(&mix(&[3, 1, 2]), Share::ALL);
        let order: Vec<usize> = (0..12).map(|turn| deal.which(turn)).collect();
        assert_eq!(order, [0, 2, 0, 1, 2, 0, 0, 2, 0, 1, 2, 0]);
    }

    proptest! {
        #[test]
        fn each_call_comes_as_often_as_its_weight(
            weights in prop::collection::vec(1u32..20, 1..6), index in 0usize..8, rounds in 1u64..4,
        ) {
            let deal = Deal::new(&mix(&weights), Share { index, of: 8 });
            let total: u32 = weights.iter().sum();
            let mut seen = vec![0; weights.len()];
            (0..u64::from(total) * rounds).for_each(|turn| seen[deal.which(turn)] += 1);
            let wanted: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) * rounds).collect();
            prop_assert_eq!(seen, wanted);
        }

        #[test]
        fn no_two_calls_have_the_same_number(of in 1usize..9, turns in 1u64..50) {
            let calls = mix(&[1]);
            let deals = (0..of).map(|index| Deal::new(&calls, Share { index, of }));
            let numbers: BTreeSet<u64> =
                deals.flat_map(|deal| (0..turns).map(move |turn| deal.number(turn))).collect();
            prop_assert_eq!(numbers, (1..=turns * of as u64).collect());
        }
    }
}
