//! The calls that wait for one tool, in a queue for each tenant, served in turn. A pure core.
//!
//! Whoever makes a thousand calls waits for their own nine hundred and ninety-nine, and not everybody else with them
//! (the idea of FQ-CoDel, RFC 8290). Within a tenant it is first in, first out. Each tenant's queue is judged by a
//! [`Codel`] of its own, which is forgotten when the queue has run empty.
//!
//! With one tenant, the usual case, this is a queue with one comparison more.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::codel::Codel;

/// Places of an empty queue that are kept for its next use.
const KEEP: usize = 64;

/// Something that belongs to a tenant.
pub trait OfTenant {
    /// Whose it is.
    fn tenant(&self) -> &Arc<str>;
}

/// See the module documentation.
#[derive(Debug)]
pub struct FairQueue<T> {
    queues: Vec<TenantQueue<T>>,
    /// Places in `queues` that nobody uses.
    unused: Vec<usize>,
    by_tenant: HashMap<Arc<str>, usize>,
    /// Whose turn it is: places in `queues` that are not empty.
    turns: VecDeque<usize>,
    /// The place used last.
    last: usize,
    len: usize,
}

#[derive(Debug)]
struct TenantQueue<T> {
    tenant: Arc<str>,
    items: VecDeque<T>,
    codel: Codel,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            queues: Vec::new(),
            unused: Vec::new(),
            by_tenant: HashMap::new(),
            turns: VecDeque::new(),
            last: 0,
            len: 0,
        }
    }
}

