//! What was judged of a history and then forgotten: a soak makes millions of calls, and nobody can keep them all.
//!
//! Requests are put away in the order of their ids, up to the first that is not settled yet. What is put away is all
//! right or has been noted as broken; from then on any further answer to it is one too many.

use std::collections::BTreeMap;
use std::sync::Arc;

use hdrhistogram::Histogram;

use super::checker;
use super::findings::Broken;
use super::history::{Class, Heard, History, Id, Outcome};

/// Latencies are told apart to three digits, up to an hour.
const DIGITS: u8 = 3;
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Breaks that are kept; a run that has as many is long lost.
const BROKEN: usize = 100;

/// See the module documentation.
#[derive(Debug)]
pub struct Past {
    /// Requests put away.
    pub requests: u64,
    /// Healthy calls that did not go well and were not refused either.
    pub healthy_failed: u64,
    /// Healthy calls that were refused for want of room, as they may be on a machine that is too slow for the load.
    pub healthy_refused: u64,
    /// Latencies of healthy calls in nanoseconds, counted from when they were due.
    pub healthy_ns: Histogram<u64>,
    /// How calls that were part of the fault ended, by tool: how often each way.
    pub faults: BTreeMap<Arc<str>, Vec<(Outcome, u64)>>,
    /// What did not hold.
    pub broken: Vec<Broken>,
}

impl Default for Past {
    fn default() -> Self {
        let healthy_ns = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("these bounds are allowed");
        Self {
            requests: 0,
            healthy_failed: 0,
            healthy_refused: 0,
            healthy_ns,
            faults: BTreeMap::new(),
            broken: Vec::new(),
        }
    }
}

impl Past {
    /// Judges what is settled in `history` and takes it out. Spans and gauges stay: they are judged at the end.
    pub fn take(&mut self, history: &mut History) {
        let settled = settled(history);
        let until = history.first + settled as Id;
        // Before anything is taken out: this is about the order of all lines.
        let mut broken = Vec::new();
        checker::nothing_after_a_cancel(history, until, &mut broken);
        let part = split(history, settled, until);
        broken.extend(checker::part(&part));
        broken.truncate(BROKEN.saturating_sub(self.broken.len()));
        self.broken.append(&mut broken);
        self.tell(&part);
    }

    /// How often calls of `tool` that were part of the fault ended as `is` says.
    pub fn count(&self, tool: &str, is: impl Fn(&Outcome) -> bool) -> u64 {
        let ways = self.faults.get(tool).into_iter().flatten();
        ways.filter(|(outcome, _)| is(outcome)).map(|(_, count)| count).sum()
    }

    fn tell(&mut self, part: &History) {
        self.requests += part.requests.len() as u64;
        let answers = checker::first_answers(part);
        for (request, answer) in part.requests.iter().zip(answers) {
            match (request.class, answer) {
                (Class::Healthy, Some((recv_ns, Outcome::Good))) => {
                    self.healthy_ns.saturating_record(recv_ns.saturating_sub(request.due_ns).max(1));
                }
                (Class::Healthy, Some((_, outcome))) if for_want_of_room(outcome) => self.healthy_refused += 1,
                (Class::Healthy, _) => self.healthy_failed += 1,
                (Class::Fault, Some((_, outcome))) => self.ended(&request.tool, outcome),
                (Class::Fault, None) | (Class::Control, _) => {}
            }
        }
    }

    fn ended(&mut self, tool: &Arc<str>, outcome: &Outcome) {
        let ways = self.faults.entry(Arc::clone(tool)).or_default();
        match ways.iter().position(|(known, _)| known == outcome) {
            Some(known) => ways[known].1 += 1,
            // Refusals differ in how long to wait.
            None if ways.len() < BROKEN => ways.push((outcome.clone(), 1)),
            None => {}
        }
    }
}

/// Whether a call was refused because there were too many.
pub fn for_want_of_room(outcome: &Outcome) -> bool {
    outcome.is_refused("inflight") || outcome.is_refused("queue_full")
}

/// How many requests from the first on are settled: answered, or cancelled and the server has seen that. None in a
/// session that used an id twice, as positions and ids have come apart.
fn settled(history: &History) -> usize {
    let slots = history.slots();
    if slots != history.requests.len() {
        return 0;
    }
    let answers = checker::first_answers(history);
    let latest = answers.iter().rposition(Option::is_some).map(|slot| history.first as usize + slot);
    let mut seen = vec![false; slots];
    for cancel in history.cancels.iter().filter(|cancel| latest.is_some_and(|latest| latest >= cancel.after)) {
        if let Some(seen) = history.slot(cancel.id).and_then(|slot| seen.get_mut(slot)) {
            *seen = true;
        }
    }
    answers.iter().zip(seen).position(|(answer, seen)| answer.is_none() && !seen).unwrap_or(slots)
}

