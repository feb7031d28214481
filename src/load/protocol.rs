//! Which version of MCP is spoken, and how that is said: once, in a handshake, or with every request.

use std::str::FromStr;

use serde_json::{Value, json};

/// Versions that begin with `initialize`.
const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// Versions whose every request says which it is.
const MODERN: [&str; 1] = ["2026-07-28"];

/// A version of MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    version: &'static str,
}

impl Default for Protocol {
    /// Servers of every era since know it, or answer with one they know; for calling a tool the differences do not
    /// matter.
    fn default() -> Self {
        Self { version: LEGACY[2] }
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = LEGACY.iter().chain(&MODERN);
        let version = known.clone().find(|version| **version == text);
        version.map(|version| Self { version }).ok_or_else(|| {
            let known: Vec<&str> = known.copied().collect();
            format!("is no version of MCP that is known here; choose one of {}", known.join(", "))
        })
    }
}

impl Protocol {
    /// Its name, a date.
    pub fn version(self) -> &'static str {
        self.version
    }

    /// What every request carries as its `_meta`, if the version wants that.
    pub(super) fn meta(self) -> Option<Value> {
        MODERN.contains(&self.version).then(|| {
            json!({
                "io.modelcontextprotocol/protocolVersion": self.version,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": Self::client(),
            })
        })
    }

    /// Who we are.
    pub(super) fn client() -> Value {
        json!({ "name": "nurones-load", "version": env!("CARGO_PKG_VERSION") })
    }

    /// `params` as a request carries them.
    pub(super) fn params(self, mut params: Value) -> Value {
        if let Some(meta) = self.meta() {
            params["_meta"] = meta;
        }
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_modern_versions_say_so_with_every_request() {
        for version in LEGACY {
            assert_eq!(version.parse::<Protocol>().unwrap().meta(), None, "{version}");
        }
        let modern: Protocol = MODERN[0].parse().unwrap();
        assert_eq!(modern.params(json!({}))["_meta"]["io.modelcontextprotocol/protocolVersion"], MODERN[0]);
        assert!("2025".parse::<Protocol>().unwrap_err().contains("2025-11-25"));
    }
}
