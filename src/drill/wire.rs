//! Faults of the client and of the pipes: input that ends, signals, a reader that does not read, cancels and ids used
//! twice.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::call::Call;
use super::catalogue::{Drill, Mutant, Part};
use super::findings::{Broken, Target, quantile};
use super::history::{Class, Heard, Id, Outcome};
use super::scene::Scene;
use super::session::{PATIENCE, Session};
use super::traffic::Reading;
use crate::failpoint::control::Doing;

/// This family.
pub const DRILLS: &[Drill] = &[
    Drill {
        id: "D19",
        name: "slow-reader",
        about: "does not read 64 MiB of answers for a while; 8 MiB of them wait, and then each is given once or refused",
        own: Part::Nothing,
        prepare: |stage| {
            stage.probe("probe", json!({}));
            // What waits, and what serving takes beside it.
            stage.budget.rss_growth_bytes = (8 + 20) << 20;
        },
        run: slow_reader,
        mutant: Mutant {
            what: "an output buffer without a bound",
            trips: "I3",
            spoil: |stage| stage.arm("mutant.unbounded_output", Doing::Fail),
        },
    },
    Drill {
        id: "D20",
        name: "stdout-closed",
        about: "closes the server's output under load; the server ends soon, by itself",
        own: Part::Background,
        prepare: |_| {},
        run: stdout_closed,
        mutant: Mutant {
            what: "a server that does not notice that its client is gone",
            trips: "exit",
            spoil: |stage| stage.arm("mutant.ignore_broken_pipe", Doing::Fail),
        },
    },
    Drill {
        id: "D21",
        name: "stdin-eof",
        about: "closes the input with 500 calls in flight; all are answered and the server leaves with 0",
        own: Part::Target,
        prepare: |stage| stage.probe("probe", json!({ "workers": 2 })),
        run: stdin_eof,
        mutant: Mutant {
            what: "a server that throws answers away",
            trips: "I1",
            spoil: |stage| stage.arm("mutant.lose_answer", Doing::Fail),
        },
    },
    Drill {
        id: "D22",
        name: "signals",
        about: "SIGTERM drains 500 calls, a second one ends at once, and after SIGKILL a new server is soon there",
        own: Part::Target,
        prepare: |stage| stage.probe("probe", json!({ "workers": 2 })),
        run: signals,
        mutant: Mutant {
            what: "a drain of one millisecond",
            trips: "drained",
            spoil: |stage| stage.configure("shutdown", json!({ "drainMs": 1 })),
        },
    },
    Drill {
        id: "D24",
        name: "cancel-race",
        about: "cancels thousands of calls around the time of their answer, and guests that loop; nothing comes after",
        own: Part::Target,
        prepare: |stage| stage.probe("probe", json!({ "deadline_ms": 1000 })),
        run: cancel_race,
        mutant: Mutant {
            what: "a server that ignores cancels",
            trips: "I1",
            spoil: |stage| stage.arm("mutant.ignore_cancel", Doing::Fail),
        },
    },
    Drill {
        id: "D25",
        name: "duplicate-id",
        about: "uses ids of calls in flight again; the second is refused, the first does not notice",
        own: Part::Nothing,
        prepare: |stage| stage.probe("probe", json!({ "workers": 2 })),
        run: duplicate_id,
        mutant: Mutant {
            what: "a server that does not answer what it refuses",
            trips: "I1",
            spoil: |stage| stage.arm("mutant.ignore_bad_lines", Doing::Fail),
        },
    },
];

/// Calls in flight when the input ends.
const IN_FLIGHT: u64 = 500;

/// Each takes a moment, so that most of them are still to be done when the input ends; with a tool of the person, what
/// that takes.
fn moment(scene: &Scene) -> Call {
    scene.stage.own_call().unwrap_or_else(|| Call::new("probe", json!({ "verb": "burn", "ms": 1 })))
}

fn left_with(scene: &mut Scene, status: Option<ExitStatus>, codes: &[i32]) {
    let code = status.and_then(|status| status.code());
    let is_right = code.is_some_and(|code| codes.contains(&code));
    scene.findings.check("exit", is_right, || format!("the server's end is {status:?}, not one of {codes:?}"));
}

fn good_answers(session: &Session, ids: &[Id]) -> u64 {
    session.history(|history| history.answers_to(ids, |outcome| *outcome == Outcome::Good))
}

