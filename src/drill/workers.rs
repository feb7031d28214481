//! Faults of workers and of single calls: traps, panics of the host, a tool that always faults.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::call::Call;
use super::catalogue::{Drill, Mutant, Part};
use super::checker::{self, Health, Round, limit_ms};
use super::findings::{Broken, Target, quantile};
use super::history::{History, Id, Outcome, Phase};
use super::scene::Scene;
use super::session::{PATIENCE, Session};
use super::tries::Tries;
use crate::failpoint::control::{Command, Doing};

/// This family.
pub const DRILLS: &[Drill] = &[
    Drill {
        id: "D01",
        name: "trap-storm",
        about: "traps in a tool a hundred times a second; each is answered as such, and the next call finds a new Store",
        own: Part::Background,
        prepare: |stage| {
            stage.probe("probe", json!({}));
            stage.configure("supervision", breaker(CALLS));
        },
        run: trap_storm,
        mutant: Mutant {
            what: "warm Stores that are kept after a trap",
            trips: "next_wrong",
            spoil: |stage| stage.arm("mutant.keep_torn_store", Doing::Fail),
        },
    },
    Drill {
        id: "D02",
        name: "host-panic",
        about: "panics in a host function of 20 tools in turn; only the call in hand is lost, and the next is soon served",
        own: Part::Background,
        prepare: |stage| {
            stage.probe(&nth(0), json!({}));
            // Soon healthy again: each panic is to be a tool's first.
            stage.configure("supervision", json!({ "restartPeriodMs": 200 }));
        },
        run: host_panic,
        mutant: Mutant {
            what: "worker threads that take 200 ms to start",
            trips: "next_late",
            spoil: |stage| stage.arm("worker.start", Doing::DelayMs(200)),
        },
    },
    Drill {
        id: "D13",
        name: "breaker",
        about: "a tool that traps in every one of 2,000 calls a second; soon they are refused at once, until it is well",
        own: Part::Background,
        prepare: |stage| {
            stage.probe("probe", json!({}));
            stage.configure("supervision", breaker(CALLS));
        },
        run: breaks,
        mutant: Mutant {
            what: "the circuit breaker off",
            trips: "opened",
            spoil: |stage| stage.configure("supervision", breaker(0)),
        },
    },
];

fn probe(arguments: Value) -> Call {
    Call::new("probe", arguments)
}

fn echo(tool: &str) -> Call {
    Call::new(tool, json!({ "verb": "echo", "text": "x" })).control()
}

fn trap() -> Call {
    probe(json!({ "verb": "trap" }))
}

/// Between two traps of the storm, at most.
const TRAP_EVERY: Duration = Duration::from_millis(10);

/// Good calls after each trap: fewer than half of the calls may fault, or the circuit breaker opens.
const GOOD_ONES: usize = 3;

fn trap_storm(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let (mut traps, mut next) = (Tries::default(), Tries::default());
    scene.rounds(&session, |session| {
        let due = Instant::now() + TRAP_EVERY;
        traps.fault(&session.ask(&trap())?, "tool_trapped");
        for _ in 0..GOOD_ONES {
            next.good(&session.ask(&echo("probe"))?);
        }
        session.let_pass(due.saturating_duration_since(Instant::now()))
    })?;
    traps.tell(&mut scene.findings, "traps", "traps_wrong");
    next.tell(&mut scene.findings, "next", "next_wrong");
    scene.end(&session)?;
    // The server has ended, so that nothing is held back any more.
    let log = scene.log();
    let worker = "root/tools/probe/w0";
    scene.findings.count("recorded", log.count("call_faulted", worker), Target::Exactly(traps.count() as f64));
    let mut rebuilt: Vec<f64> =
        log.events("call_faulted", worker).filter_map(|fault| fault["restart"]["took_us"].as_f64()).collect();
    scene.findings.time("rebuild_p99_us", quantile(&mut rebuilt, 0.99), Target::AtMost(1000.0));
    Ok(())
}

/// Tools of which the host panics once in each round, so that each panic is the first of its worker.
const TOOLS: usize = 20;

/// Between two panics: each tool's turn comes once in a short round.
const PANIC_EVERY: Duration = Duration::from_millis(25);

fn nth(number: usize) -> String {
    format!("probe_{number:02}")
}

