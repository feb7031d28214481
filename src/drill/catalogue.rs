//! What a drill is, and all there are.

use std::path::Path;
use std::time::{Duration, Instant};

use super::findings::{Broken, Findings};
use super::scene::Scene;
use super::stage::{Own, Stage, Stop};
use super::{cached, control, crash_loop, garbage, guests, modules, overload, soak, stalls, sweep, wire, workers};

/// A fault, and what must hold while it happens.
pub struct Drill {
    /// `D03`.
    pub id: &'static str,
    /// `runaway-loop`.
    pub name: &'static str,
    /// What is done and what must hold, in one line.
    pub about: &'static str,
    /// What the person's own tool does in it.
    pub own: Part,
    /// Sets the stage.
    pub prepare: fn(&mut Stage),
    /// Makes the fault and looks what happens.
    pub run: fn(&mut Scene) -> Result<(), Broken>,
    /// What must make it fail.
    pub mutant: Mutant,
}

/// The part of the person's own tool in a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The fault happens to it.
    Target,
    /// It is called beside the fault, and must not notice.
    Background,
    /// None: no healthy calls are made.
    Nothing,
}

/// A server that is broken on purpose. A drill that passes with it looks at the wrong things.
pub struct Mutant {
    /// What is broken.
    pub what: &'static str,
    /// The check that must notice.
    pub trips: &'static str,
    /// Breaks it.
    pub spoil: fn(&mut Stage),
}

/// Every drill, by number.
pub fn all() -> impl Iterator<Item = &'static Drill> {
    let families = [
        cached::DRILLS,
        control::DRILLS,
        crash_loop::DRILLS,
        garbage::DRILLS,
        guests::DRILLS,
        modules::DRILLS,
        overload::DRILLS,
        soak::DRILLS,
        stalls::DRILLS,
        sweep::DRILLS,
        wire::DRILLS,
        workers::DRILLS,
    ];
    let mut all: Vec<&Drill> = families.into_iter().flatten().collect();
    all.sort_by_key(|drill| drill.id);
    all.into_iter()
}

/// The drill called `name`, by number or name.
pub fn named(name: &str) -> Option<&'static Drill> {
    all().find(|drill| drill.id.eq_ignore_ascii_case(name) || drill.name.eq_ignore_ascii_case(name))
}

/// How drills are run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How long faults last; absent in the short form.
    pub duration: Option<Duration>,
    /// Whether each drill is run against its mutant, and has to fail.
    pub prove: bool,
    /// The person's own tool as the background load.
    pub own: Option<Own>,
    /// Whether the person has had enough.
    pub stop: Stop,
}

/// What came of one drill.
pub struct Outcome {
    /// Which.
    pub drill: &'static Drill,
    /// What it found.
    pub findings: Findings,
    /// Whether the mutant was in it.
    pub mutated: bool,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Whether the drill passed; of a mutant, whether the check that must notice did.
    pub fn is_good(&self) -> bool {
        if self.mutated {
            return self.findings.broken.iter().any(|broken| broken.check == self.drill.mutant.trips);
        }
        self.findings.passed()
    }
}

impl Drill {
    /// Runs it in a folder of its own inside `folder`.
    pub fn take_place(&'static self, folder: &Path, options: &Options) -> Outcome {
        let began = Instant::now();
        let place = if options.prove { format!("{}-mutant", self.id) } else { self.id.to_owned() };
        let findings = match Stage::new(folder.join(place), folder.join("cache"), options.own.clone()) {
            Ok(stage) => self.on(stage, options),
            Err(error) => {
                let broken = vec![Broken::new("stage", format!("{}: {error}; free some space", folder.display()))];
                Findings { broken, ..Findings::default() }
            }
        };
        Outcome { drill: self, findings, mutated: options.prove, took: began.elapsed() }
    }

    fn on(&self, mut stage: Stage, options: &Options) -> Findings {
        (self.prepare)(&mut stage);
        if options.prove {
            (self.mutant.spoil)(&mut stage);
        }
        let mut scene = Scene::new(stage, options.duration, options.stop.clone());
        let broken = (self.run)(&mut scene).err();
        scene.close(broken)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_drill_has_a_number_and_a_name_of_its_own() {
        let names: Vec<&str> = all().flat_map(|drill| [drill.id, drill.name]).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for drill in all() {
            assert!(std::ptr::eq(named(&drill.name.to_uppercase()).unwrap(), drill));
            assert!(!drill.about.contains('\n') && !drill.mutant.trips.is_empty(), "{}", drill.id);
        }
        assert!(named("D99").is_none());
    }
}