fn stdin_eof(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let call = moment(scene);
    let ids: Vec<Id> = (0..IN_FLIGHT).map(|_| session.call(&call)).collect();
    session.stop_watching();
    session.close_input();
    let began = Instant::now();
    let status = session.ended_within(2 * PATIENCE);
    let took = began.elapsed();
    session.output_ended()?;
    scene.findings.count("answered", good_answers(&session, &ids), Target::Exactly(IN_FLIGHT as f64));
    scene.findings.time("exit_ms", took.as_secs_f64() * 1e3, Target::AtMost(5000.0));
    left_with(scene, status, &[0]);
    Ok(())
}

fn signals(scene: &mut Scene) -> Result<(), Broken> {
    one_signal(scene)?;
    two_signals(scene)?;
    kill_and_start_again(scene)
}

/// Whatever was sent so far has been taken on by the server: it reads in order.
fn pass(session: &Session) -> Result<(), Broken> {
    session.wait(session.request("ping", &json!({}))).map(drop)
}

fn one_signal(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let call = moment(scene);
    let ids: Vec<Id> = (0..IN_FLIGHT).map(|_| session.call(&call)).collect();
    pass(&session)?;
    session.stop_watching();
    session.signal(Signal::TERM);
    let began = Instant::now();
    let status = session.ended_within(2 * PATIENCE);
    let took = began.elapsed();
    session.output_ended()?;
    scene.findings.count("drained", good_answers(&session, &ids), Target::Exactly(IN_FLIGHT as f64));
    scene.findings.time("sigterm_exit_ms", took.as_secs_f64() * 1e3, Target::AtMost(5000.0));
    left_with(scene, status, &[0]);
    Ok(())
}

fn two_signals(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    session.call(&Call::new("probe", json!({ "verb": "spin" })));
    pass(&session)?;
    session.stop_watching();
    session.expect_losses();
    session.signal(Signal::TERM);
    // Two at once would be one.
    session.let_pass(Duration::from_millis(100))?;
    let began = Instant::now();
    session.signal(Signal::TERM);
    let status = session.ended_within(2 * PATIENCE);
    scene.findings.time("second_exit_ms", began.elapsed().as_secs_f64() * 1e3, Target::AtMost(200.0));
    left_with(scene, status, &[128 + Signal::TERM.as_raw()]);
    Ok(())
}

fn kill_and_start_again(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    session.background(true);
    session.let_pass(Duration::from_millis(200))?;
    session.background(false);
    session.stop_watching();
    session.expect_losses();
    session.signal(Signal::KILL);
    session.ended_within(PATIENCE);
    let began = Instant::now();
    // Opening a session calls every tool once, so all of them have been found in the cache.
    let session = scene.open()?;
    scene.findings.time("relaunch_ms", began.elapsed().as_secs_f64() * 1e3, Target::AtMost(500.0));
    scene.end(&session)
}

fn slow_reader(scene: &mut Scene) -> Result<(), Broken> {
    const ANSWERS: u64 = 1000;
    let session = scene.open()?;
    let big = Call::new("probe", json!({ "verb": "big", "bytes": 64 << 10 }));
    session.read(Reading::Paused);
    let mut ids = Vec::new();
    // Not all at once: what is in flight is answered, however little room there is.
    for _ in 0..ANSWERS {
        ids.push(session.call(&big));
        session.let_pass(Duration::from_millis(1))?;
    }
    session.let_pass(Duration::from_millis(300))?;
    let grown_mb = |session: &Session| {
        let grown = session.gauge()?.peak_bytes.saturating_sub(session.before.peak_bytes);
        Some(grown as f64 / f64::from(1 << 20))
    };
    let waiting = grown_mb(&session);
    // All that it has not taken on comes at once when it reads on, and is in flight then.
    session.stop_watching();
    session.read(Reading::On);
    session.settle(3 * PATIENCE)?;
    // Those that were read in at once when it read on make more than may wait.
    let refused = session.history(|history| {
        let shed = |heard: &Heard| matches!(heard, Heard::Answer(_, outcome) if outcome.is_refused("inflight"));
        history.lines.iter().filter(|line| shed(&line.heard)).count() as u64
    });
    let answered = good_answers(&session, &ids);
    scene.findings.count("answered_or_refused", answered + refused, Target::Exactly(ANSWERS as f64));
    scene.findings.count("answered", answered, Target::AtLeast(ANSWERS as f64 / 2.0));
    waiting.into_iter().for_each(|mb| scene.findings.note("waiting_mb", mb));
    grown_mb(&session).into_iter().for_each(|mb| scene.findings.note("reading_on_mb", mb));
    scene.end(&session)
}

