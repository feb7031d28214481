//! The supervision log as a drill reads it: its events. Whether they make sense, [`crate::audit`] says.

use std::path::Path;

use serde_json::Value;

/// What was read of a log.
#[derive(Debug, Default)]
pub struct Log {
    lines: Vec<Value>,
}

impl Log {
    /// Reads what is there now; a log that was never begun is empty.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read(path).unwrap_or_default();
        Self { lines: text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect() }
    }

    /// The lines about `event` at `path`; at any path, when that is empty.
    pub fn events<'a>(&'a self, event: &'a str, path: &'a str) -> impl Iterator<Item = &'a Value> {
        self.lines.iter().filter(move |line| line["event"] == event && (path.is_empty() || line["path"] == path))
    }

    /// How many events the lines about `event` at `path` stand for.
    pub fn count(&self, event: &str, path: &str) -> u64 {
        self.events(event, path).map(|line| line["count"].as_u64().unwrap_or(1)).sum()
    }
}
