//! Faults of modules: swapped while they are served, damaged in the cache, and made to keep a compiler busy.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::assemble;
use super::call::{Answer, Call};
use super::catalogue::{Drill, Mutant, Part};
use super::checker::GRACE_MS;
use super::findings::{Broken, Target};
use super::scene::Scene;
use super::session::Session;
use super::stage::Stage;
use crate::failpoint::control::Doing;

/// This family.
pub const DRILLS: &[Drill] = &[
    Drill {
        id: "D26",
        name: "module-swap",
        about: "overwrites and renames modules a thousand times while they are loaded and called; what runs is what was \
                checked",
        own: Part::Background,
        prepare: prepare_swap,
        run: module_swap,
        mutant: Mutant {
            what: "a server that runs a module that has changed",
            trips: "swapped_in",
            spoil: |stage| stage.arm("mutant.trust_modules", Doing::Fail),
        },
    },
    Drill {
        id: "D28",
        name: "compile-bomb",
        about: "modules of 50,000 functions; the compiler is ended at its deadline, and nobody else notices",
        own: Part::Background,
        prepare: prepare_bombs,
        run: compile_bomb,
        mutant: Mutant {
            what: "a compiler that may take ten minutes",
            trips: "refused",
            spoil: |stage| stage.configure("cache", json!({ "compileDeadlineMs": 600_000 })),
        },
    },
];

/// What the module says that is there when the server starts, and what the other says.
const OLD: &str = "the old module";
const NEW: &str = "the new module";

/// Tools whose modules are swapped, and how often one is.
const SWAPPED: usize = 20;
const SWAPS: u64 = 1000;

/// Swaps between two calls.
const AT_ONCE: u64 = 50;

fn swapped(index: usize) -> String {
    format!("swapped_{index:02}")
}

fn prepare_swap(stage: &mut Stage) {
    let old = assemble::saying(OLD);
    (0..SWAPPED).for_each(|index| stage.tool(&swapped(index), &old, json!({})));
    stage.warm.push(call(&swapped(0)));
    // A worker holds one, and all but the first are loaded under way.
    stage.budget.fds_left += SWAPPED as u64;
}

fn call(tool: &str) -> Call {
    Call::new(tool, json!({}))
}

/// Puts modules where others are, in both ways that people do.
struct Swapper {
    folder: PathBuf,
    modules: [Vec<u8>; 2],
    swaps: u64,
}

impl Swapper {
    fn new(folder: PathBuf) -> Self {
        Self { folder, modules: [assemble::saying(OLD), assemble::saying(NEW)], swaps: 0 }
    }

    fn swap(&mut self) -> Result<(), Broken> {
        let index = self.swaps as usize % SWAPPED;
        // Each file becomes new, then old again; by a rename and by a write in turn.
        let turn = self.swaps / SWAPPED as u64;
        self.put(index, &self.modules[usize::from(turn.is_multiple_of(2))], (turn / 2).is_multiple_of(2))?;
        self.swaps += 1;
        Ok(())
    }

    fn put(&self, index: usize, module: &[u8], rename: bool) -> Result<(), Broken> {
        let path = self.folder.join(swapped(index)).with_extension("wasm");
        let put = if rename {
            let aside = self.folder.join("aside");
            fs::write(&aside, module).and_then(|()| fs::rename(aside, path))
        } else {
            fs::write(path, module)
        };
        put.map_err(|error| Broken::new("stage", format!("a module cannot be swapped: {error}")))
    }

    fn put_new_everywhere(&self) -> Result<(), Broken> {
        (0..SWAPPED).try_for_each(|index| self.put(index, &self.modules[1], index.is_multiple_of(2)))
    }
}

/// What the tools answered.
#[derive(Default)]
struct Said {
    old: u64,
    new: u64,
    refused: u64,
    other: Vec<String>,
}

impl Said {
    fn note(&mut self, answer: &Answer) {
        match answer.text() {
            OLD => self.old += 1,
            NEW => self.new += 1,
            text if text.contains("has changed since the server started") => self.refused += 1,
            text => self.other.push(text.to_owned()),
        }
    }
}

