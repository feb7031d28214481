//! Tools that cannot start any more: they are tried with growing delays, then left alone, and taken back once they can.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::call::Call;
use super::catalogue::{Drill, Mutant, Part};
use super::findings::{Broken, Target};
use super::history::Outcome;
use super::scene::Scene;
use super::session::{PATIENCE, Session};
use super::stage::Stage;
use super::supervision::Log;
use super::tries::Tries;
use crate::load::cpu_of;

/// This family.
pub const DRILLS: &[Drill] = &[
    Drill {
        id: "D04",
        name: "start-loop",
        about: "a tool that loops while it starts; ended in time, tried again, quarantined, and taken back once it is well",
        own: Part::Background,
        prepare: |stage| {
            stage.probe("probe", json!({ "permissions": ["read"] }));
            stage.configure("supervision", json!({ "initDeadlineMs": INIT_MS, "restartPeriodMs": PERIOD_MS }));
        },
        run: start_loop,
        mutant: Mutant {
            what: "a deadline for starts raised to 10 s",
            trips: "quarantined",
            spoil: |stage| stage.configure("supervision", json!({ "initDeadlineMs": 10_000 })),
        },
    },
    Drill {
        id: "D12",
        name: "crash-loop",
        about: "a tool that traps while it starts; delays as the policy has them, then quarantine, which costs nothing",
        own: Part::Nothing,
        prepare: |stage| {
            stage.probe("probe", json!({ "permissions": ["read"] }));
            stage.configure("supervision", json!({ "restartPeriodMs": PERIOD_MS }));
        },
        run: crash_loop,
        mutant: Mutant {
            what: "a thousand restarts tolerated in a row",
            trips: "quarantined",
            spoil: |stage| stage.configure("supervision", json!({ "restartIntensity": 1000 })),
        },
    },
];

/// The time a tool has to start.
const INIT_MS: u64 = 100;

/// The time of a call that is over before a tool that cannot start is given up.
const SHORT_MS: u32 = 100;

/// The one worker of the tool, and the tool.
const WORKER: &str = "root/tools/probe/w0";
const TOOL: &str = "root/tools/probe";

/// A tool that fails to start, on demand.
struct Loop {
    /// Says how; while it is there, no instance can be built.
    file: PathBuf,
    log: PathBuf,
}

impl Loop {
    fn on(stage: &Stage) -> Self {
        Self { file: stage.files().join("probe-start"), log: stage.log() }
    }

    /// From now on the tool starts as `word` says; the Store that it has is torn, so that it has to.
    fn begin(&self, session: &Session, word: &str, traps: &mut Tries) -> Result<(), Broken> {
        std::fs::write(&self.file, word).map_err(|error| Broken::new("stage", error.to_string()))?;
        traps.fault(&session.ask(&Call::new("probe", json!({ "verb": "trap" })))?, "tool_trapped");
        Ok(())
    }

    /// Waits until `event` at `path` is in the log for the `count`th time; says whether it is.
    fn seen(&self, session: &Session, event: &str, path: &str, count: u64) -> Result<bool, Broken> {
        let enough = |log: &Log| (log.events(event, path).count() as u64 >= count).then_some(());
        Ok(Log::until(&self.log, session, PATIENCE, enough)?.is_some())
    }

    /// Lets the tool start again and calls it until a call goes well; returns how long that took, in milliseconds.
    fn heal(&self, session: &Session) -> Result<f64, Broken> {
        const EVERY: Duration = Duration::from_millis(20);
        let began = Instant::now();
        std::fs::remove_file(&self.file).map_err(|error| Broken::new("stage", error.to_string()))?;
        while session.ask(&echo())?.outcome != Outcome::Good {
            if began.elapsed() > PATIENCE {
                return Err(Broken::new("readmitted", "the tool is well again, and its calls are still refused"));
            }
            session.let_pass(EVERY)?;
        }
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }
}

fn echo() -> Call {
    Call::new("probe", json!({ "verb": "echo", "text": "x" })).control()
}

fn start_loop(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let looping = Loop::on(&scene.stage);
    let (mut traps, mut refused, mut lists) = (Tries::default(), Tries::default(), Tries::default());
    let mut expired = Tries::default();
    let (mut quarantines, mut turns, mut back_ms) = (0, 0, 0.0_f64);
    let ran = scene.rounds(&session, |session| {
        turns += 1;
        looping.begin(session, "spin", &mut traps)?;
        // They wait for a worker that will not come: one until its deadline, one until the tool is given up.
        let short = echo().meta(json!({ "io.nurones/deadlineMs": SHORT_MS })).within_ms(SHORT_MS);
        let (expires, waits) = (session.call(&short), session.call(&echo()));
        // Or until then, on a machine that is slow: in time it must be.
        let in_time = |outcome: &Outcome| outcome.is_fault("deadline_exceeded") || outcome.is_refused("quarantined");
        expired.note(&session.wait(expires)?, in_time);
        if looping.seen(session, "quarantined", WORKER, quarantines + 1)? {
            quarantines += 1;
            refused.note(&session.wait(waits)?, |outcome| outcome.is_refused("quarantined"));
            refused.note(&session.ask(&echo())?, |outcome| outcome.is_refused("quarantined"));
        }
        lists.good(&session.wait(session.request("tools/list", &json!({})))?);
        back_ms = back_ms.max(looping.heal(session)?);
        Ok(())
    });
    scene.findings.count("quarantined", quarantines, Target::Exactly(turns as f64));
    ran?;
    traps.tell(&mut scene.findings, "traps", "traps_wrong");
    expired.tell(&mut scene.findings, "expired", "expired_wrong");
    refused.tell(&mut scene.findings, "refused", "refused_wrong");
    lists.tell(&mut scene.findings, "lists", "lists_wrong");
    scene.findings.time("back_max_ms", back_ms, Target::AtMost(2100.0));
    scene.end(&session)?;
    let log = scene.log();
    scene.findings.count("readmitted", log.count("readmitted", TOOL), Target::Exactly(turns as f64));
    let tries = tries(&log);
    let late_ms = tries.iter().filter(|(_, next, _)| *next == "child_exited").map(|(.., late_ms)| *late_ms);
    // Waiting for the start itself is what makes it late.
    scene.findings.time("init_max_ms", late_ms.fold(0.0, f64::max), Target::AtMost(2.0 * INIT_MS as f64));
    let failed = log.events("child_exited", WORKER).filter(|exit| exit["reason"]["kind"] == "init_failed").count();
    scene.findings.count("starts_failed", failed as u64, Target::AtLeast(5.0));
    let growing = tries.iter().filter(|(wait_ms, ..)| *wait_ms > 0.0).count();
    scene.findings.count("delays", growing as u64, Target::AtLeast(3.0));
    Ok(())
}

