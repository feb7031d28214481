//! Whether the promises were kept, from the history and the supervision log alone. It knows nothing of how the driver
//! saw things while they happened.
//!
//! | | |
//! |---|---|
//! | I1 | each request that was not cancelled has exactly one answer, no answer is to nothing, and none is written after its cancel was processed |
//! | I2 | every line of output is one JSON-RPC 2.0 message |
//! | I3 | memory, descriptors, threads and lanes stay within their budget |
//! | I4 | the supervision log makes sense |
//! | I5 | every answer comes within its deadline and 250 ms |
//! | I6 | healthy calls never fail, and are about as fast as before the fault |

use std::path::Path;

use super::findings::{Broken, quantile};
use super::history::{Class, Heard, History, Id, Outcome, Phase};
use super::stage::Budget;
use crate::audit::{self, verdict::Break};

/// Beyond its deadline, an answer may take this long.
pub const GRACE_MS: u64 = 250;

/// A healthy call may be this much slower than in quiet times, or twice as slow, whichever is more.
const SLOWER_MS: f64 = 10.0;

const NS_PER_MS: f64 = 1e6;

/// All that does not hold of I1, I2, I3 and I5. I4 is [`log`]; I6 is [`healthy`].
pub fn history(history: &History, budget: &Budget) -> Vec<Broken> {
    let mut broken = Vec::new();
    one_answer_each(history, &mut broken);
    nothing_after_a_cancel(history, Id::MAX, &mut broken);
    only_messages(history, &mut broken);
    within_budget(history, budget, &mut broken);
    in_time(history, &mut broken);
    broken
}

/// What does not hold of I1, I2 and I5 for one part of a history, whose `cancels` were looked at before.
pub(super) fn part(part: &History) -> Vec<Broken> {
    let mut broken = Vec::new();
    one_answer_each(part, &mut broken);
    only_messages(part, &mut broken);
    in_time(part, &mut broken);
    broken
}

/// I4: what does not make sense of the log at `path`. Records may be lost only where the drill sees to that.
pub fn log(path: &Path, may_lose: bool) -> Vec<Broken> {
    let counts = |found: &&Break| !(may_lose && found.rule == "dropped");
    match audit::rules::check(path) {
        Ok(verdict) => verdict.breaks.iter().filter(counts).map(|found| Broken::new("I4", found.to_string())).collect(),
        Err(error) => vec![Broken::new("I4", format!("the supervision log cannot be read: {error}"))],
    }
}

/// By id: how many answers are owed and whether it was cancelled; then how many came.
struct Tally {
    owed: Vec<u32>,
    cancelled: Vec<bool>,
    answers: Vec<u32>,
    /// Answers to requests that had been put away, so had all that they were owed.
    again: u64,
    unknown: u64,
    unnamed: u64,
}

impl Tally {
    fn of(history: &History) -> Self {
        let slots = history.slots();
        let (owed, cancelled, answers) = (vec![0; slots], vec![false; slots], vec![0; slots]);
        let mut tally = Self { owed, cancelled, answers, again: 0, unknown: 0, unnamed: 0 };
        let slot = |id| history.slot(id);
        history.requests.iter().filter_map(|request| slot(request.id)).for_each(|slot| tally.owed[slot] += 1);
        history.cancels.iter().filter_map(|cancel| slot(cancel.id)).for_each(|slot| tally.cancelled[slot] = true);
        for (_, id, _) in answers_of(history) {
            match id.map(slot) {
                None => tally.unnamed += 1,
                Some(None) => tally.again += 1,
                Some(Some(slot)) => match tally.answers.get_mut(slot) {
                    Some(count) => *count += 1,
                    None => tally.unknown += 1,
                },
            }
        }
        tally
    }
}

/// The answers, with the position of their line.
fn answers_of(history: &History) -> impl Iterator<Item = (usize, Option<Id>, &Outcome)> {
    history.lines.iter().enumerate().filter_map(|(position, line)| match &line.heard {
        Heard::Answer(id, outcome) => Some((position, *id, outcome)),
        Heard::Other | Heard::Unreadable(_) => None,
    })
}

/// Whether answers may be missing because the driver killed the server or would not listen to it.
fn may_be_lost(history: &History) -> bool {
    history.killed || history.deaf.iter().any(|(_, until_ns)| *until_ns == u64::MAX)
}