impl<T: OfTenant> FairQueue<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many tenants have something waiting.
    pub fn tenants(&self) -> usize {
        self.turns.len()
    }

    /// How much of `tenant` waits, and how its queue is judged.
    pub fn of(&mut self, tenant: &str) -> Option<(usize, &mut Codel)> {
        let place = self.place(tenant)?;
        let queue = &mut self.queues[place];
        Some((queue.items.len(), &mut queue.codel))
    }

    /// Whether any tenant's queue is standing.
    pub fn is_standing(&self) -> bool {
        self.turns.iter().any(|place| self.queues[*place].codel.is_standing())
    }

    /// Puts `item` behind the others of its tenant.
    pub fn push(&mut self, item: T) {
        let place = self.place(item.tenant()).unwrap_or_else(|| self.add(item.tenant()));
        self.last = place;
        self.queues[place].items.push_back(item);
        self.len += 1;
    }

    /// Takes the first of the tenant whose turn it is, and what `judge` says of it.
    pub fn pop<R>(&mut self, judge: impl FnOnce(&T, &mut Codel) -> R) -> Option<(T, R)> {
        let place = *self.turns.front()?;
        let queue = &mut self.queues[place];
        let item = queue.items.pop_front()?;
        let judged = judge(&item, &mut queue.codel);
        self.len -= 1;
        if queue.items.is_empty() {
            self.turns.pop_front();
            self.forget(place);
        } else if self.turns.len() > 1 {
            self.turns.rotate_left(1);
        }
        Some((item, judged))
    }

    /// Makes room for one of `tenant`: takes the newest of whoever has most waiting, if `tenant` would still have less
    /// than that. With everybody holding as much there is nothing to be gained.
    pub fn evict_for(&mut self, tenant: &str) -> Option<T> {
        let own = self.of(tenant).map_or(0, |(own, _)| own);
        let longest = self.turns.iter().copied().max_by_key(|place| self.queues[*place].items.len())?;
        if own + 1 >= self.queues[longest].items.len() {
            return None;
        }
        self.len -= 1;
        self.queues[longest].items.pop_back()
    }

    /// Takes out everything that `gone` says, in no particular order between tenants.
    pub fn take_if(&mut self, mut gone: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for place in &self.turns {
            let items = &mut self.queues[*place].items;
            let (out, kept) = std::mem::take(items).into_iter().partition(&mut gone);
            *items = kept;
            let out: VecDeque<T> = out;
            taken.extend(out);
        }
        self.len -= taken.len();
        let emptied: Vec<usize> =
            self.turns.iter().copied().filter(|place| self.queues[*place].items.is_empty()).collect();
        self.turns.retain(|place| !emptied.contains(place));
        emptied.into_iter().for_each(|place| self.forget(place));
        taken
    }

    fn place(&self, tenant: &str) -> Option<usize> {
        match self.queues.get(self.last) {
            Some(queue) if !queue.items.is_empty() && *queue.tenant == *tenant => Some(self.last),
            _ => self.by_tenant.get(tenant).copied(),
        }
    }

    fn add(&mut self, tenant: &Arc<str>) -> usize {
        let place = self.unused.pop().unwrap_or(self.queues.len());
        if place == self.queues.len() {
            self.queues.push(TenantQueue {
                tenant: Arc::clone(tenant),
                items: VecDeque::new(),
                codel: Codel::default(),
            });
        } else {
            self.queues[place].tenant = Arc::clone(tenant);
        }
        self.by_tenant.insert(Arc::clone(tenant), place);
        self.turns.push_back(place);
        place
    }

    /// The queue in this place has run empty and lost its turn.
    fn forget(&mut self, place: usize) {
        let queue = &mut self.queues[place];
        queue.codel.ran_empty();
        // A long queue must not keep its memory for ever.
        queue.items.shrink_to(KEEP);
        self.by_tenant.remove(&queue.tenant);
        self.unused.push(place);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> Vec<Arc<str>> {
        ["a", "b", "c", "d"].map(Arc::from).to_vec()
    }

    type Item = (Arc<str>, u32);

    impl OfTenant for Item {
        fn tenant(&self) -> &Arc<str> {
            &self.0
        }
    }

    fn next(queue: &mut FairQueue<Item>) -> Option<u32> {
        queue.pop(|_, _| ()).map(|((_, item), ())| item)
    }

    fn evict_for(queue: &mut FairQueue<Item>, tenant: &str) -> Option<u32> {
        queue.evict_for(tenant).map(|(_, item)| item)
    }

    #[test]
    fn tenants_are_served_in_turn_and_each_in_its_own_order() {
        let (mut queue, names) = (FairQueue::default(), names());
        (0..5).for_each(|item| queue.push((Arc::clone(&names[0]), item)));
        (10..12).for_each(|item| queue.push((Arc::clone(&names[1]), item)));
        queue.push((Arc::clone(&names[2]), 20));
        let order: Vec<u32> = std::iter::from_fn(|| next(&mut queue)).collect();
        assert_eq!(order, [0, 10, 20, 1, 11, 2, 3, 4]);
    }

    #[test]
    fn the_newest_of_whoever_has_most_makes_way() {
        let (mut queue, names) = (FairQueue::default(), names());
        (0..4).for_each(|item| queue.push((Arc::clone(&names[0]), item)));
        assert_eq!(evict_for(&mut queue, "a"), None, "nobody else has more");
        assert_eq!(evict_for(&mut queue, "b"), Some(3));
        queue.push((Arc::clone(&names[1]), 10));
        assert_eq!(evict_for(&mut queue, "b"), Some(2));
        queue.push((Arc::clone(&names[1]), 11));
        assert_eq!(evict_for(&mut queue, "b"), None, "two and two is as fair as it gets");
    }

    #[test]
    fn a_queue_that_ran_empty_is_judged_anew() {
        let (mut queue, names) = (FairQueue::default(), names());
        let now = std::time::Instant::now();
        let policy =
            crate::config::CodelPolicy { target: std::time::Duration::ZERO, interval: std::time::Duration::ZERO };
        queue.push((Arc::clone(&names[0]), 0));
        queue.push((Arc::clone(&names[0]), 1));
        queue.pop(|_, codel| codel.taken(now, std::time::Duration::from_secs(1), policy));
        assert!(queue.is_standing());
        next(&mut queue);
        queue.push((Arc::clone(&names[0]), 2));
        assert!(!queue.is_standing());
    }

    proptest! {
        /// Against a list of (tenant, item) that is searched by hand.
        #[test]
        fn it_does_what_a_list_does(steps in proptest::collection::vec((0_u8..8, 0_usize..4), 1..400)) {
            let (mut queue, names) = (FairQueue::default(), names());
            let (mut list, mut turns): (Vec<(usize, u32)>, Vec<usize>) = (Vec::new(), Vec::new());
            for (number, (step, tenant)) in steps.into_iter().enumerate() {
                let item = number as u32;
                let count = |list: &[(usize, u32)], of: usize| list.iter().filter(|(who, _)| *who == of).count();
                match step {
                    0..4 => {
                        queue.push((Arc::clone(&names[tenant]), item));
                        list.push((tenant, item));
                        if !turns.contains(&tenant) {
                            turns.push(tenant);
                        }
                    }
                    4 | 5 => {
                        let expected = turns.first().copied().map(|turn| {
                            let at = list.iter().position(|(who, _)| *who == turn).unwrap();
                            turns.rotate_left(1);
                            list.remove(at).1
                        });
                        prop_assert_eq!(next(&mut queue), expected);
                    }
                    6 => {
                        let own = count(&list, tenant);
                        let most = (0..4).map(|who| count(&list, who)).max().unwrap();
                        match evict_for(&mut queue, &names[tenant]) {
                            None => prop_assert!(own + 1 >= most),
                            Some(evicted) => {
                                let at = list.iter().position(|(_, item)| *item == evicted).unwrap();
                                let who = list[at].0;
                                prop_assert!(own + 1 < most && count(&list, who) == most);
                                prop_assert!(list[at + 1..].iter().all(|(other, _)| *other != who), "not the newest");
                                list.remove(at);
                            }
                        }
                    }
                    _ => {
                        let mut taken = queue.take_if(|(_, item)| item % 3 == tenant as u32).into_iter().map(|(_, item)| item).collect::<Vec<_>>();
                        taken.sort_unstable();
                        let expected: Vec<u32> =
                            list.iter().map(|(_, item)| *item).filter(|item| item % 3 == tenant as u32).collect();
                        prop_assert_eq!(taken, expected);
                        list.retain(|(_, item)| item % 3 != tenant as u32);
                    }
                }
                turns.retain(|turn| count(&list, *turn) > 0);
                prop_assert_eq!(queue.len(), list.len());
                prop_assert_eq!(queue.tenants(), turns.len());
                for (who, name) in names.iter().enumerate() {
                    prop_assert_eq!(queue.of(name).map_or(0, |(held, _)| held), count(&list, who));
                }
            }
        }
    }
}
