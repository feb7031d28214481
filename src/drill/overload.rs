//! More calls than a tool can serve. What is too much is refused at once, and nobody else notices.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::json;

use super::call::Call;
use super::catalogue::{Drill, Mutant, Part};
use super::findings::{Broken, Target, quantile};
use super::history::{Heard, Id, Outcome};
use super::scene::Scene;
use super::session::{PATIENCE, Session};

/// This family.
pub const DRILLS: &[Drill] = &[
    Drill {
        id: "D17",
        name: "overload",
        about: "offers a tool twice and five times what it can do; what is too much is refused at once, the rest is done",
        own: Part::Nothing,
        prepare: |stage| stage.probe("probe", json!({})),
        run: overload,
        mutant: Mutant {
            what: "a queue of three thousand places that calls may stay in for as long as they like",
            trips: "I3",
            spoil: |stage| {
                stage.manifest("probe", json!({ "queue_depth": 3000 }));
                stage.configure("performance", json!({ "maxInflight": 6000, "codelIntervalMs": 0 }));
            },
        },
    },
    Drill {
        id: "D18",
        name: "noisy-neighbour",
        about: "offers one tool three times what it can do; calls of another tool do not notice",
        own: Part::Background,
        prepare: |stage| stage.probe("probe", json!({ "queue_depth": QUEUE })),
        run: noisy_neighbour,
        mutant: Mutant {
            what: "room for four calls in the whole server",
            trips: "I6",
            spoil: |stage| stage.configure("performance", json!({ "maxInflight": 4 })),
        },
    },
];

/// Places in the tool's queue: with calls of a millisecond, what a call may wait in milliseconds.
const QUEUE: u64 = 32;

/// Calls a second that a tool with one worker can do of those that take a millisecond.
const CAPACITY: f64 = 1000.0;

/// How long the load is offered that a neighbour must not notice.
const OFFER: Duration = Duration::from_millis(700);

/// How long each overload lasts: long enough that it is not only a burst.
const OVERLOAD: Duration = Duration::from_secs(2);

/// Calls in flight while the capacity is measured: enough that the worker never waits for one.
const WINDOW: usize = 16;

/// How long a call may take once all is calm again: it, and what else the machine does.
const CALM: Duration = Duration::from_millis(50);

fn a_millisecond() -> Call {
    Call::new("probe", json!({ "verb": "burn", "ms": 1 }))
}

/// Sends `rate` calls a second for `time`, whatever becomes of them.
fn offer(session: &Session, rate: f64, time: Duration) -> Result<Vec<Id>, Broken> {
    let (call, began, mut ids) = (a_millisecond(), Instant::now(), Vec::new());
    while began.elapsed() < time {
        let due = (began.elapsed().as_secs_f64() * rate) as usize;
        while ids.len() < due {
            ids.push(session.call(&call));
        }
        session.let_pass(Duration::from_millis(1))?;
    }
    Ok(ids)
}

/// What became of offered calls.
#[derive(Default)]
struct Served {
    good_ms: Vec<f64>,
    shed_ms: Vec<f64>,
    /// Refused without saying when to try again.
    vague: u64,
    other: u64,
    /// From the first call to the last good answer.
    seconds: f64,
}

impl Served {
    fn of(session: &Session, ids: &[Id]) -> Self {
        let mut served = Self::default();
        let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else { return served };
        session.history(|history| {
            let sent = |id: Id| history.requests[id as usize].sent_ns;
            for line in &history.lines {
                let Heard::Answer(Some(id), outcome) = &line.heard else { continue };
                if !(first..=last).contains(id) || ids.binary_search(id).is_err() {
                    continue;
                }
                let took_ms = (line.recv_ns - sent(*id)) as f64 / 1e6;
                match outcome {
                    Outcome::Good => {
                        served.good_ms.push(took_ms);
                        served.seconds = (line.recv_ns - sent(first)) as f64 / 1e9;
                    }
                    Outcome::Error { code: -31503, retry_after_ms, .. } => {
                        served.shed_ms.push(took_ms);
                        served.vague += u64::from(retry_after_ms.is_none());
                    }
                    _ => served.other += 1,
                }
            }
        });
        served
    }

    fn per_second(&self) -> f64 {
        self.good_ms.len() as f64 / self.seconds.max(1e-9)
    }
}

