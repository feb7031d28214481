//! What is known from outside of the session that rmcp holds with the client: whether it has begun, and in which era.
//!
//! A tool call is taken past rmcp (see [`direct`](super::direct)) only when it is certain that rmcp would pass it on to
//! the handler. Whatever is not certain goes to rmcp, which knows what is wrong with it and says so.

use rmcp::model::{ProtocolVersion, RequestMetaObject, ServerResult};

/// See the module documentation.
#[derive(Debug, Default)]
pub enum Session {
    /// No request has begun it yet.
    #[default]
    Opening,
    /// It began with `initialize`, which settled this version for requests that name none.
    Initialized(ProtocolVersion),
    /// It began with a request that named its version, as each has to then.
    Inline,
}

impl Session {
    /// rmcp answers a request with this result. Only the first that can begin a session says what it is.
    pub fn observe(&mut self, result: &ServerResult) {
        if !matches!(self, Self::Opening) {
            return;
        }
        *self = match result {
            ServerResult::InitializeResult(result) => Self::Initialized(result.protocol_version.clone()),
            // Possible before a session begins: `server/discover` and `ping`.
            ServerResult::DiscoverResult(_) | ServerResult::EmptyResult(_) => return,
            _ => Self::Inline,
        };
    }

    /// The version that a request with this metadata is made in, if rmcp is certain to accept it.
    pub fn version_of(&self, meta: &RequestMetaObject) -> Option<ProtocolVersion> {
        let settled = match self {
            Self::Opening => return None,
            Self::Initialized(version) => Some(version),
            Self::Inline => None,
        };
        let Some(named) = meta.protocol_version() else { return settled.cloned() };
        let complete = || meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty();
        let needs_all = settled.is_none() || is_modern(&named);
        (ProtocolVersion::KNOWN_VERSIONS.contains(&named) && (!needs_all || complete())).then_some(named)
    }
}

/// Whether requests of this version stand for themselves, and results say who answered.
pub fn is_modern(version: &ProtocolVersion) -> bool {
    *version >= ProtocolVersion::V_2026_07_28
}

#[cfg(test)]
mod tests {
    use rmcp::model::{CallToolResult, EmptyResult};
    use serde_json::json;

    use super::*;

    fn meta(value: serde_json::Value) -> RequestMetaObject {
        serde_json::from_value(value).unwrap()
    }

    fn modern() -> RequestMetaObject {
        meta(json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}}))
    }

    #[test]
    fn nothing_is_certain_before_a_session_has_begun() {
        let mut session = Session::default();
        session.observe(&ServerResult::EmptyResult(EmptyResult {}));
        assert_eq!(session.version_of(&modern()), None);
    }

    #[test]
    fn a_session_that_named_its_version_wants_it_in_every_request() {
        let mut session = Session::default();
        session.observe(&ServerResult::CallToolResult(CallToolResult::success(Vec::new())));
        assert_eq!(session.version_of(&modern()), Some(ProtocolVersion::V_2026_07_28));
        assert_eq!(session.version_of(&RequestMetaObject::new()), None);
        let incomplete = meta(json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"}));
        assert_eq!(session.version_of(&incomplete), None);
    }

    #[test]
    fn an_initialized_session_has_its_version_unless_a_request_names_another() {
        let session = Session::Initialized(ProtocolVersion::V_2025_06_18);
        assert_eq!(session.version_of(&RequestMetaObject::new()), Some(ProtocolVersion::V_2025_06_18));
        assert_eq!(session.version_of(&modern()), Some(ProtocolVersion::V_2026_07_28));
        let unknown = meta(json!({"io.modelcontextprotocol/protocolVersion": "2031-01-01",
            "io.modelcontextprotocol/clientCapabilities": {}}));
        assert_eq!(session.version_of(&unknown), None);
        let incomplete = meta(json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"}));
        assert_eq!(session.version_of(&incomplete), None);
    }
}
