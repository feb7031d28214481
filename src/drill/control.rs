//! Faults of the control plane: its actors are killed under load. Nobody who calls a tool notices.

use std::time::{Duration, Instant};

use serde_json::json;

use super::call::Call;
use super::catalogue::{Drill, Mutant, Part};
use super::findings::{Broken, Target};
use super::history::{Id, Outcome};
use super::scene::Scene;
use super::session::{PATIENCE, Session};
use super::stage::Stage;
use super::supervision::Log;
use crate::failpoint::control::{Command, Doing};

/// This family.
pub const DRILLS: &[Drill] = &[
    Drill {
        id: "D14",
        name: "kill-event-bus",
        about: "kills the event bus again and again under load; it is replaced, and no call is lost or fails",
        own: Part::Background,
        prepare: often,
        run: |scene| kill_in_turn(scene, &["root/event_bus"]),
        mutant: Mutant {
            what: "an event bus that cannot be started again",
            trips: "restarted",
            spoil: |stage| arm_for(stage, "root.spawn", "root/event_bus"),
        },
    },
    Drill {
        id: "D15",
        name: "kill-supervisors",
        about: "kills context, supervisors and workers' actors under load; no call is lost or fails, no Store is dropped",
        own: Part::Background,
        prepare: often,
        run: |scene| kill_in_turn(scene, SUPERVISORS),
        mutant: Mutant {
            what: "a supervisor that cannot start its workers' actors again",
            trips: "restarted",
            spoil: |stage| arm_for(stage, "supervisor.spawn", "probe"),
        },
    },
    Drill {
        id: "D16",
        name: "escalation",
        about: "kills the event bus more often than is tolerated; everything in flight is answered and the server leaves with 70",
        own: Part::Nothing,
        prepare: |stage| stage.probe("probe", json!({ "workers": 2 })),
        run: escalation,
        mutant: Mutant {
            what: "a server that throws answers away",
            trips: "I1",
            spoil: |stage| stage.arm("mutant.lose_answer", Doing::Fail),
        },
    },
];

/// Everybody in the tree but the event bus and the root: with each dies all that is below it.
const SUPERVISORS: &[&str] = &[
    "root/context",
    "root/tools",
    "root/tools/probe",
    "root/tools/probe/w0",
    "root/tools/fs_read",
    "root/tools/fs_read/w0",
];

/// A stage on which control actors may die as often as they like.
fn often(stage: &mut Stage) {
    stage.probe("probe", json!({}));
    stage.configure("supervision", json!({ "rootIntensity": 1000 }));
}

fn arm_for(stage: &mut Stage, point: &str, subject: &str) {
    stage.armed.push(Command::Arm {
        arm: point.to_owned(),
        action: Doing::Fail,
        only: Some(subject.to_owned()),
        skip: 0,
        times: None,
    });
}

/// Between two kills, at least.
const KILL_EVERY: Duration = Duration::from_millis(50);

/// Calls in flight while an actor is killed, and how long each takes.
const BUSY: u64 = 4;
const BUSY_MS: u64 = 2;

/// What became of kills and of the calls beside them.
#[derive(Default)]
struct Kills {
    killed: u64,
    /// Those after which everybody was there again.
    restarted: u64,
    ids: Vec<Id>,
    /// Calls that the probe's instance says it has served.
    served: Option<u64>,
    stores_dropped: u64,
}

fn kill_in_turn(scene: &mut Scene, paths: &[&str]) -> Result<(), Broken> {
    let session = scene.open()?;
    let (log, mut kills) = (scene.stage.log(), Kills::default());
    // All of them each time, however slow the machine is.
    let killed = scene.rounds(&session, |session| {
        paths.iter().try_for_each(|path| {
            let due = Instant::now() + KILL_EVERY;
            kills.kill(session, &log, path)?;
            session.let_pass(due.saturating_duration_since(Instant::now()))
        })
    });
    scene.findings.count("killed", kills.killed, Target::AtLeast(paths.len() as f64));
    scene.findings.count("restarted", kills.restarted, Target::Exactly(kills.killed as f64));
    let failed = session.history(|history| history.answers_to(&kills.ids, |outcome| *outcome != Outcome::Good));
    scene.findings.count("failed", failed, Target::Exactly(0.0));
    scene.findings.count("stores_dropped", kills.stores_dropped, Target::Exactly(0.0));
    killed?;
    scene.end(&session)?;
    let log = scene.log();
    let downtime_us = log.events("restart_ok", "").filter_map(|line| line["downtime_us"].as_f64());
    scene.findings.time("downtime_max_ms", downtime_us.fold(0.0, f64::max) / 1e3, Target::AtMost(100.0));
    Ok(())
}