/// How many calls a second can be done: some are always in flight, and never more.
fn capacity(session: &Session, time: Duration) -> Result<f64, Broken> {
    let (call, began, mut ids) = (a_millisecond(), Instant::now(), Vec::new());
    let mut open: VecDeque<Id> = (0..WINDOW).map(|_| session.ask_later(&call)).collect();
    while let Some(id) = open.pop_front() {
        session.wait(id)?;
        ids.push(id);
        if began.elapsed() < time {
            open.push_back(session.ask_later(&call));
        }
    }
    Ok(Served::of(session, &ids).per_second())
}

/// Since `over_ns`, when the last of these calls was made that was refused or took long, in milliseconds.
fn trouble_ended_ms(session: &Session, ids: &[Id], over_ns: u64) -> f64 {
    session.history(|history| {
        let calm = |id: Id| {
            let sent_ns = history.requests[id as usize].sent_ns;
            history.lines.iter().any(|line| {
                let answered = matches!(&line.heard, Heard::Answer(Some(of), Outcome::Good) if *of == id);
                answered && line.recv_ns - sent_ns <= CALM.as_nanos() as u64
            })
        };
        let last = ids.iter().rev().find(|id| !calm(**id));
        last.map_or(0.0, |id| history.requests[*id as usize].sent_ns.saturating_sub(over_ns) as f64 / 1e6)
    })
}

fn overload(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let length = OVERLOAD.mul_f64(scene.scaled(1) as f64);
    let capacity = capacity(&session, OFFER)?;
    let (mut of, mut over_ns) = (Vec::new(), 0);
    let mut calm = Vec::new();
    for times in [2.0, 5.0] {
        let ids = offer(&session, times * capacity, length)?;
        over_ns = session.now_ns();
        calm = offer(&session, 0.1 * capacity, Duration::from_millis(1500))?;
        session.settle(4 * PATIENCE)?;
        of.push(Served::of(&session, &ids));
    }
    let peak = of.iter().map(Served::per_second).fold(capacity, f64::max);
    let codel = session.history(|history| {
        let shed = |heard: &Heard| matches!(heard, Heard::Answer(_, outcome) if outcome.is_refused("codel"));
        history.lines.iter().filter(|line| shed(&line.heard)).count() as u64
    });
    let findings = &mut scene.findings;
    findings.note("peak_per_second", peak);
    findings.time("goodput_2x_pct", 100.0 * of[0].per_second() / peak.max(1e-9), Target::AtLeast(90.0));
    findings.time("goodput_5x_pct", 100.0 * of[1].per_second() / peak.max(1e-9), Target::AtLeast(90.0));
    let all = |of: &[Served], ms: fn(&Served) -> &Vec<f64>| of.iter().flat_map(|s| ms(s).clone()).collect::<Vec<_>>();
    findings.note("accepted_p50_ms", quantile(&mut all(&of, |s| &s.good_ms), 0.5));
    findings.note("accepted_p99_ms", quantile(&mut all(&of, |s| &s.good_ms), 0.99));
    findings.time("shed_p99_ms", quantile(&mut all(&of, |s| &s.shed_ms), 0.99), Target::AtMost(5.0));
    findings.time("normal_again_ms", trouble_ended_ms(&session, &calm, over_ns), Target::AtMost(1000.0));
    findings.count("shed", all(&of, |s| &s.shed_ms).len() as u64, Target::AtLeast(1.0));
    findings.count("shed_by_codel", codel, Target::AtLeast(1.0));
    findings.count("shed_without_retry_after", of.iter().map(|s| s.vague).sum(), Target::Exactly(0.0));
    findings.count("wrong", of.iter().map(|s| s.other).sum(), Target::Exactly(0.0));
    scene.end(&session)
}

fn noisy_neighbour(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let mut ids = Vec::new();
    scene.rounds(&session, |session| {
        ids.extend(offer(session, 3.0 * CAPACITY, OFFER)?);
        Ok(())
    })?;
    session.settle(PATIENCE)?;
    let served = Served::of(&session, &ids);
    scene.findings.count("served", served.good_ms.len() as u64, Target::AtLeast(1.0));
    scene.findings.count("shed", served.shed_ms.len() as u64, Target::AtLeast(1.0));
    scene.findings.count("wrong", served.other, Target::Exactly(0.0));
    scene.end(&session)
}
