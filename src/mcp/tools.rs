//! Tools as MCP has them: the list, and results.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rmcp::model::{
    CallToolResult, ContentBlock, ErrorData, Implementation, MetaObject, ResourceContents, Tool, ToolAnnotations,
};
use serde_json::Value;

use super::admission::Denied;
use super::error::{self, FAULT_META_KEY};
use crate::actors::message::CallOutcome;
use crate::actors::tool_table::ToolEntry;
use crate::frame::{self, ContextFrame};
use crate::wasi::call::{Content, GuestOutput};
use crate::wasi::error::Fault;

const NAME: &str = "nurones-mcp";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What this server calls itself.
pub fn implementation() -> Implementation {
    Implementation::new(NAME, VERSION)
}

/// Says in a result who answered, as the protocol wants it on every result since 2026-07-28.
pub fn sign(meta: &mut MetaObject) {
    let server = serde_json::json!({ "name": NAME, "version": VERSION });
    meta.insert("io.modelcontextprotocol/serverInfo".to_owned(), server);
}

/// A tool as `tools/list` shows it.
pub fn listed(tool: &ToolEntry) -> Tool {
    let definition = tool.loaded.definition();
    let annotations = ToolAnnotations::new()
        .read_only(definition.read_only)
        .destructive(definition.destructive)
        .idempotent(definition.idempotent)
        .open_world(definition.open_world);
    let mut listed =
        Tool::new(tool.published.clone(), definition.description.clone(), Arc::clone(&definition.input_schema));
    listed.annotations = Some(annotations);
    listed
}

/// What the client is told of a call that was made.
///
/// # Errors
/// A protocol error, when it was refused while it waited.
pub fn answer(tool: &ToolEntry, outcome: CallOutcome, frame: &ContextFrame) -> Result<CallToolResult, ErrorData> {
    match outcome {
        CallOutcome::Finished(output) => Ok(finished(tool, output, frame)),
        CallOutcome::Faulted(fault) => Ok(faulted(tool, &fault, frame)),
        CallOutcome::Lost => Ok(faulted(tool, &error::lost(), frame)),
        CallOutcome::Refused(refusal) => Err(error::refused(refusal, &tool.published, tool.retry_after(refusal))),
    }
}

/// What the client is told of a call that was not made.
///
/// # Errors
/// A protocol error, if that is what it is told.
pub fn denied(tool: &ToolEntry, denied: Denied, frame: &ContextFrame) -> Result<CallToolResult, ErrorData> {
    match denied {
        Denied::Fault(fault) => Ok(faulted(tool, &fault, frame)),
        Denied::Protocol(error) => Err(error),
    }
}

/// The result of a call that finished.
pub fn finished(tool: &ToolEntry, output: GuestOutput, frame: &ContextFrame) -> CallToolResult {
    let content = output.content.into_iter().map(|content| block(tool, content)).collect();
    let mut result = CallToolResult::success(content);
    result.structured_content = output.structured;
    result.meta = Some(meta(frame));
    result
}

/// The result of a call that failed.
pub fn faulted(tool: &ToolEntry, fault: &Fault, frame: &ContextFrame) -> CallToolResult {
    let mut result = CallToolResult::error(vec![ContentBlock::text(fault.message.clone())]);
    let mut meta = meta(frame);
    let definition = tool.loaded.definition();
    let repeatable = definition.read_only || definition.idempotent;
    meta.insert(FAULT_META_KEY.to_owned(), error::fault_meta(fault, repeatable));
    result.meta = Some(meta);
    result
}

/// What was used.
fn meta(frame: &ContextFrame) -> MetaObject {
    let mut meta = MetaObject::default();
    meta.insert(frame::META_KEY.to_owned(), Value::Object(frame.values()));
    meta
}

fn block(tool: &ToolEntry, content: Content) -> ContentBlock {
    match content {
        Content::Text(text) => ContentBlock::text(text),
        Content::Blob { data, mime_type } => {
            let data = BASE64_STANDARD.encode(data);
            match mime_type.split('/').next() {
                Some("image") => ContentBlock::image(data, mime_type),
                Some("audio") => ContentBlock::audio(data, mime_type),
                // MCP has no block for other bytes; an embedded resource is the one that carries them. Its URI names
                // where they come from and cannot be read again.
                _ => ContentBlock::resource(
                    ResourceContents::blob(data, format!("nurones:{}", tool.published)).with_mime_type(mime_type),
                ),
            }
        }
    }
}
