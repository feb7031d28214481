//! The supervision log: whatever stands in the file, every record in it is seen once, and what is shown of it is harmless.

use std::path::Path;

use nurones_mcp::audit::entry::Entry;
use nurones_mcp::audit::{history, rules, svg, timeline};

/// Words that mean something in a log.
pub const TOKENS: &[&str] = &[
    "\"v\"",
    "\"seq\"",
    "\"boot\"",
    "\"mono_us\"",
    "\"event\"",
    "\"path\"",
    "\"incarnation\"",
    "\"restart\"",
    "\"backoff_ms\"",
    "\"count\"",
    "\"stopped\"",
    "\"child_exited\"",
    "\"restart_scheduled\"",
    "\"restart_ok\"",
    "\"quarantined\"",
    "\"probe\"",
    "\"readmitted\"",
    "\"breaker_open\"",
    "\"call_faulted\"",
    "\"log_rotated\"",
    "\"log_dropped\"",
    "\"root/tools/<script>alert(1)</script>/w0\"",
    "\"root/tools/\\\"onload=x/w0\"",
    "{\"v\":",
    "\n",
];

/// Breaks and notes that are kept.
const KEPT: usize = 100;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder can be made");
}

/// The property, of one file and of the same bytes in two.
pub fn check(data: &[u8]) -> Result<(), String> {
    FOLDER.with(|folder| {
        let (path, aged) = (folder.path().join("log"), folder.path().join("log.1"));
        let written = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).map_err(|error| error.to_string());
        let _ = std::fs::remove_file(&aged);
        written(&path, data)?;
        check_file(&path, records(data))?;
        check_shown(&path)?;
        // Put aside after any of its lines, it says the same.
        let ends: Vec<usize> = (1..=data.len()).filter(|end| data[end - 1] == b'\n').collect();
        let Some(end) = ends.get(data.len() % ends.len().max(1)) else { return Ok(()) };
        written(&aged, &data[..*end])?;
        written(&path, &data[*end..])?;
        check_file(&path, records(data))
    })
}

fn check_file(path: &Path, expected: u64) -> Result<(), String> {
    let verdict = rules::check(path).map_err(|error| error.to_string())?;
    if verdict.counts.records != expected {
        return Err(format!("{} records were seen, and there are {expected}", verdict.counts.records));
    }
    if verdict.breaks.len() > KEPT || verdict.notes.len() > KEPT {
        return Err("more is kept than can be read".to_owned());
    }
    Ok(())
}

/// Whole lines that are records, and records that were appended behind a torn beginning.
fn records(data: &[u8]) -> u64 {
    const BEGIN: &[u8] = br#"{"v":"#;
    let is_record = |text: &[u8]| serde_json::from_slice::<Entry>(text).is_ok();
    let of_line = |line: &[u8]| {
        let line = line.trim_ascii();
        let last = (1..line.len()).rev().find(|at| line[*at..].starts_with(BEGIN));
        u64::from(is_record(line) || last.is_some_and(|at| is_record(&line[at..])))
    };
    data.split(|byte| *byte == b'\n').map(of_line).sum()
}

/// Nothing in the log becomes part of the page's own text.
fn check_shown(path: &Path) -> Result<(), String> {
    let history = history::gather(path).map_err(|error| error.to_string())?;
    let (_, page) = (timeline::text(&history), svg::page(&history));
    for forged in ["<script", "\"onload"] {
        if page.contains(forged) {
            return Err(format!("what the log says reaches the page raw: {forged}"));
        }
    }
    Ok(())
}
