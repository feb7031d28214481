//! What came of drills, for a person and for a program.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::catalogue::Outcome;
use super::findings::{Figure, shown};

/// `text` with control characters escaped: some of it was said by servers and guests.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// One line of JSON. Keys are only ever added.
pub fn json_line(outcome: &Outcome) -> String {
    let figures: Map<String, Value> =
        outcome.findings.figures.iter().map(|figure| (figure.name.to_owned(), number(figure.value))).collect();
    let targets: Map<String, Value> = outcome
        .findings
        .figures
        .iter()
        .filter_map(|figure| Some((figure.name.to_owned(), figure.target?.to_string().into())))
        .collect();
    let broken: Vec<Value> =
        outcome.findings.broken.iter().map(|broken| json!({ "check": broken.check, "what": broken.what })).collect();
    let drill = outcome.drill;
    let line = Line {
        drill: drill.id,
        name: drill.name,
        verdict: if outcome.is_good() { "pass" } else { "fail" },
        figures,
        targets,
        broken,
        took_ms: outcome.took.as_millis() as u64,
        mutant: outcome.mutated.then(|| json!({ "what": drill.mutant.what, "trips": drill.mutant.trips })),
    };
    serde_json::to_string(&line).expect("its keys are strings")
}

/// In the order in which it is read.
#[derive(Serialize)]
struct Line {
    drill: &'static str,
    name: &'static str,
    verdict: &'static str,
    figures: Map<String, Value>,
    targets: Map<String, Value>,
    broken: Vec<Value>,
    took_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutant: Option<Value>,
}

/// Whole numbers as such.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!((value * 1e3).round() / 1e3) }
}

/// Several lines for a person.
pub fn text(outcome: &Outcome) -> String {
    let drill = outcome.drill;
    let verdict = match (outcome.mutated, outcome.is_good()) {
        (false, true) => "PASS",
        (false, false) => "FAIL",
        (true, true) => "PROVEN",
        (true, false) => "NOT PROVEN",
    };
    let took = outcome.took.as_secs_f64();
    let mut text = format!("{verdict} {} {} in {took:.1} s\n", drill.id, drill.name);
    for figure in &outcome.findings.figures {
        text.push_str(&format!("     {}\n", line_of(figure)));
    }
    for broken in &outcome.findings.broken {
        text.push_str(&format!("     broken: {}\n", harmless(&broken.to_string())));
    }
    if outcome.mutated && !outcome.is_good() {
        let (what, trips) = (drill.mutant.what, drill.mutant.trips);
        text.push_str(&format!("     with {what}, the check {trips} should have noticed\n"));
    }
    text
}

fn line_of(figure: &Figure) -> String {
    let target = figure.target.map(|target| format!("  target {target}")).unwrap_or_default();
    let miss = match (figure.holds(), figure.gates) {
        (true, _) => "",
        (false, true) => "  MISSED",
        (false, false) => "  missed, which does not count in a short run",
    };
    format!("{:<28} {:>12}{target}{miss}", figure.name, shown(figure.value))
}