fn stdout_closed(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    session.background(true);
    session.let_pass(Duration::from_millis(300))?;
    session.stop_watching();
    let began = Instant::now();
    session.read(Reading::Closed);
    let status = session.ended_within(PATIENCE);
    session.background(false);
    scene.findings.time("exit_ms", began.elapsed().as_secs_f64() * 1e3, Target::AtMost(1000.0));
    left_with(scene, status, &[0, 74]);
    Ok(())
}

/// Calls that are cancelled around the time of their answer, in the short form.
const RACES: u64 = 3000;

fn ping(id: Id) -> String {
    format!("{}\n", json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }))
}

fn cancel_race(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let echo = Call::new("probe", json!({ "verb": "echo", "text": "x" }));
    let raced = scene.stage.own_call().unwrap_or_else(|| echo.clone());
    let mut usual_us = Vec::new();
    for _ in 0..50 {
        usual_us.push(session.ask(&raced)?.took.as_secs_f64() * 1e6);
    }
    let usual = quantile(&mut usual_us, 0.5);
    let mut random = fastrand::Rng::with_seed(24);
    let mut ids = Vec::new();
    for _ in 0..scene.scaled(RACES) {
        let id = session.call(&raced);
        let sent = Instant::now();
        // Half of them at once, in the same write as the call.
        let share = if random.bool() { 0.0 } else { random.f64() };
        let after = Duration::from_nanos((share * 1e3 * usual) as u64);
        // A sleep is too coarse for this.
        while sent.elapsed() < after {
            std::thread::yield_now();
        }
        session.cancel(id);
        // Its answer shows that the cancel has been processed.
        session.send_formed(Class::Control, |id| ping(id).into_bytes());
        ids.push(id);
    }
    pass(&session)?;
    let answered = good_answers(&session, &ids);
    scene.findings.note("answered", answered as f64);
    scene.findings.count("cancelled", ids.len() as u64 - answered, Target::AtLeast(1.0));
    let mut freed_ms = Vec::new();
    for _ in 0..5 {
        // The tool's only worker is in the loop when the cancel comes.
        let spin = session.call(&Call::new("probe", json!({ "verb": "spin" })));
        session.let_pass(Duration::from_millis(10))?;
        session.cancel(spin);
        pass(&session)?;
        let next = session.ask(&echo)?;
        scene.findings.check("next", next.outcome == Outcome::Good, || format!("is answered {}", next.message));
        freed_ms.push(next.took.as_secs_f64() * 1e3);
    }
    scene.findings.time("slot_freed_max_ms", quantile(&mut freed_ms, 1.0), Target::AtMost(250.0));
    scene.end(&session)
}

fn duplicate_id(scene: &mut Scene) -> Result<(), Broken> {
    const PAIRS: u64 = 50;
    let session = scene.open()?;
    let sleep = Call::new("probe", json!({ "verb": "sleep", "ms": 20 }));
    let mut ids = Vec::new();
    for _ in 0..PAIRS {
        let id = session.call(&sleep);
        session.call_again(id, &sleep);
        session.wait(session.request("ping", &json!({})))?;
        ids.push(id);
    }
    // The first answer to an id may be to either; both are looked at below.
    session.settle(PATIENCE)?;
    let patience = Instant::now() + PATIENCE;
    let answers = session.until(PATIENCE + PATIENCE, "ids are not answered twice", |state| {
        let answers: Vec<Outcome> = state
            .history
            .lines
            .iter()
            .filter_map(|line| match &line.heard {
                Heard::Answer(Some(id), outcome) if ids.contains(id) => Some(outcome.clone()),
                _ => None,
            })
            .collect();
        (answers.len() as u64 >= 2 * PAIRS || Instant::now() > patience).then_some(answers)
    })?;
    let refused = answers.iter().filter(
        |outcome| matches!(outcome, Outcome::Error { code: -32600, reason, .. } if &**reason == "duplicate_id"),
    );
    let good = answers.iter().filter(|outcome| **outcome == Outcome::Good);
    scene.findings.count("second_refused", refused.count() as u64, Target::Exactly(PAIRS as f64));
    scene.findings.count("first_good", good.count() as u64, Target::Exactly(PAIRS as f64));
    scene.end(&session)
}
