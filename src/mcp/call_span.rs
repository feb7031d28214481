//! One span per tool call: who was called, for whom, and how it ended.
//!
//! Made with the OpenTelemetry API and not with `tracing`, which would have to run every call through the filter of the
//! log, and to enter a span on every poll. Off costs a call one atomic load; the parent is not even looked at. On, a
//! span belongs to its call as a value: it ends with the call, also when the call's future is dropped.
//!
//! Names follow OpenTelemetry's conventions for MCP as far as those go, the rest begins with `nurones.`. Arguments and
//! results are not recorded, and of the client's words only what a failed call was told, cut off at 1 KiB.
//!
//! | `nurones.outcome` | the client was told |
//! |---|---|
//! | `finished` | the result |
//! | `faulted` | an error of the tool or its sandbox, or of ours |
//! | `refused` | that the call was not tried: its arguments, its rights, or no room |
//! | `lost` | that its worker died, or was stopped with the server |
//! | `cancelled` | nothing: it wanted nothing more |

use std::sync::Arc;

use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode, ErrorData, ProtocolVersion, RequestMetaObject};
use tokio_util::sync::CancellationToken;

use super::error::FAULT_META_KEY;
use crate::actors::tool_table::ToolEntry;
use crate::frame::ContextFrame;
use crate::redact;
use crate::telemetry::{otlp, trace_parent};
use crate::wasi::error::FaultCode;

const METHOD: &str = "tools/call";

/// The most of an error's text that goes into a span. A tool's own may be megabytes.
const MESSAGE_BYTES: usize = 1024;

/// The span of one call, if anybody wants one.
pub struct CallSpan(Option<Box<Recording>>);

struct Recording {
    span: Span,
    cancel: CancellationToken,
    admitted: bool,
}

impl CallSpan {
    /// Begins a span below that of the caller, as the request's `_meta` has it.
    pub fn begin(meta: &RequestMetaObject, version: Option<ProtocolVersion>, cancel: &CancellationToken) -> Self {
        Self(otlp::tracer().and_then(|tracer| Recording::begin(tracer, meta, version, cancel)).map(Box::new))
    }

    /// The tool that is called.
    pub fn tool(&mut self, tool: &ToolEntry) {
        let Some(recording) = &mut self.0 else { return };
        let span = &mut recording.span;
        span.update_name(format!("{METHOD} {}", tool.published));
        span.set_attribute(KeyValue::new("gen_ai.tool.name", tool.published.clone()));
        span.set_attribute(KeyValue::new("nurones.tool.version", tool.loaded.manifest.version.to_string()));
        span.set_attribute(KeyValue::new("nurones.guest.kind", tool.loaded.kind.words()));
    }

    /// What the call is bound to.
    pub fn frame(&mut self, frame: &ContextFrame) {
        let Some(recording) = &mut self.0 else { return };
        let span = &mut recording.span;
        span.set_attribute(KeyValue::new("nurones.reason_trace_id", Arc::clone(&frame.reason_trace_id)));
        span.set_attribute(KeyValue::new("nurones.tenant_id", Arc::clone(&frame.tenant_id)));
    }

    /// The call is on its way to a worker: a failure from here on is no refusal.
    pub fn admitted(&mut self) {
        if let Some(recording) = &mut self.0 {
            recording.admitted = true;
        }
    }

    /// Ends the span of a call whose result is no error.
    pub fn finished(mut self) {
        if let Some(mut recording) = self.0.take() {
            recording.outcome(if recording.cancel.is_cancelled() { "cancelled" } else { "finished" });
        }
    }

    /// Ends the span with what the client is told.
    pub fn end(mut self, result: &Result<CallToolResult, ErrorData>) {
        if let Some(mut recording) = self.0.take() {
            recording.end(result);
        }
    }
}

impl Drop for CallSpan {
    /// The call's future was dropped: with the connection, and there is nobody left to answer.
    fn drop(&mut self) {
        if let Some(mut recording) = self.0.take() {
            let outcome = if recording.cancel.is_cancelled() { "cancelled" } else { "lost" };
            recording.outcome(outcome);
        }
    }
}

impl Recording {
    fn begin(
        tracer: &SdkTracer,
        meta: &RequestMetaObject,
        version: Option<ProtocolVersion>,
        cancel: &CancellationToken,
    ) -> Option<Self> {
        let caller = meta.get_traceparent().and_then(|parent| trace_parent::parse(parent, meta.get_tracestate()));
        let parent = caller.map_or_else(Context::new, |caller| Context::new().with_remote_span_context(caller));
        // Room for all there can be, so that the list grows once.
        let mut attributes = Vec::with_capacity(16);
        attributes.push(KeyValue::new("mcp.method.name", METHOD));
        attributes.push(KeyValue::new("gen_ai.operation.name", "execute_tool"));
        attributes.push(KeyValue::new("network.transport", "pipe"));
        if let Some(version) = version {
            attributes.push(KeyValue::new("mcp.protocol.version", version.as_str().to_owned()));
        }
        let builder = SpanBuilder::from_name(METHOD).with_kind(SpanKind::Server).with_attributes(attributes);
        let span = tracer.build_with_context(builder, &parent);
        // One that was not sampled needs no attributes.
        span.is_recording().then(|| Self { span, cancel: cancel.clone(), admitted: false })
    }

    fn end(&mut self, result: &Result<CallToolResult, ErrorData>) {
        if self.cancel.is_cancelled() {
            return self.outcome("cancelled");
        }
        match result {
            Ok(result) if result.is_error == Some(true) => self.faulted(result),
            Ok(_) => self.outcome("finished"),
            Err(error) => self.failed(error),
        }
    }

    /// The client gets a result that is an error.
    fn faulted(&mut self, result: &CallToolResult) {
        let fault = result.meta.as_ref().and_then(|meta| meta.get(FAULT_META_KEY));
        let code = fault.and_then(|fault| fault["code"].as_str()).unwrap_or_default();
        self.span.set_attribute(KeyValue::new("nurones.fault.code", code.to_owned()));
        // The one word the conventions have for all of them.
        self.span.set_attribute(KeyValue::new("error.type", "tool_error"));
        self.span.set_status(Status::error(message(result.content.first().and_then(text).unwrap_or_default())));
        self.outcome(match self.admitted {
            false => "refused",
            true if code == FaultCode::WorkerLost.as_str() => "lost",
            true => "faulted",
        });
    }

    /// The client gets an error of the protocol.
    fn failed(&mut self, error: &ErrorData) {
        let code = error.code.0.to_string();
        if let Some(reason) = error.data.as_ref().and_then(|data| data["reason"].as_str()) {
            self.span.set_attribute(KeyValue::new("nurones.fault.code", reason.to_owned()));
        }
        self.span.set_attribute(KeyValue::new("rpc.response.status_code", code.clone()));
        self.span.set_attribute(KeyValue::new("error.type", code));
        self.span.set_status(Status::error(message(&error.message)));
        self.outcome(if error.code == ErrorCode::INTERNAL_ERROR { "faulted" } else { "refused" });
    }

    fn outcome(&mut self, outcome: &'static str) {
        self.span.set_attribute(KeyValue::new("nurones.outcome", outcome));
        self.span.end();
    }
}

fn text(content: &ContentBlock) -> Option<&str> {
    content.as_text().map(|text| text.text.as_str())
}

fn message(text: &str) -> String {
    redact::first_of_text(text, MESSAGE_BYTES).into_owned()
}
