//! Everything a server has written, once it has ended.

use std::io::Read;
use std::process::ExitStatus;

use serde_json::Value;

use crate::support::message;

/// What a finished server left behind.
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    pub status: ExitStatus,
}

impl Output {
    /// Every line of standard output as a JSON-RPC message; anything else on it is a failure.
    pub fn messages(&self) -> Vec<Value> {
        self.stdout.lines().map(message).collect()
    }

    /// The answer to `id`; there must be exactly one.
    pub fn answer(&self, id: impl Into<Value>) -> Value {
        let id = id.into();
        let answers: Vec<Value> =
            self.messages().into_iter().filter(|message| message.get("id") == Some(&id)).collect();
        assert_eq!(answers.len(), 1, "answers to {id} in:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        answers.into_iter().next().unwrap()
    }

    pub fn assert_success(&self) -> &Self {
        assert!(self.status.success(), "{}\nstdout:\n{}\nstderr:\n{}", self.status, self.stdout, self.stderr);
        self
    }

    /// The exit code; a process that was killed is a failure.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("{}\nstderr:\n{}", self.status, self.stderr))
    }
}

/// Reads `from` to its end, on a thread of its own.
pub fn read_all(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).expect("the server writes UTF-8")
    })
}