impl Kills {
    /// Kills the actor at `path` with calls in flight, and looks whether it comes back and its tool has noticed.
    fn kill(&mut self, session: &Session, log: &std::path::Path, path: &str) -> Result<(), Broken> {
        let before = Log::read(log).count("restart_ok", path);
        let busy = Call::new("probe", json!({ "verb": "burn", "ms": BUSY_MS }));
        self.ids.extend((0..BUSY).map(|_| session.call(&busy)));
        session.console.kill(path)?;
        self.killed += 1;
        let back = |log: &Log| (log.count("restart_ok", path) > before && log.down().is_empty()).then_some(());
        self.restarted += u64::from(Log::until(log, session, PATIENCE, back)?.is_some());
        let count = session.ask(&Call::new("probe", json!({ "verb": "count" })))?;
        let served: Option<u64> = count.text().parse().ok();
        // A Store that was dropped counts from the beginning.
        let expected = self.served.map(|before| before + BUSY + 1);
        self.stores_dropped += u64::from(served.is_none() || expected.is_some_and(|expected| served != Some(expected)));
        self.served = served;
        Ok(())
    }
}

/// Deaths of one control actor that the server does not survive: its default.
const TOO_OFTEN: u64 = 3;

/// Calls in flight when it gives up, and how long each takes.
const IN_FLIGHT: u64 = 300;
const CALL_MS: u64 = 2;

fn escalation(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let (file, bus) = (scene.stage.log(), "root/event_bus");
    for kill in 1..TOO_OFTEN {
        session.console.kill(bus)?;
        let back = |log: &Log| (log.count("restart_ok", bus) == kill).then_some(());
        let back = Log::until(&file, &session, PATIENCE, back)?.is_some();
        scene.findings.check("restarted", back, || format!("after {kill} deaths the event bus is not there again"));
    }
    let call = Call::new("probe", json!({ "verb": "burn", "ms": CALL_MS }));
    let ids: Vec<Id> = (0..IN_FLIGHT).map(|_| session.call(&call)).collect();
    // All of them have been taken on: the server reads in order.
    session.wait(session.request("ping", &json!({})))?;
    session.stop_watching();
    session.console.kill(bus)?;
    let began = Instant::now();
    let status = session.ended_within(2 * PATIENCE);
    let took = began.elapsed();
    session.output_ended()?;
    let good = session.history(|history| history.answers_to(&ids, |outcome| *outcome == Outcome::Good));
    let refused = session.history(|history| history.answers_to(&ids, |outcome| outcome.is_refused("shutting_down")));
    scene.findings.note("served", good as f64);
    scene.findings.count("answered", good + refused, Target::Exactly(IN_FLIGHT as f64));
    scene.findings.time("exit_ms", took.as_secs_f64() * 1e3, Target::AtMost(6000.0));
    let code = status.and_then(|status| status.code());
    scene.findings.check("exit", code == Some(70), || format!("the server did not leave with 70: {status:?}"));
    let log = scene.log();
    scene.findings.count("escalated", log.count("escalated", bus), Target::Exactly(1.0));
    for phase in ["drain", "stop"] {
        let said = log.events("shutdown_phase", "root").any(|line| line["phase"] == phase);
        scene.findings.check("phases", said, || format!("the supervision log does not speak of the phase {phase}"));
    }
    scene
        .findings
        .check("last_line", log.ends_with("stopped"), || "the supervision log does not end with stopped".into());
    Ok(())
}
