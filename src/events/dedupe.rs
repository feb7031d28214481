//! Which events were told already: a window of the last ones, bounded in number and age. Pure: the time is an argument.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What makes two events the same: stream, kind and correlation id.
pub type Key = (Arc<str>, &'static str, Arc<str>);

/// The window.
#[derive(Debug)]
pub struct Dedupe {
    keys: usize,
    age_us: i64,
    seen: HashSet<Key>,
    /// The same, the oldest first, with the time each was first seen.
    order: VecDeque<(i64, Key)>,
}

impl Dedupe {
    /// A window of at most `keys`, each remembered for at most `age`.
    pub fn new(keys: usize, age: Duration) -> Self {
        let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        Self { keys, age_us, seen: HashSet::new(), order: VecDeque::new() }
    }

    /// Whether `key` is new at `now_us`; from then on it is not. A repeat does not make it younger.
    pub fn is_new(&mut self, key: Key, now_us: i64) -> bool {
        while self.order.front().is_some_and(|(since, _)| now_us.saturating_sub(*since) >= self.age_us) {
            self.forget_oldest();
        }
        if self.seen.contains(&key) {
            return false;
        }
        if self.order.len() >= self.keys {
            self.forget_oldest();
        }
        self.seen.insert(key.clone());
        self.order.push_back((now_us, key));
        true
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.seen.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: u8) -> Key {
        ("s".into(), "k", name.to_string().into())
    }

    #[test]
    fn stream_kind_and_correlation_all_count() {
        let mut window = Dedupe::new(10, Duration::from_secs(1));
        let keys: [Key; 4] = [("a", "x", "1"), ("b", "x", "1"), ("a", "y", "1"), ("a", "x", "2")]
            .map(|(s, k, c)| (s.into(), k, c.into()));
        assert!(keys.iter().all(|key| window.is_new(key.clone(), 0)));
        assert!(keys.iter().all(|key| !window.is_new(key.clone(), 999_999)));
        assert!(keys.iter().all(|key| window.is_new(key.clone(), 1_000_000)), "a second is over");
    }

    proptest! {
        #[test]
        fn as_a_list_that_is_searched(offered in proptest::collection::vec((0_u8..12, 0_i64..40), 0..200)) {
            let mut window = Dedupe::new(5, Duration::from_micros(100));
            let (mut list, mut now): (Vec<(i64, u8)>, i64) = (Vec::new(), 0);
            for (name, passes) in offered {
                now += passes;
                list.retain(|(since, _)| now - since < 100);
                let expected = !list.iter().any(|(_, known)| *known == name);
                if expected {
                    list.push((now, name));
                    list.drain(..list.len().saturating_sub(5));
                }
                prop_assert_eq!(window.is_new(key(name), now), expected);
                prop_assert!(window.order.len() <= 5 && window.seen.len() == window.order.len());
            }
        }
    }
}
