//! Faults of the module cache: files damaged in every part, of another module, and never finished.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::assemble;
use super::call::Call;
use super::catalogue::{Drill, Mutant, Part};
use super::findings::{Broken, Target};
use super::scene::Scene;
use super::session::{PATIENCE, Session};
use super::stage::Stage;
use crate::failpoint::control::Doing;

/// This family.
pub const DRILLS: &[Drill] = &[Drill {
    id: "D27",
    name: "cache-corrupt",
    about: "damages compiled modules on disk and kills a server that writes one; each is noticed, made anew, and whole",
    own: Part::Nothing,
    prepare,
    run: cache_corrupt,
    mutant: Mutant {
        what: "a server that leaves damaged files where they are",
        trips: "compiled_again",
        spoil: |stage| stage.arm("mutant.keep_damaged", Doing::Fail),
    },
}];

/// What is done to a file: its bytes, and those of another module's.
type Damage = fn(&[u8], &[u8]) -> Vec<u8>;

/// Each is done to the file of a tool of its own.
const DAMAGES: &[(&str, Damage)] = &[
    ("cut_in_half", |file, _| file[..file.len() / 2].to_vec()),
    ("emptied", |_, _| Vec::new()),
    ("cut_by_one", |file, _| file[..file.len() - 1].to_vec()),
    ("flipped_header", |file, _| flipped(file, header_bytes(file) / 2)),
    // Just behind the header is what the tool said of itself.
    ("flipped_description", |file, _| flipped(file, header_bytes(file) + 3)),
    ("flipped_code", |file, _| flipped(file, file.len() * 3 / 4)),
    ("flipped_end", |file, _| flipped(file, file.len() - 1)),
    ("of_another", |_, other| other.to_vec()),
    ("code_of_another", |file, other| [&file[..header_bytes(file)], &other[header_bytes(other)..]].concat()),
    ("overwritten", |file, _| vec![0xff; file.len()]),
];

/// The tool whose file is being written when the server is killed.
const KILLED: &str = "killed";

/// Counts compilers without disturbing them.
const COMPILER: &str = "compile.spawn";

fn header_bytes(file: &[u8]) -> usize {
    file.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

fn flipped(file: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = file.to_vec();
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
    bytes
}

fn prepare(stage: &mut Stage) {
    stage.own_cache();
    for name in DAMAGES.iter().map(|(name, _)| *name).chain([KILLED]) {
        stage.tool(name, &assemble::saying(name), json!({}));
    }
    stage.arm(COMPILER, Doing::DelayMs(0));
    // A worker holds one, and all are loaded under way.
    stage.budget.fds_left += DAMAGES.len() as u64 + 1;
}

fn cache_corrupt(scene: &mut Scene) -> Result<(), Broken> {
    let whole = fill(scene)?;
    for (index, ((path, file), (_, damage))) in whole.iter().zip(DAMAGES).enumerate() {
        let other = &whole[(index + 1) % whole.len()].1;
        fs::write(path, damage(file, other)).map_err(stage_broken)?;
    }
    let repaired = use_all(scene)?;
    scene.findings.count("compiled", repaired, Target::Exactly(DAMAGES.len() as f64));
    let again = use_all(scene)?;
    scene.findings.count("compiled_again", again, Target::Exactly(0.0));
    let same = whole.iter().filter(|(path, file)| fs::read(path).is_ok_and(|now| now == *file)).count();
    scene.findings.count("whole_again", same as u64, Target::Exactly(DAMAGES.len() as f64));
    kill_while_writing(scene)
}

fn stage_broken(error: std::io::Error) -> Broken {
    Broken::new("stage", format!("a file of the cache cannot be changed: {error}"))
}

/// The file of each tool as it should be, in the order of [`DAMAGES`].
fn fill(scene: &mut Scene) -> Result<Vec<(PathBuf, Vec<u8>)>, Broken> {
    let session = scene.open()?;
    let mut whole = Vec::new();
    for (name, _) in DAMAGES {
        let before = files(scene.stage.cache(), "nurones-module");
        says_its_name(scene, &session, name)?;
        let after = files(scene.stage.cache(), "nurones-module");
        let [path] = after.difference(&before).collect::<Vec<_>>()[..] else {
            return Err(Broken::new("kept", format!("{name} was compiled, and no one file of the cache is new")));
        };
        whole.push((path.clone(), fs::read(path).map_err(stage_broken)?));
    }
    scene.end(&session)?;
    Ok(whole)
}

/// Starts a server and calls all tools; how many compilers that took.
fn use_all(scene: &mut Scene) -> Result<u64, Broken> {
    let session = scene.open()?;
    for (name, _) in DAMAGES {
        says_its_name(scene, &session, name)?;
    }
    let compiled = session.console.acted(COMPILER)?;
    scene.end(&session)?;
    Ok(compiled)
}

/// Code of another tool would say another name.
fn says_its_name(scene: &mut Scene, session: &Session, name: &str) -> Result<(), Broken> {
    let answer = session.ask(&Call::new(name, json!({})))?;
    let said = answer.text();
    scene.findings.check("answers", said == name, || format!("{name} says {said:?}"));
    Ok(())
}

/// The server dies between the last byte and the name.
fn kill_while_writing(scene: &mut Scene) -> Result<(), Broken> {
    const RENAME: &str = "cache.rename";
    let session = scene.open()?;
    let before = files(scene.stage.cache(), "nurones-module");
    session.console.arm(RENAME, Doing::DelayMs(60_000))?;
    session.call(&Call::new(KILLED, json!({})));
    let mut looks = PATIENCE.as_millis() / 10;
    while session.console.acted(RENAME)? == 0 && looks > 0 {
        session.let_pass(Duration::from_millis(10))?;
        looks -= 1;
    }
    let unfinished = files(scene.stage.cache(), "unfinished").len() as u64;
    session.expect_losses();
    session.stop_watching();
    session.signal(Signal::KILL);
    let ended = session.ended_within(PATIENCE).is_some();
    scene.findings.check("killed", ended, || "the server outlives SIGKILL".to_owned());
    scene.findings.count("unfinished", unfinished, Target::Exactly(1.0));
    let named = files(scene.stage.cache(), "nurones-module").difference(&before).count() as u64;
    scene.findings.count("named_before_whole", named, Target::Exactly(0.0));
    for (figure, compilers) in [("compiled_after_kill", 1.0), ("compiled_then", 0.0)] {
        let session = scene.open()?;
        says_its_name(scene, &session, KILLED)?;
        let compiled = session.console.acted(COMPILER)?;
        scene.findings.count(figure, compiled, Target::Exactly(compilers));
        scene.end(&session)?;
    }
    Ok(())
}

/// The files of the cache whose names end so.
fn files(cache: &Path, extension: &str) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|end| end == extension)).collect()
}
