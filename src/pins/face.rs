//! What clients see of a tool: its entry in `tools/list`, member by member.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fingerprint::Fingerprint;

/// See the module documentation. Whatever `tools/list` says of a tool must be in here; a test compares the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Face {
    /// The published name.
    pub name: String,
    /// For the model that chooses among tools.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Map<String, Value>,
    /// Hints.
    pub annotations: Annotations,
}

/// The hints of MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Annotations {
    /// The tool changes nothing.
    pub read_only_hint: bool,
    /// The tool may overwrite or remove.
    pub destructive_hint: bool,
    /// Repeating a call changes nothing more.
    pub idempotent_hint: bool,
    /// The tool talks to things outside its sandbox.
    pub open_world_hint: bool,
}

impl Face {
    /// As JSON.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("strings, booleans and JSON values are serialisable")
    }

    /// The SHA-256 of its one spelling.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_value(&self.to_value())
    }
}
