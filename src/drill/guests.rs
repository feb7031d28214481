//! Faults of guests: loops, sleeps and bombs. Each is answered in time, leaves nothing behind, and the tool's next call
//! goes well.

use rustix::fs::{CWD, FileType, Mode, OFlags};
use serde_json::{Value, json};

use super::bombs;
use super::call::Call;
use super::catalogue::{Drill, Mutant, Part};
use super::findings::{Broken, Target};
use super::scene::Scene;
use super::session::{PATIENCE, Session};
use super::stage::Stage;
use super::tries::Tries;
use crate::failpoint::control::Doing;

/// This family.
pub const DRILLS: &[Drill] = &[
    Drill {
        id: "D03",
        name: "runaway-loop",
        about: "guests that loop and fill memory for ever, under deadlines of manifest and request; ended in time",
        own: Part::Background,
        prepare: |stage| stage.probe("probe", json!({ "deadline_ms": DEADLINE_MS })),
        run: runaway_loop,
        mutant: LATE,
    },
    Drill {
        id: "D05",
        name: "wedge-sleep",
        about: "guests that sleep for an hour; answered at the deadline, the next call goes well",
        own: Part::Background,
        prepare: |stage| stage.probe("probe", json!({ "deadline_ms": DEADLINE_MS })),
        run: wedge_sleep,
        mutant: LATE,
    },
    Drill {
        id: "D06",
        name: "wedge-fifo",
        about: "guests that open a FIFO nobody writes to; answered at the deadline, the stuck threads are counted and let go",
        own: Part::Background,
        prepare: |stage| stage.probe("probe", json!({ "deadline_ms": DEADLINE_MS, "permissions": ["read"] })),
        run: wedge_fifo,
        mutant: LATE,
    },
    Drill {
        id: "D07",
        name: "memory-bomb",
        about: "guests that allocate memory and tables without end; refused at their limit, and the process stays small",
        own: Part::Background,
        prepare: prepare_bombs,
        run: memory_bomb,
        mutant: Mutant {
            what: "a memory limit raised sixteenfold",
            trips: "I3",
            spoil: |stage| stage.manifest("probe", json!({ "memory_mb": 256 })),
        },
    },
    Drill {
        id: "D08",
        name: "stack-bomb",
        about: "guests that recurse without end; a trap, and not the end of the process",
        own: Part::Background,
        prepare: |stage| stage.probe("probe", json!({})),
        run: stack_bomb,
        mutant: Mutant {
            what: "warm Stores that are kept after a trap",
            trips: "next_wrong",
            spoil: |stage| stage.arm("mutant.keep_torn_store", Doing::Fail),
        },
    },
    Drill {
        id: "D09",
        name: "fd-bomb",
        about: "guests that open a directory again and again; stopped at their limit, and all descriptors come back",
        own: Part::Background,
        prepare: |stage| {
            stage.probe("probe", json!({}));
            stage.tool("fd_bomb", bombs::FD, json!({ "permissions": ["read"] }));
            stage.warm.push(Call::new("fd_bomb", json!({})));
            stage.budget.fds_growth = HANDLES;
        },
        run: fd_bomb,
        mutant: Mutant {
            what: "a limit on handles raised to 1,000",
            trips: "wrong",
            spoil: |stage| stage.manifest("fd_bomb", json!({ "handles": 1000 })),
        },
    },
    Drill {
        id: "D10",
        name: "stdout-flood",
        about: "guests that print a gigabyte and return too much; cut off at their limit, and the process stays small",
        own: Part::Background,
        prepare: prepare_flood,
        run: stdout_flood,
        mutant: UNLIMITED_OUTPUT,
    },
    Drill {
        id: "D11",
        name: "hostcall-flood",
        about: "guests that ask for 64 MiB of randomness and log far too much at once; refused, and the process stays small",
        own: Part::Background,
        prepare: |stage| {
            prepare_flood(stage);
            stage.manifest("probe", json!({ "output_kb": 64 }));
        },
        run: hostcall_flood,
        mutant: UNLIMITED_OUTPUT,
    },
];