/// What was scheduled after each exit of the worker: the delay in milliseconds, the event that followed, and how much
/// later than scheduled that was.
fn tries(log: &Log) -> Vec<(f64, &str, f64)> {
    let said: Vec<&Value> = log.of(WORKER).filter(|line| line["level"] == "L2").collect();
    let ms = |line: &Value| line["mono_us"].as_f64().unwrap_or(0.0) / 1e3;
    let scheduled = said.windows(2).filter_map(|pair| {
        let wait_ms = pair[0]["restart"]["backoff_ms"].as_f64()?;
        Some((wait_ms, pair[1]["event"].as_str()?, ms(pair[1]) - ms(pair[0]) - wait_ms))
    });
    scheduled.collect()
}

fn crash_loop(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let looping = Loop::on(&scene.stage);
    let mut traps = Tries::default();
    looping.begin(&session, "trap", &mut traps)?;
    let mut quarantines = u64::from(looping.seen(&session, "quarantined", WORKER, 1)?);
    // Until the next one: a wait, and a try that fails.
    let (cpu, began) = (cpu_of(session.pid()), Instant::now());
    quarantines += u64::from(looping.seen(&session, "quarantined", WORKER, 2)?);
    let (spent, passed) = (cpu_of(session.pid()), began.elapsed());
    scene.findings.count("quarantined", quarantines, Target::Exactly(2.0));
    if let (Some(cpu), Some(spent)) = (cpu, spent) {
        let share = spent.saturating_sub(cpu).as_secs_f64() / passed.as_secs_f64();
        scene.findings.time("cpu_percent", share * 100.0, Target::AtMost(2.0));
    }
    let back_ms = looping.heal(&session)?;
    traps.tell(&mut scene.findings, "traps", "traps_wrong");
    scene.findings.time("back_ms", back_ms, Target::AtMost(2.0 * PROBE_MS + 100.0));
    scene.end(&session)?;
    let log = scene.log();
    scene.findings.count("readmitted", log.count("readmitted", TOOL), Target::Exactly(1.0));
    scene.findings.count("restarts_per_period", most_in_a_period(&log), Target::AtMost(INTENSITY as f64));
    judge_delays(scene, &tries(&log));
    Ok(())
}

/// The policy of the stage. The period is long enough for five starts that fail on a busy machine.
const BASE_MS: f64 = 20.0;
const PROBE_MS: f64 = 1000.0;
const PROBE_CAP_MS: f64 = 2000.0;
const PERIOD_MS: u32 = 5000;
const INTENSITY: u32 = 5;

/// How far chance may move a delay, and how far the clock.
const JITTER: f64 = 0.2;
const CLOCK_MS: f64 = 10.0;

/// Against what the policy has: at once, then 20, 40 … ms, then quarantine for 1 s, 2 s.
fn judge_delays(scene: &mut Scene, tries: &[(f64, &str, f64)]) {
    let (mut off, mut early, mut late_ms) = (0, 0, 0.0_f64);
    for (place, (wait_ms, _, waited_ms)) in tries.iter().enumerate() {
        let place = place as u32;
        let (exact, jitter) = match place {
            0 => (0.0, JITTER),
            place if place + 1 < INTENSITY => (BASE_MS * f64::from(1 << (place - 1)), JITTER),
            place => ((PROBE_MS * f64::from(1 << (place + 1 - INTENSITY))).min(PROBE_CAP_MS), 0.0),
        };
        // Written as whole milliseconds.
        off += u64::from((wait_ms - exact).abs() > exact * jitter + 1.0);
        early += u64::from(*waited_ms < -CLOCK_MS);
        late_ms = late_ms.max(*waited_ms);
    }
    scene.findings.count("delays", tries.len() as u64, Target::AtLeast(f64::from(INTENSITY) + 1.0));
    scene.findings.count("delays_off_policy", off, Target::Exactly(0.0));
    scene.findings.count("delays_cut_short", early, Target::Exactly(0.0));
    scene.findings.time("late_max_ms", late_ms, Target::AtMost(CLOCK_MS));
}

fn most_in_a_period(log: &Log) -> u64 {
    let times: Vec<f64> = log.events("restart_scheduled", WORKER).filter_map(|line| line["mono_us"].as_f64()).collect();
    let within = |from: &f64| {
        times.iter().filter(|time| (*from..from + f64::from(PERIOD_MS) * 1e3).contains(time)).count() as u64
    };
    times.iter().map(within).max().unwrap_or(0)
}
