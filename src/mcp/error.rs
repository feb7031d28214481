//! The only place where a failure becomes a JSON-RPC code or an `isError` result.
//!
//! | happens | answer |
//! |---|---|
//! | the tool ran and failed: its own error, trap, deadline, limit, exit code, lost worker; arguments off the schema | result with `isError: true` and `_meta["io.nurones/fault"]` |
//! | the call was not tried: overload, rate limit, quarantine, shutdown | error −31503 with `reason`, `retryable`, `retryAfterMs` |
//! | unknown tool, malformed parameters or ContextFrame | error −32602 |
//! | a bug of ours | error −32603 |
//!
//! −31503 lies outside the range that the specification reserves (−32768 … −32000), where new codes are forbidden.

use std::time::Duration;

use rmcp::model::{ErrorCode, ErrorData};
use serde_json::{Value, json};

use crate::actors::message::Refusal;
use crate::fields::Mistake;
use crate::keyed::Unavailable;
use crate::wasi::error::{Fault, FaultCode, LoadError};

/// The server cannot take the call now; the client may try again.
pub const OVERLOADED: ErrorCode = ErrorCode(-31503);

/// Where the fault of a failed call stands in its result's `_meta`.
pub const FAULT_META_KEY: &str = "io.nurones/fault";

/// The call of `tool` was refused before it was tried.
pub fn refused(refusal: Refusal, tool: &str, retry_after: Duration) -> ErrorData {
    let message = match refusal {
        Refusal::QueueFull => format!("the tool {tool} has too many calls waiting; try again later"),
        Refusal::Inflight => {
            "the server has too many requests in flight, or answers that were not read; try again later".to_owned()
        }
        Refusal::Codel => format!("calls of the tool {tool} wait too long already; make fewer and try again later"),
        Refusal::ToolRate(_) => format!("the tool {tool} takes only so many calls a second; try again later"),
        Refusal::TenantRate(_) => {
            "the tenant's calls a second (budgets.rps of the ContextFrame, or the policy's) are used up; try again later"
                .to_owned()
        }
        Refusal::TenantCpu(_) => {
            "the tenant's CPU time of a minute (budgets.cpu_ms_per_min of the ContextFrame, or the policy's) is used up; \
             try again later"
                .to_owned()
        }
        Refusal::Quarantined => {
            format!("the tool {tool} failed too often and is left alone for a while; try again later")
        }
        Refusal::BreakerOpen => {
            format!("too many calls of the tool {tool} fail just now, so it is left alone for a while; try again later")
        }
        Refusal::Stopped => {
            format!("the tool {tool} has ended and is not to be started again; restart the server to have it back")
        }
        Refusal::NotCompiled => {
            format!(
                "the tool {tool} could not be compiled just now; try again, and see the server's log if it stays so"
            )
        }
        Refusal::ShuttingDown => "the server is shutting down; start it again".to_owned(),
    };
    let mut data = json!({
        "reason": refusal.as_str(),
        "retryable": !matches!(refusal, Refusal::ShuttingDown | Refusal::Stopped),
        "retryAfterMs": retry_after.as_millis() as u64,
    });
    if !tool.is_empty() {
        data["tool"] = Value::from(tool);
    }
    ErrorData::new(OVERLOADED, message, Some(data))
}

/// Too many requests are in flight on this connection.
pub fn refused_inflight(retry_after: Duration) -> ErrorData {
    refused(Refusal::Inflight, "", retry_after)
}

/// The server ends and could not get an answer out of a worker.
pub fn refused_shutting_down() -> ErrorData {
    refused(Refusal::ShuttingDown, "", Duration::ZERO)
}

/// No tool has this name; `known` helps the model to correct itself.
pub fn unknown_tool(name: &str, known: &[&str]) -> ErrorData {
    const NAME_CHARS: usize = 80;
    let name: String = name.chars().take(NAME_CHARS).collect();
    ErrorData::invalid_params(format!("Unknown tool: {name}; known tools: {}", known.join(", ")), None)
}

