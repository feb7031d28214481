//! What is written down.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::story::{Step, Steps};

/// One entry of the trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// A call.
    Call(Box<CallEntry>),
    /// Entries that could not be taken or written.
    Lost {
        /// When that was noticed, in Unix milliseconds.
        at_ms: i64,
        /// The server that says so.
        server: String,
        /// How many.
        entries: u64,
    },
}

/// A call from its arrival to its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallEntry {
    /// The name of this call, as its client was told it.
    pub call_id: String,
    /// When it arrived, in Unix milliseconds.
    pub at_ms: i64,
    /// Microseconds from then to its end.
    pub took_us: u64,
    /// The server's life.
    pub server: String,
    /// Who called, as whoever started the server says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The published name of the tool.
    pub tool: String,
    /// Its version, as its manifest has it.
    pub tool_version: String,
    /// Whether the call might be made.
    pub decision: Decision,
    /// What it was called with.
    pub arguments: Digest,
    /// Whether the arguments themselves are kept beside the entry.
    pub kept: bool,
    /// How it ended: `finished`, `faulted`, `refused`, `lost`, `cancelled` or `replayed`.
    pub outcome: String,
    /// The fault code, the reason of the refusal, or the code of the protocol error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The beginning of what the client was told of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// What the client got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Digest>,
    /// The ContextFrame as it was used.
    pub context: Value,
    /// What happened on the way.
    #[serde(flatten)]
    pub steps: Steps,
}

impl CallEntry {
    /// About how many bytes of memory it takes while it waits.
    pub fn size(&self) -> usize {
        const FIXED: usize = 4096;
        const STEP: usize = 128;
        let lines = self.steps.steps.iter().map(|timed| match &timed.step {
            Step::Said { line, .. } => STEP + line.len(),
            _ => STEP,
        });
        FIXED
            + self.arguments.shape.len()
            + self.answer.as_ref().map_or(0, |answer| answer.shape.len())
            + lines.sum::<usize>()
    }
}

/// What the rules said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether the call might be made.
    pub allowed: bool,
    /// Which rule said so, and why.
    pub by: String,
}

/// What is known of arguments or a result that are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// SHA-256 of its JSON text, keys sorted, in hexadecimal.
    pub sha256: String,
    /// The length of that text.
    pub bytes: usize,
    /// Names, types and sizes.
    pub shape: String,
}

impl Digest {
    /// Of a value with this shape.
    pub fn of(value: &impl Serialize, shape: String) -> Self {
        Self::of_text(&serde_json::to_string(value).expect("JSON is serialisable"), shape)
    }

    /// Of a value of which the JSON text is there already.
    pub fn of_text(text: &str, shape: String) -> Self {
        // `sha256:` says to the redactor what the digits are.
        let hex = Sha256::digest(text).iter().fold("sha256:".to_owned(), |hex, byte| hex + &format!("{byte:02x}"));
        Self { sha256: hex, bytes: text.len(), shape }
    }
}
