//! Faults of the client and of the pipes: input that ends, signals, readers that do not read, ids used twice.

use std::time::{Duration, Instant};

use serde_json::json;

use super::call::Call;
use super::catalogue::{Drill, Mutant};
use super::findings::{Broken, Target};
use super::history::Outcome;
use super::scene::Scene;
use super::session::PATIENCE;
use crate::failpoint::control::Doing;

/// This family.
pub const DRILLS: &[Drill] = &[Drill {
    id: "D21",
    name: "stdin-eof",
    about: "closes the input with 500 calls in flight; all are answered and the server leaves with 0",
    prepare: |stage| stage.probe("probe", json!({ "workers": 2 })),
    run: stdin_eof,
    mutant: Mutant {
        what: "a server that throws answers away",
        trips: "I1",
        spoil: |stage| stage.arm("mutant.lose_answer", Doing::Fail),
    },
}];

/// Calls in flight when the input ends.
const IN_FLIGHT: u64 = 500;

fn stdin_eof(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    // Each takes a moment, so that most of them are still to be done when the input ends.
    let call = Call::new("probe", json!({ "verb": "burn", "ms": 1 }));
    let ids: Vec<u64> = (0..IN_FLIGHT).map(|_| session.call(&call)).collect();
    session.stop_watching();
    session.close_input();
    let began = Instant::now();
    let status = session.ended_within(PATIENCE + Duration::from_secs(5));
    let took = began.elapsed();
    session.output_ended()?;
    let answered = session.history(|history| history.answers_to(&ids, |outcome| *outcome == Outcome::Good));
    scene.findings.count("answered", answered, Target::Exactly(IN_FLIGHT as f64));
    scene.findings.time("exit_ms", took.as_secs_f64() * 1e3, Target::AtMost(5000.0));
    let code = status.and_then(|status| status.code());
    scene.findings.check("exit", code == Some(0), || format!("the server did not leave with 0: {status:?}"));
    Ok(())
}
