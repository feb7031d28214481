//! Faults of what the server says beside its answers: nobody reads standard error, the log's disk is full, failing or
//! slow.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::call::Call;
use super::catalogue::{Drill, Mutant, Part};
use super::findings::{Broken, Target};
use super::scene::Scene;
use super::session::{PATIENCE, Session};
use super::stage::Stage;
use super::supervision::Log;
use crate::failpoint::control::Doing;

/// This family.
pub const DRILLS: &[Drill] = &[Drill {
    id: "D29",
    name: "log-stall",
    about: "standard error full and unread, the log on a full disk, on one that fails and on a slow one; calls go on, \
            and what is lost is counted",
    own: Part::Nothing,
    prepare,
    run: log_stall,
    mutant: Mutant {
        what: "a server in which whoever records something waits for it",
        trips: "I6",
        // So long that the lane is full by then, on the fastest machine and on the slowest.
        spoil: |stage| stage.arm("mutant.slow_record", Doing::DelayMs(4000)),
    },
}];

/// Healthy calls a second. The lane has room for those of two seconds.
const RATE: f64 = 500.0;

/// Between two faults that are recorded.
const BETWEEN: Duration = Duration::from_millis(20);

/// A worker that takes as long for one call waits for its log. By then its lane is full.
const STUCK: Duration = Duration::from_secs(3);

/// How long the slow disk takes for a line.
const SLOW_MS: u64 = 200;

/// A device on which every write fails for want of space.
const FULL_DISK: &str = "/dev/full";

const LOG_WRITE: &str = "log.write";

fn prepare(stage: &mut Stage) {
    stage.probe("probe", json!({}));
    // Healthy calls go through the worker whose faults are recorded: it is the one that could be made to wait.
    stage.healthy = Call::new("probe", json!({ "verb": "echo", "text": "well" }));
    stage.healthy_rate = RATE;
    stage.unheard = true;
}

fn log_stall(scene: &mut Scene) -> Result<(), Broken> {
    scene.may_lose_records = true;
    let session = scene.open()?;
    let log = scene.stage.log();
    let aside = log.with_extension("aside");
    let swap =
        |done: std::io::Result<()>| done.map_err(|error| Broken::new("stage", format!("{error}; free some space")));
    if Path::new(FULL_DISK).exists() {
        swap(fs::rename(&log, &aside).and_then(|()| symlink(FULL_DISK, &log)))?;
        let met = scene.rounds(&session, recorded);
        swap(fs::rename(&aside, &log))?;
        met?;
        let lost = losses(scene, &session, 0)?;
        scene.findings.count("lost_on_full_disk", lost, Target::AtLeast(1.0));
    }
    let before = Log::read(&log).count("log_dropped", "root");
    session.console.arm(LOG_WRITE, Doing::Fail)?;
    scene.rounds(&session, recorded)?;
    session.console.disarm(LOG_WRITE)?;
    let lost = losses(scene, &session, before)?;
    scene.findings.count("lost_on_failing_disk", lost, Target::AtLeast(1.0));
    session.console.arm(LOG_WRITE, Doing::DelayMs(SLOW_MS))?;
    scene.rounds(&session, recorded)?;
    session.console.disarm(LOG_WRITE)?;
    scene.end(&session)
}

/// A fault that is recorded.
fn recorded(session: &Session) -> Result<(), Broken> {
    let trap = session.ask_later(&Call::new("probe", json!({ "verb": "trap" })));
    session.wait_for(trap, STUCK)?;
    session.let_pass(BETWEEN)
}

/// Waits until the log says how many records were lost beyond `before`, which it does with the next that it can write.
fn losses(scene: &mut Scene, session: &Session, before: u64) -> Result<u64, Broken> {
    let mut looks = PATIENCE.as_millis() / BETWEEN.as_millis();
    loop {
        recorded(session)?;
        let lost = Log::read(&scene.stage.log()).count("log_dropped", "root") - before;
        if lost > 0 || looks == 0 {
            return Ok(lost);
        }
        looks -= 1;
    }
}