fn one_answer_each(history: &History, broken: &mut Vec<Broken>) {
    let tally = Tally::of(history);
    let fewer_allowed = may_be_lost(history);
    let (mut lost, mut twice) = (Vec::new(), Vec::new());
    for (slot, (owed, answers)) in tally.owed.iter().zip(&tally.answers).enumerate() {
        let id = history.first + slot as Id;
        if answers < owed && !tally.cancelled[slot] && !fewer_allowed {
            lost.push(id);
        }
        if answers > owed {
            twice.push(id);
        }
    }
    let first = |ids: &[Id]| ids.iter().take(3).map(Id::to_string).collect::<Vec<_>>().join(", ");
    if !lost.is_empty() {
        broken.push(Broken::new("I1", format!("{} requests have no answer: {} …", lost.len(), first(&lost))));
    }
    if !twice.is_empty() {
        broken.push(Broken::new("I1", format!("{} requests have too many answers: {} …", twice.len(), first(&twice))));
    }
    if tally.again > 0 {
        let what = format!("{} answers are to requests that had been answered or cancelled", tally.again);
        broken.push(Broken::new("I1", what));
    }
    if tally.unknown > 0 {
        broken.push(Broken::new("I1", format!("{} answers are to ids that were never used", tally.unknown)));
    }
    let expected = history.unnamed;
    if tally.unnamed > expected || tally.unnamed < expected && !fewer_allowed {
        let what = format!("{} answers without an id came for {expected} lines that are owed one", tally.unnamed);
        broken.push(Broken::new("I1", what));
    }
}

/// The server takes lines in order. So once a request is answered that was written after a cancel, the cancel has been
/// processed, and an answer behind that one was written too late. Looks at requests with ids before `until`.
pub(super) fn nothing_after_a_cancel(history: &History, until: Id, broken: &mut Vec<Broken>) {
    let mut after: Vec<Option<usize>> = vec![None; history.slots()];
    for cancel in history.cancels.iter().filter(|cancel| cancel.id < until) {
        if let Some(after) = history.slot(cancel.id).and_then(|slot| after.get_mut(slot)) {
            *after = Some(cancel.after);
        }
    }
    let mut place = vec![0; history.slots()];
    for (position, request) in history.requests.iter().enumerate() {
        if let Some(place) = history.slot(request.id).and_then(|slot| place.get_mut(slot)) {
            *place = history.first as usize + position;
        }
    }
    let mut latest_answered = None;
    let mut late = 0;
    for (_, id, _) in answers_of(history) {
        let Some(slot) = id.and_then(|id| history.slot(id)) else { continue };
        let cancelled_at = after.get(slot).copied().flatten();
        late += u64::from(cancelled_at.is_some_and(|after| latest_answered.is_some_and(|latest| latest >= after)));
        latest_answered = latest_answered.max(place.get(slot).copied());
    }
    if late > 0 {
        broken.push(Broken::new("I1", format!("{late} answers were written after their cancel was processed")));
    }
}

fn only_messages(history: &History, broken: &mut Vec<Broken>) {
    for line in &history.lines {
        if let Heard::Unreadable(why) = line.heard {
            broken.push(Broken::new("I2", format!("a line of output is no message: {why}")));
        }
    }
}

fn within_budget(history: &History, budget: &Budget, broken: &mut Vec<Broken>) {
    let Some(before) = history.gauges.first() else { return };
    let mut judge = |what: &str, most: u64, limit: u64| {
        if most > limit {
            broken.push(Broken::new("I3", format!("{what} reached {most}, more than {limit}")));
        }
    };
    let most = |of: fn(&super::history::Gauge) -> u64| history.gauges.iter().map(of).max().unwrap_or(0);
    let kib = |bytes: u64| bytes >> 10;
    judge("memory in KiB", kib(most(|g| g.peak_bytes)), kib(before.peak_bytes + budget.rss_growth_bytes));
    judge("open descriptors", most(|g| g.fds), before.fds + budget.fds_growth);
    judge("threads", most(|g| g.threads), before.threads + budget.threads_growth);
    judge("calls in a lane", most(|g| g.queue_depth), budget.queue_depth);
}

/// By slot: when the first answer came, and what it was.
pub(super) fn first_answers(history: &History) -> Vec<Option<(u64, &Outcome)>> {
    let mut first = vec![None; history.slots()];
    for (position, id, outcome) in answers_of(history) {
        let slot = id.and_then(|id| history.slot(id));
        if let Some(first @ None) = slot.and_then(|slot| first.get_mut(slot)) {
            *first = Some((history.lines[position].recv_ns, outcome));
        }
    }
    first
}

fn in_time(history: &History, broken: &mut Vec<Broken>) {
    let answered = first_answers(history);
    let mut late = 0;
    let mut worst = None;
    for request in &history.requests {
        let answer = history.slot(request.id).and_then(|slot| answered[slot]);
        let (Some(deadline_ms), Some((recv_ns, _))) = (request.deadline_ms, answer) else { continue };
        let on_us = history.deaf.iter().any(|(from, until)| request.sent_ns < *until && recv_ns > *from);
        let took_ms = recv_ns.saturating_sub(request.sent_ns) / 1_000_000;
        if took_ms > u64::from(deadline_ms) + GRACE_MS && !on_us {
            late += 1;
            worst = worst.max(Some((took_ms - u64::from(deadline_ms), request.id)));
        }
    }
    if let Some((over_ms, id)) = worst {
        let what = format!("{late} answers are late; that to {id} came {over_ms} ms after its deadline");
        broken.push(Broken::new("I5", what));
    }
}

