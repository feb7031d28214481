//! What can be seen of the server's process from outside: what it holds, when it lets go, and what it recorded.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, PATIENCE};

impl Client {
    /// How many file descriptors the server holds.
    pub fn descriptors(&self) -> usize {
        self.open_files().len()
    }

    /// What the file descriptors of the server lead to, sorted.
    pub fn open_files(&self) -> Vec<String> {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        // One that is closed meanwhile leads nowhere.
        let targets = folder.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        let mut files: Vec<String> = targets.map(|target| target.display().to_string()).collect();
        files.sort();
        files
    }

    /// The same, once every worker has built what it builds once.
    pub fn settled_descriptors(&mut self) -> usize {
        for tool in ["fs_read", "fs_write"] {
            self.call_fault(tool, json!({"path": ".", "content": ""}));
        }
        self.descriptors()
    }

    /// Asserts that a tool made of `probe` serves.
    pub fn assert_echoes(&mut self, tool: &str) {
        assert_eq!(self.call_text(tool, json!({"verb": "echo", "text": "still here"})), "still here", "{tool}");
    }

    /// Memory of the server that is in RAM, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the server lives");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// Waits until something becomes true that the server does on its own time.
pub fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The lines of a supervision log.
pub fn log_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
}

/// Waits until the supervision log has a line that fits.
pub fn wait_for_log(path: &Path, wanted: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(line) = log_lines(path).into_iter().find(&wanted) {
            return line;
        }
        assert!(Instant::now() < until, "the line did not come; the log:\n{:#?}", log_lines(path));
        std::thread::sleep(Duration::from_millis(5));
    }
}
