//! JSON in, JSON out, once.

use std::io::{Read, Write, stdin, stdout};

use fs_path::Fault;
use serde::Serialize;

/// A finished call.
#[derive(Debug, Serialize)]
pub struct Answer {
    ok: bool,
    data: String,
    bytes: u64,
    /// `base64` when `data` is not the text itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
}

impl Answer {
    pub fn text(data: String, bytes: u64) -> Self {
        Self { ok: true, data, bytes, encoding: None }
    }

    /// `data` is base64 of `bytes` bytes.
    pub fn base64(data: String, bytes: u64) -> Self {
        Self { ok: true, data, bytes, encoding: Some("base64") }
    }
}

#[derive(Serialize)]
struct Refusal {
    ok: bool,
    error: String,
}

/// Reads the arguments, runs `tool` and writes its answer. A failure is an answer too, so the exit code stays 0.
pub fn run(tool: impl FnOnce(&str) -> Result<Answer, Fault>) {
    let mut arguments = String::new();
    let answer = match stdin().read_to_string(&mut arguments) {
        Ok(_) => tool(&arguments),
        Err(error) => Err(Fault::invalid(format!("the arguments cannot be read ({error}); send them as UTF-8"))),
    };
    let line = match answer {
        Ok(answer) => serde_json::to_vec(&answer),
        Err(fault) => serde_json::to_vec(&Refusal { ok: false, error: fault.message }),
    };
    let line = line.expect("an answer holds nothing but strings, numbers and booleans");
    // A host that does not listen has no use for an error either.
    let _ = stdout().write_all(&line).and_then(|()| stdout().flush());
}
