//! The supervision log as a drill reads it: its events, and whether they make sense.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// What was read of a log.
#[derive(Debug, Default)]
pub struct Log {
    lines: Vec<Value>,
    /// Lines that are no JSON.
    unreadable: usize,
}

impl Log {
    /// Reads what is there now; a log that was never begun is empty.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read(path).unwrap_or_default();
        let mut log = Self::default();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(line) => log.lines.push(line),
                Err(_) => log.unreadable += 1,
            }
        }
        log
    }

    /// The lines about `event` at `path`; at any path, when that is empty.
    pub fn events<'a>(&'a self, event: &'a str, path: &'a str) -> impl Iterator<Item = &'a Value> {
        self.lines.iter().filter(move |line| line["event"] == event && (path.is_empty() || line["path"] == path))
    }

    /// How many events the lines about `event` at `path` stand for.
    pub fn count(&self, event: &str, path: &str) -> u64 {
        self.events(event, path).map(|line| line["count"].as_u64().unwrap_or(1)).sum()
    }

    /// What does not make sense.
    pub fn breaks(&self) -> Vec<String> {
        let mut breaks = Vec::new();
        if self.unreadable > 0 {
            breaks.push(format!("{} lines of the supervision log are no JSON", self.unreadable));
        }
        let mut next: BTreeMap<&str, u64> = BTreeMap::new();
        for line in &self.lines {
            let expected = next.entry(line["boot"].as_str().unwrap_or_default()).or_default();
            if line["seq"] != *expected {
                breaks.push(format!("seq {} follows where {expected} should: {line}", line["seq"]));
            }
            *expected = line["seq"].as_u64().unwrap_or(*expected) + 1;
            if line["event"] == "log_dropped" {
                breaks.push(format!("records were lost: {line}"));
            }
        }
        breaks
    }
}
