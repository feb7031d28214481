//! Every failpoint in turn, with each thing it can do: what SQLite does with memory and files that fail.
//!
//! A case arms one point for one to three hits, makes a short load that passes every point, and demands that everything
//! is answered, that the point has acted, and that the server is whole again afterwards. Most cases share one server. A
//! few end it, which has to happen in good order.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::call::Call;
use super::catalogue::{Drill, Mutant, Part};
use super::findings::{Broken, Target};
use super::history::{Class, Id, Outcome};
use super::scene::Scene;
use super::session::{PATIENCE, Session};
use super::stage::Stage;
use super::supervision::Log;
use crate::failpoint::control::{Command, Doing};
use crate::failpoint::{Sort, points};

/// This family.
pub const DRILLS: &[Drill] = &[Drill {
    id: "D31",
    name: "failpoint-sweep",
    about: "makes each failpoint panic, fail and take 100 ms, one at a time; every promise is kept with each of them",
    own: Part::Background,
    prepare,
    run: sweep,
    mutant: Mutant {
        what: "a server that throws answers away",
        trips: "I1",
        spoil: |stage| stage.arm("mutant.lose_answer", Doing::Fail),
    },
}];

/// One point and what it does.
#[derive(Debug, Clone, Copy)]
struct Case {
    point: &'static str,
    action: Doing,
    /// Hits that act.
    times: u64,
    /// Tells it from the others.
    number: usize,
}

/// What a case is expected to do to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It serves on.
    Survives,
    /// It serves on, and says that it has lost records of the supervision log.
    LosesRecords,
    /// It answers everything that was taken on and leaves with this code.
    Ends(i32),
    /// Its client counts as gone, so that it need not answer, and it leaves with this code.
    LosesClient(i32),
}

const ACTIONS: [Doing; 3] = [Doing::Panic, Doing::Fail, Doing::DelayMs(100)];

/// Cases that go wrong, after which the others are not tried.
const ENOUGH: u64 = 3;

/// Points whose subject is a tool: they are armed for the test guest alone, so that healthy calls do not meet them.
const OF_TOOLS: &[&str] = &[
    "admission.admit",
    "lane.send",
    "worker.start",
    "worker.init",
    "worker.recv",
    "guest.enter",
    "guest.leave",
    "guest.import",
    "store.build",
    "supervisor.spawn",
    "supervisor.handle",
    "tools_supervisor.handle",
    "worker.handle",
];

fn cases() -> Vec<Case> {
    let faults = points::ALL.iter().filter(|point| point.sort == Sort::Fault);
    let pairs = faults.flat_map(|point| ACTIONS.map(|action| (point.name, action)));
    let numbered =
        pairs.enumerate().map(|(number, (point, action))| Case { point, action, times: 1 + number as u64 % 3, number });
    numbered.collect()
}

impl Case {
    fn fate(self) -> Fate {
        match (self.point, self.action) {
            (_, Doing::DelayMs(_)) => Fate::Survives,
            ("log.write", _) => Fate::LosesRecords,
            ("input.read", _) => Fate::Ends(0),
            ("output.write", _) => Fate::LosesClient(74),
            // Nobody is above the root who could start it again.
            ("root.spawn", Doing::Panic) => Fate::Ends(70),
            _ => Fate::Survives,
        }
    }

    fn arming(self) -> Command {
        let only = match self.point {
            "root.spawn" => Some("root/event_bus"),
            point if OF_TOOLS.contains(&point) => Some("probe"),
            _ => None,
        };
        Command::Arm {
            arm: self.point.to_owned(),
            action: self.action,
            only: only.map(str::to_owned),
            skip: 0,
            times: Some(self.times),
        }
    }

    /// The tool that is compiled in this case, where that passes the point.
    fn cold_tool(self) -> Option<String> {
        let compiles = self.point.starts_with("cache.") || self.point.starts_with("compile.");
        compiles.then(|| format!("cold_{:02}", self.number))
    }
}

/// The smallest command there is, which does nothing.
const COMMAND: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x03\x01\0\x01\
    \x07\x13\x02\x06memory\x02\0\x06_start\0\0\x0a\x04\x01\x02\0\x0b";

