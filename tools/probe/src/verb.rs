//! The verbs and their arguments.

use serde::Deserialize;

/// One call. A verb without arguments has empty braces, so that serde ignores arguments of other verbs for all alike.
#[derive(Debug, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    Echo {
        text: String,
    },
    Sleep {
        ms: u64,
    },
    /// Loops for ever.
    Spin {},
    /// Computes until the clock has advanced.
    Burn {
        ms: u64,
    },
    Trap {},
    Exit {
        code: i32,
    },
    /// Allocates and touches; for ever without `mb`.
    Alloc {
        mb: Option<u64>,
    },
    /// Fills `mb` megabytes of memory and copies half of them over the rest, `times` times: single instructions, each
    /// of which moves megabytes.
    Fill {
        mb: u64,
        times: u64,
    },
    Recurse {},
    /// Keeps `n` descriptors open at once.
    OpenMany {
        path: String,
        n: usize,
    },
    /// Writes to stdout, which leads nowhere.
    PrintMany {
        bytes: u64,
    },
    Read {
        path: String,
    },
    Write {
        path: String,
        content: String,
    },
    /// Opens a TCP connection to a host and port.
    Connect {
        address: String,
    },
    Log {
        text: String,
        #[serde(default = "once")]
        n: u64,
    },
    Progress {
        steps: u64,
    },
    Panic {
        text: String,
    },
    InputRequired {},
    Big {
        bytes: usize,
    },
    /// How many calls this instance has served.
    Count {},
    Context {},
    /// The ContextFrame as the host gives it typed, and the time that is left.
    Frame {},
    Random {
        bytes: u64,
    },
    /// What was inherited: variables, arguments, directories.
    Env {},
}

fn once() -> u64 {
    1
}

pub const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "verb": {
      "type": "string",
      "enum": [
        "echo", "sleep", "spin", "burn", "trap", "exit", "alloc", "fill", "recurse", "open_many", "print_many", "read",
        "write", "connect", "log", "progress", "panic", "input_required", "big", "count", "context", "frame", "random",
        "env"
      ],
      "description": "What to do."
    },
    "text": { "type": "string", "description": "echo, log, panic: what to say." },
    "ms": { "type": "integer", "minimum": 0, "description": "sleep, burn: milliseconds." },
    "code": { "type": "integer", "description": "exit: the exit code." },
    "mb": { "type": "integer", "minimum": 0, "description": "alloc, fill: megabytes; alloc without it, without end." },
    "times": { "type": "integer", "minimum": 0, "description": "fill: rounds." },
    "path": { "type": "string", "description": "read, write, open_many: the file." },
    "address": { "type": "string", "description": "connect: host and port." },
    "content": { "type": "string", "description": "write: the new content." },
    "n": { "type": "integer", "minimum": 0, "description": "open_many: descriptors; log: lines." },
    "bytes": { "type": "integer", "minimum": 0, "description": "big, random, print_many: how much." },
    "steps": { "type": "integer", "minimum": 0, "description": "progress: how many notifications." }
  },
  "required": ["verb"],
  "additionalProperties": false
}"#;
