//! One span per tool call: who was called, for whom, and how it ended.
//!
//! Made with the OpenTelemetry API and not with `tracing`, which would have to run every call through the filter of the
//! log, and to enter a span on every poll. Off costs a call one atomic load; the parent is not even looked at. On, a
//! span belongs to its call as a value: it ends with the call, also when the call's future is dropped.
//!
//! Names follow OpenTelemetry's conventions for MCP as far as those go, the rest begins with `nurones.`. Arguments and
//! results are not recorded, and of the client's words only what a failed call was told, cut off at 1 KiB.
//!
//! `nurones.outcome` is how it ended, see [`Ending`].

use std::sync::Arc;

use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use rmcp::model::{ProtocolVersion, RequestMetaObject};

use super::ending::Ending;
use crate::actors::tool_table::ToolEntry;
use crate::frame::ContextFrame;
use crate::redact;
use crate::telemetry::{otlp, trace_parent};

const METHOD: &str = "tools/call";

/// The most of an error's text that goes into a span. A tool's own may be megabytes.
const MESSAGE_BYTES: usize = 1024;

/// The span of one call, if anybody wants one.
pub struct CallSpan(Option<Box<Recording>>);

struct Recording {
    span: Span,
}

impl CallSpan {
    /// Begins a span below that of the caller, as the request's `_meta` has it.
    pub fn begin(meta: &RequestMetaObject, version: Option<ProtocolVersion>) -> Self {
        Self(otlp::tracer().and_then(|tracer| Recording::begin(tracer, meta, version)).map(Box::new))
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

    /// Ends it so; what is said after that is not heard.
    pub fn end(&mut self, ending: &Ending) {
        if let Some(mut recording) = self.0.take() {
            recording.end(ending);
        }
    }
}

impl Recording {
    fn begin(tracer: &SdkTracer, meta: &RequestMetaObject, version: Option<ProtocolVersion>) -> Option<Self> {
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
        span.is_recording().then_some(Self { span })
    }

    fn end(&mut self, ending: &Ending) {
        if let Some(code) = ending.code.as_ref().filter(|code| Some(*code) != ending.protocol.as_ref()) {
            self.span.set_attribute(KeyValue::new("nurones.fault.code", code.clone()));
        }
        if let Some(code) = &ending.protocol {
            self.span.set_attribute(KeyValue::new("rpc.response.status_code", code.clone()));
        }
        if let Some(said) = &ending.said {
            // For results, the one word the conventions have for all of them.
            let kind = ending.protocol.clone().unwrap_or_else(|| "tool_error".to_owned());
            self.span.set_attribute(KeyValue::new("error.type", kind));
            self.span.set_status(Status::error(redact::first_of_text(said, MESSAGE_BYTES).into_owned()));
        }
        self.span.set_attribute(KeyValue::new("nurones.outcome", ending.outcome));
        self.span.end();
    }
}