/// Takes out the first `settled` requests, those with ids before `until`, with their cancels and answers.
fn split(history: &mut History, settled: usize, until: Id) -> History {
    let (lines, kept) = std::mem::take(&mut history.lines).into_iter().partition(|line| match line.heard {
        Heard::Answer(Some(id), _) => id < until,
        // How many of these are owed is only known at the end.
        Heard::Answer(None, _) => false,
        Heard::Other | Heard::Unreadable(_) => true,
    });
    history.lines = kept;
    let (cancels, kept) = std::mem::take(&mut history.cancels).into_iter().partition(|cancel| cancel.id < until);
    history.cancels = kept;
    let requests = history.requests.drain(..settled).collect();
    let part = History {
        first: history.first,
        requests,
        cancels,
        lines,
        deaf: history.deaf.clone(),
        killed: history.killed,
        ..History::default()
    };
    history.first = until;
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::history::{Cancel, Line, Request};

    fn asked(count: u64) -> History {
        let request = |id| {
            let (class, tool, deadline_ms) = (Class::Healthy, "t".into(), Some(100));
            Request { id, class, tool, due_ns: id, sent_ns: id, deadline_ms }
        };
        History { requests: (0..count).map(request).collect(), ..History::default() }
    }

    fn answer(history: &mut History, id: Id) {
        history.lines.push(Line { recv_ns: 1000, heard: Heard::Answer(Some(id), Outcome::Good) });
    }

    #[test]
    fn what_is_settled_is_put_away_and_the_rest_stays() {
        let (mut history, mut past) = (asked(4), Past::default());
        [0, 1, 3].into_iter().for_each(|id| answer(&mut history, id));
        past.take(&mut history);
        assert_eq!((past.requests, past.broken.len(), past.healthy_ns.len()), (2, 0, 2));
        assert_eq!((history.first, history.requests.len(), history.lines.len()), (2, 2, 1));
        answer(&mut history, 2);
        past.take(&mut history);
        assert_eq!((past.requests, past.broken.len(), history.lines.len()), (4, 0, 0));
    }

    #[test]
    fn an_answer_to_what_was_put_away_is_one_too_many() {
        let (mut history, mut past) = (asked(2), Past::default());
        answer(&mut history, 0);
        past.take(&mut history);
        answer(&mut history, 0);
        past.take(&mut history);
        assert_eq!(past.broken.iter().map(|broken| broken.check).collect::<Vec<_>>(), ["I1"]);
    }

    #[test]
    fn a_cancelled_request_is_settled_once_the_server_has_seen_the_cancel() {
        let (mut history, mut past) = (asked(3), Past::default());
        history.cancels.push(Cancel { id: 0, sent_ns: 2, after: 2 });
        answer(&mut history, 1);
        past.take(&mut history);
        assert_eq!(past.requests, 0, "1 was written before the cancel");
        answer(&mut history, 2);
        past.take(&mut history);
        assert_eq!((past.requests, past.broken.len()), (3, 0));
        answer(&mut history, 0);
        past.take(&mut history);
        assert_eq!(past.broken.len(), 1);
    }

    #[test]
    fn an_answer_behind_its_cancel_is_found_although_the_proof_stays() {
        // 3 shows that the cancel of 0 was seen, and cannot be put away, as 2 is open.
        let (mut history, mut past) = (asked(4), Past::default());
        history.cancels.push(Cancel { id: 0, sent_ns: 2, after: 2 });
        [3, 0, 1].into_iter().for_each(|id| answer(&mut history, id));
        past.take(&mut history);
        assert_eq!((past.requests, past.broken.len(), history.lines.len()), (2, 1, 1));
    }

    #[test]
    fn nothing_is_put_away_where_an_id_was_used_twice() {
        let (mut history, mut past) = (asked(2), Past::default());
        history.requests.push(history.requests[0].clone());
        [0, 1, 0].into_iter().for_each(|id| answer(&mut history, id));
        past.take(&mut history);
        assert_eq!((past.requests, history.requests.len()), (0, 3));
    }
}