fn host_panic(scene: &mut Scene) -> Result<(), Broken> {
    // One of them has the module compiled, and the others find it in the cache.
    let first = scene.open()?;
    scene.end(&first)?;
    (1..TOOLS).for_each(|number| scene.stage.probe(&nth(number), json!({})));
    let session = scene.open()?;
    let (mut quiet, mut lost, mut next) = (Tries::default(), Tries::default(), Tries::default());
    let mut recovery_ms = Vec::new();
    let mut tools = (0..TOOLS).map(nth).cycle();
    scene.rounds(&session, |session| {
        let due = Instant::now() + PANIC_EVERY;
        let Some(tool) = tools.next() else { return Ok(()) };
        quiet.good(&session.ask(&echo(&tool))?);
        let arm = Command::Arm {
            arm: "guest.import".to_owned(),
            action: Doing::Panic,
            only: Some(tool.clone()),
            skip: 0,
            times: Some(1),
        };
        session.console.obey(&arm)?;
        let dies = session.call(&Call::new(&tool, json!({ "verb": "log", "text": "x" })));
        // It waits in the lane while the worker dies, for its successor.
        let waits = session.call(&echo(&tool));
        let (dies, waits) = (session.wait(dies)?, session.wait(waits)?);
        lost.fault(&dies, "worker_lost");
        next.good(&waits);
        recovery_ms.push(waits.took.saturating_sub(dies.took).as_secs_f64() * 1e3);
        session.let_pass(due.saturating_duration_since(Instant::now()))
    })?;
    lost.tell(&mut scene.findings, "panics", "panics_wrong");
    next.tell(&mut scene.findings, "next", "next_wrong");
    quiet.tell(&mut scene.findings, "before", "before_wrong");
    let (quiet_ms, middle) = (quiet.quantile_ms(0.5), quantile(&mut recovery_ms, 0.5));
    scene.findings.time("recovery_p50_ms", middle, Target::AtMost(5.0));
    scene.findings.time("recovery_p99_ms", quantile(&mut recovery_ms, 0.99), Target::AtMost(50.0));
    scene.findings.check("next_late", middle <= limit_ms(quiet_ms), || {
        format!("half of the calls after a panic wait longer than {middle:.1} ms, and before it take {quiet_ms:.1} ms")
    });
    scene.end(&session)?;
    let log = scene.log();
    let panicked = log.events("child_exited", "").filter(|exit| exit["reason"]["kind"] == "host_panic").count();
    scene.findings.count("workers_replaced", panicked as u64, Target::Exactly(lost.count() as f64));
    Ok(())
}

/// Calls below which the breaker concludes nothing.
const CALLS: u64 = 20;

/// The policy of the breaker, scaled down.
fn breaker(calls: u64) -> Value {
    json!({ "breakerCalls": calls, "breakerPeriodMs": 2000, "breakerOpenMs": 500, "breakerOpenCapMs": 500 })
}

/// Calls that are sent together, and how often: 2,000 a second.
const BURST: usize = 50;
const BURST_EVERY: Duration = Duration::from_millis(25);

fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Error { retry_after_ms: Some(_), .. }) && outcome.is_refused("breaker_open")
}

fn breaks(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let mut ids: Vec<Id> = Vec::new();
    scene.rounds(&session, |session| {
        let due = Instant::now() + BURST_EVERY;
        let burst: Vec<Id> = (0..BURST).map(|_| session.call(&trap())).collect();
        burst.iter().try_for_each(|id| session.wait(*id).map(drop))?;
        ids.extend(burst);
        session.let_pass(due.saturating_duration_since(Instant::now()))
    })?;
    let well_ms = well_after(&session)?;
    scene.findings.time("well_after_ms", well_ms, Target::AtMost(2000.0));
    scene.end(&session)?;
    let log = scene.log();
    let events = |event| log.events(event, "root/tools/probe").count() as u64;
    scene.findings.count("opened", events("breaker_open"), Target::AtLeast(1.0));
    scene.findings.count("closed", events("breaker_closed"), Target::Exactly(1.0));
    let of = |is: &dyn Fn(&Outcome) -> bool| session.history(|history| history.answers_to(&ids, is));
    let (trapped, refused) = (of(&|outcome| outcome.is_fault("tool_trapped")), of(&is_refused));
    scene.findings.note("refused", refused as f64);
    scene.findings.count("wrong", ids.len() as u64 - trapped - refused, Target::Exactly(0.0));
    // One may have passed the gate just before it shut.
    let trials = events("breaker_half_open");
    scene.findings.count("trapped", trapped, Target::AtMost((CALLS + trials + 1) as f64));
    // The first calls wait behind those that open the breaker.
    session.history(|history| tell_refusals(scene, history, &ids[BURST..]));
    Ok(())
}

/// Calls the tool as it should be called until a call goes well; returns how long that took, in milliseconds.
fn well_after(session: &Session) -> Result<f64, Broken> {
    const EVERY: Duration = Duration::from_millis(20);
    let began = Instant::now();
    while session.ask(&echo("probe"))?.outcome != Outcome::Good {
        if began.elapsed() > PATIENCE {
            return Err(Broken::new("closed", "the tool is well again, and its calls are still refused"));
        }
        session.let_pass(EVERY)?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// How fast calls are refused; the best round counts.
fn tell_refusals(scene: &mut Scene, history: &History, ids: &[Id]) {
    let faults = history.spans.iter().filter(|span| span.phase == Phase::Fault);
    let rounds: Vec<Round> = faults
        .zip(checker::rounds(history))
        .map(|(span, round)| {
            let within = |sent_ns| (span.from_ns..span.until_ns).contains(&sent_ns);
            let sent = history.requests.iter().filter(|request| within(request.sent_ns) && ids.contains(&request.id));
            let sent: Vec<Id> = sent.map(|request| request.id).collect();
            let mut took_ms = history.took_ms(&sent, is_refused);
            let fault = Health { calls: took_ms.len() as u64, failed: 0, p99_ms: quantile(&mut took_ms, 0.99) };
            Round { fault, ..round }
        })
        .collect();
    let best = rounds.iter().map(|round| round.fault.p99_ms).fold(f64::INFINITY, f64::min);
    scene.findings.time("refusal_p99_ms", best, Target::AtMost(1.0));
    let is_good = rounds.iter().any(|round| round.fault.calls > 0 && round.is_good());
    scene.findings.check("refusals_slow", is_good, || {
        let calls: Vec<String> =
            rounds.iter().map(|round| format!("{} in {:.1} ms", round.fault.calls, round.fault.p99_ms)).collect();
        format!("refusals are missing or slow in each round: {} (p99)", calls.join(", "))
    });
}