/// There is a manifest for this tool, but it turned out that it cannot be served.
pub fn not_served(name: &str, why: &LoadError) -> ErrorData {
    ErrorData::invalid_params(format!("the tool {name} is not served: {why}"), None)
}

/// The ContextFrame of the request is wrong.
pub fn bad_frame(mistakes: &[Mistake]) -> ErrorData {
    let list = mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("; ");
    let keys: Vec<&str> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
    ErrorData::invalid_params(
        format!("invalid ContextFrame in _meta[\"{}\"]: {list}", crate::frame::META_KEY),
        Some(json!({ "keys": keys })),
    )
}

/// The request's own deadline is none.
pub fn bad_deadline(said: &Value) -> ErrorData {
    let key = super::admission::DEADLINE_META_KEY;
    let most = super::admission::LONGEST_DEADLINE_MS;
    let message = format!("_meta[\"{key}\"] must be a whole number of milliseconds from 1 to {most}, not {said}");
    ErrorData::invalid_params(message, Some(json!({ "keys": [key] })))
}

/// The idempotency key is none.
pub fn bad_key() -> ErrorData {
    let key = super::once::KEY_META_KEY;
    let most = super::once::KEY_BYTES;
    let message = format!("_meta[\"{key}\"] must be a string of 1 to {most} bytes");
    ErrorData::invalid_params(message, Some(json!({ "keys": [key] })))
}

/// The idempotency key was used for another call.
pub fn key_conflict() -> ErrorData {
    let message = "this idempotency key was used for a call of another tool or with other arguments; use a new key";
    ErrorData::invalid_params(message, Some(json!({ "reason": "key_conflict" })))
}

/// As many idempotency keys are kept as may be.
pub fn keys_full(tool: &str) -> ErrorData {
    const LATER_MS: u64 = 60_000;
    let message = "too many idempotency keys are kept; try again when some have expired, or raise idempotency.maxKeys";
    let data = json!({ "reason": "keys_full", "retryable": true, "retryAfterMs": LATER_MS, "tool": tool });
    ErrorData::new(OVERLOADED, message, Some(data))
}

/// Nothing can be known about an idempotency key.
pub fn keys_unavailable(why: &Unavailable, tool: &str) -> ErrorData {
    const LATER_MS: u64 = 1_000;
    let data = json!({ "reason": "keys_unavailable", "retryable": true, "retryAfterMs": LATER_MS, "tool": tool });
    ErrorData::new(OVERLOADED, why.to_string(), Some(data))
}

/// Nobody knows how the call with this key ended.
pub fn unknown_outcome() -> Fault {
    Fault::new(
        FaultCode::UnknownOutcome,
        "a call with this idempotency key was begun before, and the server or the client ended it before its outcome was \
         known; see what was done, then use a new key",
    )
}

/// A handler panicked.
pub fn host_bug() -> ErrorData {
    ErrorData::internal_error("the server failed on this request; its log says why", None)
}

/// This server has no such thing; `method` is known to the protocol.
pub fn not_offered(method: &str) -> ErrorData {
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, format!("{method} is not offered: this server has tools only"), None)
}

/// Nobody knows this method.
pub fn unknown_method(method: &str) -> ErrorData {
    const METHOD_CHARS: usize = 80;
    let method: String = method.chars().take(METHOD_CHARS).collect();
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, format!("unknown method: {method}"), None)
}

/// The fault as it stands in `_meta`. Trying again is advised only where a call that was half done does no harm:
/// `repeatable` says that the tool changes nothing, or nothing more the second time.
pub fn fault_meta(fault: &Fault, repeatable: bool) -> Value {
    let retryable = fault.code.retryable() && repeatable && !fault.callers_limit;
    let mut meta = json!({ "code": fault.code.as_str(), "retryable": retryable });
    if let Some(detail) = &fault.detail {
        let key = match fault.code {
            FaultCode::ExitCode => "exitCode",
            _ => "trap",
        };
        meta[key] = Value::from(detail.as_str());
    }
    meta
}

/// The fault of a call whose worker died.
pub fn lost() -> Fault {
    Fault::new(
        FaultCode::WorkerLost,
        "the tool's worker was lost during the call and is being replaced; see what was done, then try again",
    )
}