/// Healthy calls in one phase.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Health {
    /// How many were due.
    pub calls: u64,
    /// How many did not go well.
    pub failed: u64,
    /// The 99th percentile of their latency, counted from when they were due.
    pub p99_ms: f64,
}

/// What a time may be during a fault that is `quiet_ms` without.
pub fn limit_ms(quiet_ms: f64) -> f64 {
    (2.0 * quiet_ms).max(quiet_ms + SLOWER_MS)
}

/// A quiet phase and the fault that followed it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Round {
    /// Before.
    pub quiet: Health,
    /// During.
    pub fault: Health,
}

impl Round {
    /// What the 99th percentile may be during the fault.
    pub fn limit_ms(&self) -> f64 {
        limit_ms(self.quiet.p99_ms)
    }

    /// Whether healthy calls were about as fast as before.
    pub fn is_good(&self) -> bool {
        self.fault.p99_ms <= self.limit_ms()
    }
}

/// I6: the rounds of a history. Of requests that were put away it says nothing.
pub fn rounds(history: &History) -> Vec<Round> {
    let mut sums: Vec<(Health, Vec<f64>)> = vec![Default::default(); history.spans.len()];
    let answered = first_answers(history);
    for request in history.requests.iter().filter(|request| request.class == Class::Healthy) {
        let place = history.spans.partition_point(|span| span.from_ns <= request.due_ns);
        let Some(index) = place.checked_sub(1) else { continue };
        if request.due_ns >= history.spans[index].until_ns {
            continue;
        }
        let (health, latencies) = &mut sums[index];
        health.calls += 1;
        match history.slot(request.id).and_then(|slot| answered[slot]) {
            Some((recv_ns, Outcome::Good)) => latencies.push(recv_ns.saturating_sub(request.due_ns) as f64 / NS_PER_MS),
            _ => health.failed += 1,
        }
    }
    let mut rounds = Vec::new();
    let mut quiet = Health::default();
    for (span, (health, mut latencies)) in history.spans.iter().zip(sums) {
        let health = Health { p99_ms: quantile(&mut latencies, 0.99), ..health };
        match span.phase {
            Phase::Quiet => quiet = health,
            Phase::Fault => rounds.push(Round { quiet, fault: health }),
        }
    }
    rounds
}