/// The deadline of guests that would not end.
const DEADLINE_MS: u32 = 100;

/// A deadline in the request, shorter than the manifest's.
const ASKED_MS: u32 = 50;

const LATE: Mutant = Mutant {
    what: "a deadline raised tenfold",
    trips: "I5",
    spoil: |stage| stage.manifest("probe", json!({ "deadline_ms": 10 * DEADLINE_MS })),
};

const UNLIMITED_OUTPUT: Mutant = Mutant {
    what: "an output limit raised to 64 MiB",
    trips: "wrong",
    spoil: |stage| stage.manifest("probe", json!({ "output_kb": 65_536 })),
};

fn probe(arguments: Value) -> Call {
    Call::new("probe", arguments)
}

fn echo() -> Call {
    probe(json!({ "verb": "echo", "text": "x" })).control()
}

/// Makes `faults` in turn beside healthy calls, each followed by a call that has to go well; each is to be answered
/// with the code beside it. Returns how long the faults and the calls after them took.
fn in_turn(scene: &mut Scene, session: &Session, faults: &[(Call, &str)]) -> Result<(Tries, Tries), Broken> {
    let (mut tries, mut next) = (Tries::default(), Tries::default());
    scene.rounds(session, |session| {
        for (call, code) in faults {
            tries.fault(&session.ask(call)?, code);
            next.good(&session.ask(&echo())?);
        }
        Ok(())
    })?;
    tries.tell(&mut scene.findings, "faults", "wrong");
    next.tell(&mut scene.findings, "next", "next_wrong");
    Ok((tries, next))
}

/// As [`in_turn`], from start to end.
fn only_in_turn(scene: &mut Scene, faults: &[(Call, &str)]) -> Result<(), Broken> {
    let session = scene.open()?;
    in_turn(scene, &session, faults)?;
    scene.end(&session)
}

fn runaway_loop(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let spin = || probe(json!({ "verb": "spin" }));
    let faults = [
        (spin().within_ms(DEADLINE_MS), "deadline_exceeded"),
        (spin().meta(json!({ "io.nurones/deadlineMs": ASKED_MS })).within_ms(ASKED_MS), "deadline_exceeded"),
        (probe(json!({ "verb": "fill", "mb": 16, "times": 1_000_000 })).within_ms(DEADLINE_MS), "deadline_exceeded"),
    ];
    let (mut tries, mut next) = in_turn(scene, &session, &faults)?;
    scene.findings.time("answer_p50_ms", tries.quantile_ms(0.5), Target::AtMost(f64::from(DEADLINE_MS) + 4.0));
    scene.findings.time("answer_p99_ms", tries.quantile_ms(0.99), Target::AtMost(f64::from(DEADLINE_MS) + 50.0));
    scene.findings.time("next_p99_ms", next.quantile_ms(0.99), Target::AtMost(5.0));
    scene.end(&session)
}

fn wedge_sleep(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let sleep = probe(json!({ "verb": "sleep", "ms": 3_600_000 })).within_ms(DEADLINE_MS);
    let (mut tries, mut next) = in_turn(scene, &session, &[(sleep, "deadline_exceeded")])?;
    scene.findings.time("answer_p99_ms", tries.quantile_ms(0.99), Target::AtMost(f64::from(DEADLINE_MS) + 250.0));
    scene.findings.time("next_p99_ms", next.quantile_ms(0.99), Target::AtMost(100.0));
    let zombies = zombies(&session)?;
    scene.findings.count("threads_stuck", zombies, Target::Exactly(0.0));
    scene.end(&session)
}

/// Threads of the probe that are stuck in the system.
fn zombies(session: &Session) -> Result<u64, Broken> {
    Ok(session.console.stats()?["tools"]["probe"]["zombies"].as_u64().unwrap_or(0))
}