fn module_swap(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let mut swapper = Swapper::new(scene.stage.tools_folder());
    let (mut said, mut next) = (Said::default(), 0);
    let mut fault = |session: &Session| -> Result<(), Broken> {
        for _ in 0..AT_ONCE {
            swapper.swap()?;
        }
        // Half of the tools are called for the first time while files change, the rest only when all are new. The first
        // was loaded before.
        for index in [0, next % (SWAPPED / 2)] {
            said.note(&session.ask(&call(&swapped(index)))?);
        }
        next += 1;
        Ok(())
    };
    scene.rounds(&session, &mut fault)?;
    for _ in 0..SWAPS / AT_ONCE {
        fault(&session)?;
    }
    swapper.put_new_everywhere()?;
    for index in 0..SWAPPED {
        said.note(&session.ask(&call(&swapped(index)))?);
    }
    scene.end(&session)?;
    scene.findings.count("swaps", swapper.swaps, Target::AtLeast(SWAPS as f64));
    scene.findings.count("swapped_in", said.new, Target::Exactly(0.0));
    scene.findings.count("still_the_old", said.old, Target::AtLeast(1.0));
    scene.findings.count("refused", said.refused, Target::AtLeast((SWAPPED / 2) as f64));
    tell_others(scene, &said);
    restart_with_the_new(scene)
}

fn restart_with_the_new(scene: &mut Scene) -> Result<(), Broken> {
    let new = assemble::saying(NEW);
    (0..SWAPPED).for_each(|index| stage_module(&mut scene.stage, &swapped(index), &new));
    let session = scene.open()?;
    let mut said = Said::default();
    for index in 0..SWAPPED {
        said.note(&session.ask(&call(&swapped(index)))?);
    }
    scene.end(&session)?;
    scene.findings.count("new_after_restart", said.new, Target::Exactly(SWAPPED as f64));
    tell_others(scene, &said);
    Ok(())
}

fn stage_module(stage: &mut Stage, name: &str, module: &[u8]) {
    if let Some(tool) = stage.tools.get_mut(name) {
        tool.module = Some(module.to_vec());
    }
}

fn tell_others(scene: &mut Scene, said: &Said) {
    let first = said.other.first();
    scene.findings.check("answers", first.is_none(), || format!("{} are odd, as {first:?}", said.other.len()));
}

/// The bomb: large enough that no machine compiles it within the deadline.
const FUNCTIONS: usize = 50_000;
const LENGTH: usize = 40;
const COMPILE_DEADLINE_MS: u64 = 250;

/// For modules that are no bombs.
const PLENTY_MS: u64 = 60_000;

/// Bombs: one for each round.
const BOMBS: usize = 3;

/// Beyond its deadline, a compiler may take this long to be gone, on a busy machine.
const REFUSED_WITHIN: Duration = Duration::from_secs(4);

fn bomb(index: usize) -> String {
    format!("bomb_{index}")
}

fn prepare_bombs(stage: &mut Stage) {
    let module = assemble::bomb(FUNCTIONS, LENGTH);
    (0..BOMBS).for_each(|index| stage.tool(&bomb(index), &module, json!({})));
    stage.configure("cache", json!({ "compileDeadlineMs": COMPILE_DEADLINE_MS }));
}

fn compile_bomb(scene: &mut Scene) -> Result<(), Broken> {
    // First without the deadline, so that what the other tools need is in the cache.
    let cache = scene.stage.config["cache"].clone();
    scene.stage.configure("cache", json!({ "compileDeadlineMs": PLENTY_MS }));
    let session = scene.open()?;
    scene.end(&session)?;
    scene.stage.config["cache"] = cache;
    let session = scene.open()?;
    let (mut thrown, mut refused, mut worst_ms) = (0, 0_u64, 0.0_f64);
    scene.rounds(&session, |session| {
        if thrown == BOMBS {
            return session.let_pass(Duration::from_millis(20));
        }
        let began = Instant::now();
        let id = session.ask_later(&call(&bomb(thrown)));
        thrown += 1;
        let answer = session.wait_for(id, REFUSED_WITHIN);
        worst_ms = worst_ms.max(began.elapsed().as_secs_f64() * 1e3);
        let said = answer.as_ref().map_or("nothing", Answer::text);
        if !said.contains("cache.compileDeadlineMs") {
            return Err(Broken::new("refused", format!("a call of the bomb is answered {said:?}")));
        }
        refused += 1;
        Ok(())
    })?;
    scene.findings.count("refused", refused, Target::AtLeast(1.0));
    scene.findings.time("refused_within_ms", worst_ms, Target::AtMost(COMPILE_DEADLINE_MS as f64 + GRACE_MS as f64));
    let compilers = children_of(session.pid());
    scene.findings.count("compilers_left", compilers, Target::Exactly(0.0));
    scene.end(&session)
}

/// Processes that `pid` has started and that are still there, as far as the system tells.
fn children_of(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let children = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks.flatten().map(|task| children(task).split_whitespace().count() as u64).sum()
}