/// I6: what does not hold of these rounds. Failures count in all of them, times in the best.
pub fn healthy(rounds: &[Round]) -> Vec<Broken> {
    let mut broken = Vec::new();
    let failed: u64 = rounds.iter().map(|round| round.quiet.failed + round.fault.failed).sum();
    if failed > 0 {
        broken.push(Broken::new("I6", format!("{failed} healthy calls failed")));
    }
    if rounds.iter().any(|round| round.fault.calls == 0) {
        broken.push(Broken::new("I6", "no healthy call was due in a round"));
    }
    if let Some(last) = rounds.last().filter(|_| !rounds.iter().any(Round::is_good)) {
        let (seen, limit) = (last.fault.p99_ms, last.limit_ms());
        broken.push(Broken::new("I6", format!("the p99 of healthy calls is {seen:.2} ms, more than {limit:.2} ms")));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::history::{Cancel, Gauge, Line, Request, Span};

    const MS: u64 = 1_000_000;

    const BUDGET: Budget =
        Budget { rss_growth_bytes: 10 << 20, fds_growth: 5, fds_left: 2, threads_growth: 5, queue_depth: 10 };

    /// Requests 0, 1, 2, … sent a millisecond after each other, with a deadline of 100 ms.
    fn asked(count: u64) -> History {
        let request = |id: u64| Request {
            id,
            class: Class::Healthy,
            tool: "t".into(),
            due_ns: id * MS,
            sent_ns: id * MS,
            deadline_ms: Some(100),
        };
        History { requests: (0..count).map(request).collect(), ..History::default() }
    }

    fn answer(history: &mut History, id: Option<Id>, at_ms: u64) {
        history.lines.push(Line { recv_ns: at_ms * MS, heard: Heard::Answer(id, Outcome::Good) });
    }

    fn checks(history: &History) -> Vec<&'static str> {
        super::history(history, &BUDGET).into_iter().map(|broken| broken.check).collect()
    }

    #[test]
    fn each_request_has_one_answer() {
        let mut history = asked(2);
        answer(&mut history, Some(0), 5);
        assert_eq!(checks(&history), ["I1"], "one is lost");
        history.killed = true;
        assert!(checks(&history).is_empty(), "unless the driver has seen to that");
        history.killed = false;
        answer(&mut history, Some(1), 5);
        assert!(checks(&history).is_empty());
        answer(&mut history, Some(1), 6);
        assert_eq!(checks(&history), ["I1"], "one has two");
        history.requests.push(Request { ..history.requests[1].clone() });
        assert!(checks(&history).is_empty(), "an id that was sent twice is owed two");
        answer(&mut history, Some(7), 6);
        assert_eq!(checks(&history), ["I1"], "nobody asked");
    }

    #[test]
    fn lines_that_name_no_id_have_their_answers() {
        let mut history = History { unnamed: 1, ..History::default() };
        assert_eq!(checks(&history), ["I1"]);
        answer(&mut history, None, 1);
        assert!(checks(&history).is_empty());
        answer(&mut history, None, 1);
        assert_eq!(checks(&history), ["I1"]);
    }

    #[test]
    fn an_answer_after_its_cancel_was_processed_is_too_late() {
        let mut history = asked(3);
        // 1 is cancelled after 0 and 1 were sent, and before 2 was.
        history.cancels.push(Cancel { id: 1, sent_ns: MS, after: 2 });
        answer(&mut history, Some(0), 5);
        answer(&mut history, Some(2), 5);
        assert!(checks(&history).is_empty(), "none is fine");
        let mut early = asked(3);
        early.cancels = history.cancels.clone();
        [0, 1, 2].into_iter().for_each(|id| answer(&mut early, Some(id), 5));
        assert!(checks(&early).is_empty(), "it was written before anything sent after the cancel");
        answer(&mut history, Some(1), 5);
        assert_eq!(checks(&history), ["I1"], "2 shows that the cancel had been processed");
    }

    #[test]
    fn every_line_is_a_message() {
        let mut history = History::default();
        history.lines.push(Line { recv_ns: 0, heard: Heard::Unreadable("it is no JSON object") });
        assert_eq!(checks(&history), ["I2"]);
    }

    #[test]
    fn what_is_used_stays_within_the_budget() {
        let before = Gauge { rss_bytes: 1 << 20, peak_bytes: 1 << 20, fds: 10, threads: 5, queue_depth: 0 };
        let mut history = History { gauges: vec![before, before], ..History::default() };
        assert!(checks(&history).is_empty());
        history.gauges[1] = Gauge { rss_bytes: 0, peak_bytes: 12 << 20, fds: 16, threads: 11, queue_depth: 11 };
        assert_eq!(checks(&history), ["I3"; 4]);
    }

    #[test]
    fn an_answer_comes_within_its_deadline_and_the_grace() {
        let mut history = asked(1);
        answer(&mut history, Some(0), 350);
        assert!(checks(&history).is_empty());
        history.lines[0].recv_ns += MS;
        assert_eq!(checks(&history), ["I5"]);
        history.deaf.push((200 * MS, 351 * MS));
        assert!(checks(&history).is_empty(), "the driver did not listen");
    }

    /// A quiet phase and a fault of 100 calls each.
    fn round(quiet_ms: u64, fault_ms: u64) -> History {
        let mut history = asked(200);
        for id in 0..200 {
            answer(&mut history, Some(id), id + if id < 100 { quiet_ms } else { fault_ms });
        }
        history.spans = vec![
            Span { phase: Phase::Quiet, from_ns: 0, until_ns: 100 * MS },
            Span { phase: Phase::Fault, from_ns: 100 * MS, until_ns: 200 * MS },
        ];
        history
    }

    #[test]
    fn healthy_calls_may_be_twice_as_slow_or_ten_milliseconds_slower() {
        let good = |quiet_ms, fault_ms| healthy(&rounds(&round(quiet_ms, fault_ms))).is_empty();
        assert!(good(1, 11) && !good(1, 12) && good(30, 60) && !good(30, 61));
        let both = [rounds(&round(1, 50)), rounds(&round(1, 1))].concat();
        assert!(healthy(&both).is_empty(), "the best round counts");
    }

    #[test]
    fn a_healthy_call_that_fails_counts_in_every_round() {
        let mut failing = round(1, 1);
        failing.lines[150].heard = Heard::Answer(Some(150), Outcome::ToolError("tool_trapped".into()));
        let mut lost = round(1, 1);
        lost.lines.pop();
        for history in [failing, lost] {
            let rounds = [rounds(&history), rounds(&round(1, 1))].concat();
            assert_eq!(rounds[0].fault.failed, 1);
            assert_eq!(healthy(&rounds).len(), 1);
        }
    }
}
