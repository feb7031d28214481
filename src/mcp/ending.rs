//! How a call ended, for those who keep account of it.
//!
//! | outcome | the client was told |
//! |---|---|
//! | `finished` | the result |
//! | `replayed` | the result of an earlier call with the same idempotency key |
//! | `faulted` | an error of the tool or its sandbox, or of ours |
//! | `refused` | that the call was not tried: its arguments, its rights, or no room |
//! | `lost` | that its worker died, or was stopped with the server |
//! | `cancelled` | nothing: it wanted nothing more |

use rmcp::model::{CallToolResult, ContentBlock, ErrorCode, ErrorData};

use super::direct::CallResult;
use super::error::FAULT_META_KEY;
use super::once::REPLAYED_META_KEY;
use crate::wasi::error::FaultCode;

/// See the module documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// One of the table.
    pub outcome: &'static str,
    /// The fault code, the reason of the refusal, or the code of the protocol error.
    pub code: Option<String>,
    /// The code of the protocol error.
    pub protocol: Option<String>,
    /// What the client was told of it.
    pub said: Option<String>,
}

impl Ending {
    /// The client gets its result.
    pub fn finished() -> Self {
        Self { outcome: "finished", code: None, protocol: None, said: None }
    }

    /// The client wanted nothing more.
    pub fn cancelled() -> Self {
        Self { outcome: "cancelled", ..Self::finished() }
    }

    /// The connection has ended.
    pub fn lost() -> Self {
        Self { outcome: "lost", ..Self::finished() }
    }

    /// The client is told this of a call that was let in, or was not.
    pub fn of(result: &CallResult, admitted: bool) -> Self {
        match result {
            Ok(result) if result.is_error == Some(true) => Self::faulted(result, admitted),
            Ok(result) => {
                let replayed = result.meta.as_ref().is_some_and(|meta| meta.contains_key(REPLAYED_META_KEY));
                Self { outcome: if replayed { "replayed" } else { "finished" }, ..Self::finished() }
            }
            Err(error) => Self::failed(error),
        }
    }

    /// The client gets a result that is an error.
    fn faulted(result: &CallToolResult, admitted: bool) -> Self {
        let fault = result.meta.as_ref().and_then(|meta| meta.get(FAULT_META_KEY));
        let code = fault.and_then(|fault| fault["code"].as_str()).unwrap_or_default();
        let outcome = match admitted {
            false => "refused",
            true if code == FaultCode::WorkerLost.as_str() => "lost",
            true => "faulted",
        };
        let said = result.content.first().and_then(text).unwrap_or_default();
        Self { outcome, code: Some(code.to_owned()), protocol: None, said: Some(said.to_owned()) }
    }

    /// The client gets an error of the protocol.
    fn failed(error: &ErrorData) -> Self {
        let protocol = error.code.0.to_string();
        let reason = error.data.as_ref().and_then(|data| data["reason"].as_str()).map(str::to_owned);
        Self {
            outcome: if error.code == ErrorCode::INTERNAL_ERROR { "faulted" } else { "refused" },
            code: Some(reason.unwrap_or_else(|| protocol.clone())),
            protocol: Some(protocol),
            said: Some(error.message.to_string()),
        }
    }
}

fn text(content: &ContentBlock) -> Option<&str> {
    content.as_text().map(|text| text.text.as_str())
}