fn prepare(stage: &mut Stage) {
    stage.probe("probe", json!({ "permissions": ["read"], "deadline_ms": 2000 }));
    for case in cases() {
        let Some(name) = case.cold_tool() else { continue };
        // A section without meaning, so that the cache knows none of them by another.
        let section = [0, 6, 4, b'c', b'o', b'l', b'd', case.number as u8];
        stage.tool(&name, &[COMMAND, &section].concat(), json!({ "description": "Does nothing." }));
    }
    // Most of them hold everything up; there must be room for the healthy calls that are due meanwhile.
    stage.healthy_rate = 100.0;
    // So that calls lead past its points.
    stage.configure("events", json!({ "journal": "all" }));
    // Each case is to find the server as the first one does.
    stage.configure(
        "supervision",
        json!({ "rootIntensity": 1000, "restartIntensity": 1000, "backoffCapMs": 20,
        "breakerCalls": 0 }),
    );
    stage.budget.threads_growth = 2 * cases().len() as u64;
    stage.budget.fds_growth = 256;
    stage.budget.fds_left = 128;
}

fn sweep(scene: &mut Scene) -> Result<(), Broken> {
    let (mut cases, mut shared, mut good, mut bad) = (cases(), None, 0, 0);
    // Those that end the server last, as they need one each.
    cases.sort_by_key(|case| match case.fate() {
        Fate::LosesRecords => 0,
        Fate::Survives => 1,
        Fate::Ends(_) | Fate::LosesClient(_) => 2,
    });
    let all = cases.len();
    for case in cases {
        match case.take_place(scene, &mut shared) {
            Ok(()) => good += 1,
            Err(broken) if broken.check == "stopped" => return Err(broken),
            Err(broken) => {
                bad += 1;
                shared.take().into_iter().for_each(|session| session.background(false));
                scene.findings.broke(Broken::new("cases", format!("{} {:?}: {broken}", case.point, case.action)));
            }
        }
        if bad == ENOUGH {
            break;
        }
    }
    scene.findings.count("cases_passed", good, Target::Exactly(all as f64));
    Ok(())
}

impl Case {
    /// With the server that cases share, if this one may.
    fn take_place(self, scene: &mut Scene, shared: &mut Option<Arc<Session>>) -> Result<(), Broken> {
        if self.fate() == Fate::Survives {
            let session = match shared {
                Some(session) => Arc::clone(session),
                None => shared.insert(scene.open()?).clone(),
            };
            session.background(true);
            return self.survive(&scene.stage, &session);
        }
        if let Some(session) = shared.take() {
            healthy(&session)?;
            scene.end(&session)?;
        }
        let session = scene.open()?;
        match self.fate() {
            Fate::Survives => Ok(()),
            Fate::LosesRecords => {
                self.survive(&scene.stage, &session)?;
                scene.end(&session)?;
                records_lost(&scene.stage.log())
            }
            Fate::Ends(code) => self.end(&session, code),
            Fate::LosesClient(code) => {
                session.history(|history| history.killed = true);
                self.end(&session, code)
            }
        }
    }

    /// Makes the load with the point armed; then the server has to be whole.
    fn survive(self, stage: &Stage, session: &Session) -> Result<(), Broken> {
        let before = session.console.acted(self.point)?;
        session.console.obey(&self.arming())?;
        // On a slow machine a call may be over before it gets as far as the point.
        let mut tries = 0..LOADS;
        while session.console.acted(self.point)? == before {
            if tries.next().is_none() {
                return Err(Broken::new("dormant", "the point was not passed"));
            }
            self.load(stage, session)?.iter().try_for_each(|id| session.wait(*id).map(drop))?;
        }
        session.console.disarm(self.point)?;
        until_good(session, &probe(json!({ "verb": "echo", "text": "x" })))?;
        // A panic while a module is taken on counts against the module, for good.
        if let Some(cold) = self.cold_tool().filter(|_| !matches!(self.action, Doing::Panic)) {
            until_good(session, &Call::new(&cold, json!({})))?;
        }
        let whole = |log: &Log| log.down().is_empty().then_some(());
        let is_lossy = self.fate() == Fate::LosesRecords;
        if !is_lossy && Log::until(&stage.log(), session, PATIENCE, whole)?.is_none() {
            let down = format!("{:?} did not come back", Log::read(&stage.log()).down());
            return Err(Broken::new("restarted", down));
        }
        Ok(())
    }

