//! The supervision log as a drill reads it: its events. Whether they make sense, [`crate::audit`] says.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::findings::Broken;
use super::session::Session;

/// Between two looks at a log that something is to be written to.
const LOOK: Duration = Duration::from_millis(20);

/// Events after which a child is there, and those after which it is not.
const UP: [&str; 2] = ["child_started", "restart_ok"];
const DOWN: [&str; 6] = ["child_exited", "restart_scheduled", "quarantined", "escalated", "probe", "child_stopped"];

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

    /// Reads again and again until `seen` sees what it looks for; `None` when it has not after `patience`.
    ///
    /// # Errors
    /// When the server is gone, or the person has had enough.
    pub fn until<T>(
        path: &Path,
        session: &Session,
        patience: Duration,
        mut seen: impl FnMut(&Self) -> Option<T>,
    ) -> Result<Option<T>, Broken> {
        let until = Instant::now() + patience;
        loop {
            if let Some(found) = seen(&Self::read(path)) {
                return Ok(Some(found));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            session.let_pass(LOOK)?;
        }
    }

    /// The lines about the child at `path`, in order.
    pub fn of<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Value> {
        self.lines.iter().filter(move |line| line["path"] == path)
    }

    /// Whether `event` is the last thing that is said.
    pub fn ends_with(&self, event: &str) -> bool {
        self.lines.last().is_some_and(|line| line["event"] == event)
    }

    /// Children that are not there, by what was last said of them in the last boot.
    pub fn down(&self) -> Vec<&str> {
        let boot = self.lines.last().map(|line| &line["boot"]);
        let mut last: BTreeMap<&str, bool> = BTreeMap::new();
        for line in self.lines.iter().filter(|line| Some(&line["boot"]) == boot) {
            let (path, event) = (line["path"].as_str().unwrap_or_default(), line["event"].as_str().unwrap_or_default());
            if UP.contains(&event) || DOWN.contains(&event) {
                last.insert(path, UP.contains(&event));
            }
        }
        last.into_iter().filter(|(_, up)| !up).map(|(path, _)| path).collect()
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
