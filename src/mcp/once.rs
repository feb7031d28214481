//! Calls with an idempotency key: made once, however often they are asked for.
//!
//! | the key | what a client gets |
//! |---|---|
//! | is new | the call is made |
//! | belongs to a call that is being made, here or by another server of the same user | its answer, once it is there |
//! | belongs to one that was made | its answer again, with `_meta["io.nurones/replayed"]` |
//! | belongs to a call of another tool, or with other arguments | error −32602, `key_conflict` |
//! | belongs to one that a server or a client ended before its outcome was known | `unknown_outcome`; made anew if the tool says that this does no harm |
//!
//! What was refused was not made, and leaves its key free. So does a fault after which a tool that may be repeated would
//! be called again. Every other answer is kept, errors of the tool too. A key belongs to a tenant.

use rmcp::model::{CallToolResult, ContentBlock, ErrorData, JsonObject, RequestMetaObject};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::admission;
use super::direct::CallResult;
use super::{error, tools};
use crate::actors::message::{CallOutcome, Refusal};
use crate::actors::shared::Shared;
use crate::actors::tool_table::ToolEntry;
use crate::frame::ContextFrame;
use crate::keyed::{Begun, Claim, Ticket};

/// Where a request says its key.
pub const KEY_META_KEY: &str = "io.nurones/idempotencyKey";

/// Where a result says that it is not the first of its kind.
pub const REPLAYED_META_KEY: &str = "io.nurones/replayed";

/// A key is a name, no message.
pub const KEY_BYTES: usize = 256;

/// Whether a request has anything to say about keys.
pub fn is_wanted(meta: &RequestMetaObject) -> bool {
    meta.contains_key(KEY_META_KEY)
}

/// The key of a request.
///
/// # Errors
/// A protocol error, when it is none.
pub fn key(meta: &RequestMetaObject) -> Result<Option<&str>, ErrorData> {
    match meta.get(KEY_META_KEY) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(key)) if (1..=KEY_BYTES).contains(&key.len()) => Ok(Some(key)),
        Some(_) => Err(error::bad_key()),
    }
}

/// What became of a call that was to be made.
pub struct Made {
    /// What the client is told.
    pub result: CallResult,
    /// Whether the tool may have done something.
    pub was_tried: bool,
}

impl Made {
    /// A call that was let in ended so.
    pub fn of(tool: &ToolEntry, outcome: CallOutcome, frame: &ContextFrame) -> Self {
        let again = matches!(&outcome, CallOutcome::Faulted(fault) if fault.code.retryable() && is_repeatable(tool));
        let refused = matches!(outcome, CallOutcome::Refused(_));
        Self { result: tools::answer(tool, outcome, frame), was_tried: !refused && !again }
    }

    /// A call was not let in.
    pub fn not(tool: &ToolEntry, denied: admission::Denied, frame: &ContextFrame) -> Self {
        Self { result: tools::denied(tool, denied, frame), was_tried: false }
    }
}

fn is_repeatable(tool: &ToolEntry) -> bool {
    let definition = tool.loaded.definition();
    definition.read_only || definition.idempotent
}

/// The claim of a call under `key`.
pub fn claim(tool: &ToolEntry, key: &str, arguments: &JsonObject, frame: &ContextFrame) -> Claim {
    let mut digest = Sha256::new();
    digest.update(&tool.published);
    digest.update([0]);
    // Keys of objects are sorted, so that the same arguments are the same text.
    digest.update(serde_json::to_vec(arguments).expect("JSON is serialisable"));
    Claim {
        tenant: frame.tenant_id.as_ref().to_owned(),
        key: key.to_owned(),
        digest: digest.finalize().into(),
        repeatable: is_repeatable(tool),
    }
}

/// Makes `call` under `claim`, unless that was done before.
pub async fn once(
    shared: &Shared,
    tool: &ToolEntry,
    claim: Claim,
    frame: &ContextFrame,
    cancel: &CancellationToken,
    call: impl Future<Output = Made>,
) -> CallResult {
    let patience = admission::due(tool, frame).allowed + tool.knobs.deadline_slack();
    let begun = tokio::select! {
        biased;
        // Nobody waits for this answer; it is not written.
        () = cancel.cancelled() => return Err(refused(tool, Refusal::ShuttingDown)),
        () = shared.interrupted() => return Err(refused(tool, Refusal::ShuttingDown)),
        begun = tokio::time::timeout(patience, shared.keyed.begin(claim)) => begun,
    };
    let (begun, ticket) = match begun {
        Err(_) => return Ok(tools::faulted(tool, &admission::due(tool, frame).fault(), frame)),
        Ok(Err(why)) => return Err(error::keys_unavailable(&why, &tool.published)),
        Ok(Ok(begun)) => begun,
    };
    match (begun, ticket) {
        (Begun::Run, Some(ticket)) => {
            let made = call.await;
            settle(shared, ticket, &made, cancel).await;
            made.result
        }
        (Begun::Done(answer), _) => replayed(&answer),
        (Begun::Conflict, _) => Err(error::key_conflict()),
        (Begun::Full, _) => Err(error::keys_full(&tool.published)),
        (Begun::Unknown | Begun::Run | Begun::Running, _) => Ok(tools::faulted(tool, &error::unknown_outcome(), frame)),
    }
}

fn refused(tool: &ToolEntry, refusal: Refusal) -> ErrorData {
    error::refused(refusal, &tool.published, tool.retry_after(refusal))
}

/// Has it written down how the call ended, before the client is told.
async fn settle(shared: &Shared, ticket: Ticket, made: &Made, cancel: &CancellationToken) {
    match &made.result {
        _ if !made.was_tried => ticket.not_made().await,
        // What it has done before it was stopped is not known; dropped without a word, the ticket says so.
        _ if cancel.is_cancelled() => drop(ticket),
        Err(_) => drop(ticket),
        Ok(result) => {
            let answer = kept(result, shared.keyed.answer_bytes());
            if let Err(error) = ticket.done(answer).await {
                // The call was made, and its client must hear of it.
                tracing::error!("the answer of a call with an idempotency key cannot be kept yet: {error}");
            }
        }
    }
}

/// The result as it is kept.
fn kept(result: &CallToolResult, most_bytes: usize) -> String {
    let answer = serde_json::to_string(result).expect("results are serialisable");
    if answer.len() <= most_bytes {
        return answer;
    }
    let text = format!(
        "the call with this idempotency key was made before; its answer of {} bytes was too large to be kept",
        answer.len()
    );
    let instead = CallToolResult::success(vec![ContentBlock::text(text)]);
    serde_json::to_string(&instead).expect("results are serialisable")
}

fn replayed(answer: &str) -> CallResult {
    let mut result: CallToolResult = serde_json::from_str(answer).map_err(|_| error::host_bug())?;
    result.meta.get_or_insert_default().insert(REPLAYED_META_KEY.to_owned(), Value::Bool(true));
    Ok(result)
}