fn wedge_fifo(scene: &mut Scene) -> Result<(), Broken> {
    let fifo = scene.stage.files().join("fifo");
    let system = |error: rustix::io::Errno| Broken::new("stage", format!("a FIFO cannot be used: {error}"));
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).map_err(system)?;
    let session = scene.open()?;
    let open = probe(json!({ "verb": "read", "path": fifo })).within_ms(DEADLINE_MS);
    let (mut tries, mut next) = (Tries::default(), Tries::default());
    let mut most = 0;
    scene.rounds(&session, |session| {
        tries.fault(&session.ask(&open)?, "deadline_exceeded");
        next.good(&session.ask(&echo())?);
        most = most.max(zombies(session)?);
        // A writer lets the reader go, and goes itself.
        drop(rustix::fs::open(&fifo, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).map_err(system)?);
        for _ in 0..PATIENCE.as_millis() / 10 {
            if zombies(session)? == 0 {
                break;
            }
            session.let_pass(std::time::Duration::from_millis(10))?;
        }
        Ok(())
    })?;
    tries.tell(&mut scene.findings, "faults", "wrong");
    next.tell(&mut scene.findings, "next", "next_wrong");
    scene.findings.count("stuck_at_most", most, Target::AtMost(4.0));
    let zombies = zombies(&session)?;
    scene.findings.count("stuck_at_the_end", zombies, Target::Exactly(0.0));
    scene.findings.time("answer_p99_ms", tries.quantile_ms(0.99), Target::AtMost(f64::from(DEADLINE_MS) + 250.0));
    scene.findings.time("next_p99_ms", next.quantile_ms(0.99), Target::AtMost(100.0));
    scene.end(&session)
}

/// What a bomb may have of memory.
const BOMB_MB: u64 = 16;

fn prepare_bombs(stage: &mut Stage) {
    stage.probe("probe", json!({ "memory_mb": BOMB_MB }));
    stage.tool("table_bomb", bombs::TABLE, json!({}));
    stage.warm.push(Call::new("table_bomb", json!({})));
    stage.budget.rss_growth_bytes = (BOMB_MB + 16) << 20;
}

fn memory_bomb(scene: &mut Scene) -> Result<(), Broken> {
    let bombs =
        [(probe(json!({ "verb": "alloc" })), "memory_limit"), (Call::new("table_bomb", json!({})), "memory_limit")];
    only_in_turn(scene, &bombs)
}

fn stack_bomb(scene: &mut Scene) -> Result<(), Broken> {
    only_in_turn(scene, &[(probe(json!({ "verb": "recurse" })), "tool_trapped")])
}

/// What a guest may hold open unless its manifest says otherwise.
const HANDLES: u64 = 256;

fn fd_bomb(scene: &mut Scene) -> Result<(), Broken> {
    only_in_turn(scene, &[(Call::new("fd_bomb", json!({})), "tool_trapped")])
}

fn prepare_flood(stage: &mut Stage) {
    stage.probe("probe", json!({ "memory_mb": 32, "output_kb": 1024 }));
    stage.budget.rss_growth_bytes = (32 + 16) << 20;
}

fn stdout_flood(scene: &mut Scene) -> Result<(), Broken> {
    let floods = [
        (probe(json!({ "verb": "print_many", "bytes": 1_u64 << 30 })), "output_limit"),
        (probe(json!({ "verb": "big", "bytes": 4 << 20 })), "output_limit"),
    ];
    only_in_turn(scene, &floods)
}

fn hostcall_flood(scene: &mut Scene) -> Result<(), Broken> {
    let floods = [
        (probe(json!({ "verb": "random", "bytes": 64 << 20 })), "tool_trapped"),
        (probe(json!({ "verb": "log", "text": "x".repeat(256 << 10) })), "output_limit"),
    ];
    only_in_turn(scene, &floods)
}