    /// Calls and deaths that lead past every point. Returns the calls.
    fn load(self, stage: &Stage, session: &Session) -> Result<Vec<Id>, Broken> {
        let failed = |error: std::io::Error| Broken::new("stage", error.to_string());
        let calls =
            [json!({ "verb": "echo", "text": "x" }), json!({ "verb": "log", "text": "x" }), json!({ "verb": "count" })];
        let mut ids: Vec<Id> = calls.into_iter().map(|arguments| session.call(&probe(arguments))).collect();
        let key = json!({ "io.nurones/idempotencyKey": uuid::Uuid::now_v7().to_string() });
        ids.push(session.call(&probe(json!({ "verb": "echo", "text": "x" })).meta(key)));
        ids.extend(self.cold_tool().map(|cold| session.call(&Call::new(&cold, json!({})))));
        ids.iter().try_for_each(|id| session.wait(*id).map(drop))?;
        // The worker cannot build another Store, so that its thread ends and others start.
        let file = stage.files().join("probe-start");
        std::fs::write(&file, "trap").map_err(failed)?;
        let exits = |log: &Log| log.count("child_exited", WORKER);
        let before = exits(&Log::read(&stage.log()));
        session.wait(session.call(&probe(json!({ "verb": "trap" }))))?;
        Log::until(&stage.log(), session, PATIENCE, |log| (exits(log) > before).then_some(()))?;
        std::fs::remove_file(&file).map_err(failed)?;
        // Not in time, so that its executor is made anew.
        let short = json!({ "io.nurones/deadlineMs": 50 });
        ids.push(session.call(&probe(json!({ "verb": "spin" })).meta(short)));
        for path in ["root/event_bus", WORKER, "root/tools/probe"] {
            // Nobody lives there while it is being replaced.
            let _ = session.console.kill(path);
        }
        ids.push(session.call(&probe(json!({ "verb": "echo", "text": "x" }))));
        Ok(ids)
    }

    /// Arms the point with calls in flight; the server has to leave with `code`.
    fn end(self, session: &Session, code: i32) -> Result<(), Broken> {
        (0..IN_FLIGHT).for_each(|_| _ = session.call(&probe(json!({ "verb": "burn", "ms": 1 }))));
        // All of them have been taken on: the server reads in order.
        session.wait(session.request("ping", &json!({})))?;
        session.stop_watching();
        session.console.obey(&self.arming())?;
        match self.point {
            "root.spawn" => session.console.kill("root/event_bus")?,
            // Something to read, or to write an answer for. The one is owed nothing, as it may not be read any more.
            "input.read" => session.send_raw(b"\n".to_vec(), 0),
            _ => drop(session.request("ping", &json!({}))),
        }
        let status = session.ended_within(2 * PATIENCE);
        session.output_ended()?;
        match status.and_then(|status| status.code()) {
            Some(seen) if seen == code => Ok(()),
            _ => Err(Broken::new("exit", format!("the server did not leave with {code}: {status:?}"))),
        }
    }
}

/// The worker that meets most of it.
const WORKER: &str = "root/tools/probe/w0";

/// Loads that may be made before a point counts as one that nothing passes.
const LOADS: u32 = 3;

/// Calls in flight when a server ends.
const IN_FLIGHT: u64 = 50;

fn probe(arguments: Value) -> Call {
    Call::new("probe", arguments)
}

/// Calls again until a call goes well.
fn until_good(session: &Session, call: &Call) -> Result<(), Broken> {
    const EVERY: Duration = Duration::from_millis(10);
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = session.ask(call)?;
        if answer.outcome == Outcome::Good {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Broken::new("whole", format!("{} is not well again: {}", call.tool, answer.text())));
        }
        session.let_pass(EVERY)?;
    }
}

/// Healthy calls do not pass what is armed for another tool, or are only held up by it.
fn healthy(session: &Session) -> Result<(), Broken> {
    session.background(false);
    session.settle(PATIENCE)?;
    session.history(|history| {
        let of_health = history.requests.iter().filter(|request| request.class == Class::Healthy);
        let ids: Vec<Id> = of_health.map(|request| request.id).collect();
        match history.answers_to(&ids, |outcome| *outcome != Outcome::Good) {
            0 => Ok(()),
            failed => Err(Broken::new("I6", format!("{failed} healthy calls failed"))),
        }
    })
}

/// The log says that it has a gap. It must not be judged with those of the other cases, which have none.
fn records_lost(log: &Path) -> Result<(), Broken> {
    let lost = Log::read(log).count("log_dropped", "root");
    std::fs::remove_file(log).map_err(|error| Broken::new("stage", error.to_string()))?;
    if lost == 0 { Err(Broken::new("log_dropped", "records are missing, and the log does not say so")) } else { Ok(()) }
}
