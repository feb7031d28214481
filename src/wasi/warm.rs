//! A warm instance: one Store, one component instance, many calls.
//!
//! Rule: a Store that was entered and not left is dead or torn, whatever the reason (a trap, a limit, a deadline, a
//! cancellation), and must be dropped; [`WarmInstance::is_torn`] tells.

use std::time::Instant;

use serde_json::Value;
use wasmtime::Store;

use super::call::{Content, GuestOutput, GuestRequest};
use super::contract::bindings::nurones::tool::types as wit;
use super::contract::bindings::{FileTool, FileToolPre};
use super::contract::printable;
use super::engine::Engine;
use super::error::{Fault, FaultCode};
use super::limits::{Limits, Reuse};
use super::store::{CallInHand, Sandbox, ToolState};
use crate::trail::Step;

/// See the module documentation.
pub struct WarmInstance {
    store: Store<ToolState>,
    guest: FileTool,
    output_bytes: usize,
    built: Instant,
    /// Calls begun.
    calls: u64,
    /// Set while the guest runs; it stays set when the guest does not return.
    entered: bool,
}

impl WarmInstance {
    /// Builds a Store for `sandbox` and instantiates the component in it.
    ///
    /// # Errors
    /// When a directory cannot be opened, or the component's start code traps or exceeds a limit.
    pub async fn instantiate(engine: &Engine, pre: &FileToolPre<ToolState>, sandbox: &Sandbox) -> Result<Self, Fault> {
        let output_bytes = sandbox.limits.output_bytes;
        let mut store = sandbox.tool_store(engine).map_err(|error| cannot_mount(&error))?;
        let guest = match pre.instantiate_async(&mut store).await {
            Ok(guest) => guest,
            Err(error) => return Err(fault(&store, &error, output_bytes)),
        };
        Ok(Self { store, guest, output_bytes, built: Instant::now(), calls: 0, entered: false })
    }

    /// Asks the tool what it is.
    ///
    /// # Errors
    /// When the guest traps or exceeds a limit.
    pub async fn describe(&mut self) -> Result<wit::Description, Fault> {
        self.guest.call_describe(&mut self.store).await.map_err(|error| fault(&self.store, &error, self.output_bytes))
    }

    /// Bytes of linear memory it has now.
    pub fn memory_bytes(&self) -> usize {
        self.store.data().limiter.allocated()
    }

    /// Whether it has served its time and is to be built anew.
    pub fn is_worn(&self, now: Instant, calls: u64, reuse: &Reuse) -> bool {
        self.calls >= calls
            || now.saturating_duration_since(self.built) >= reuse.age
            || self.memory_bytes() > reuse.memory_bytes
    }

    /// Whether a call did not return; the instance must then be dropped.
    pub fn is_torn(&self) -> bool {
        self.entered
    }

    /// Runs the tool once. Dropping the future stops the guest at its next yield; the instance must then be dropped.
    ///
    /// # Errors
    /// Whatever ended the call; see the rule in the module documentation.
    pub async fn call(&mut self, request: GuestRequest) -> Result<GuestOutput, Fault> {
        if request.frame.budget.memory_bytes.is_some_and(|budget| self.memory_bytes() > budget) {
            return Err(Fault::memory(true));
        }
        let GuestRequest { arguments, frame, deadline, progress, story } = request;
        if let Some(story) = &story {
            story.note(Step::Entered { served: Some(self.calls) });
        }
        let context = frame.json();
        self.store.data_mut().arm(CallInHand { frame, deadline, story }, progress);
        self.calls += 1;
        self.entered = true;
        let called = self.guest.call_call(&mut self.store, &arguments, &context, None).await;
        self.entered = called.is_err();
        self.log_stderr();
        match called {
            Ok(Ok(wit::Outcome::Complete(completion))) => self.complete(completion),
            Ok(Ok(wit::Outcome::InputRequired(_))) => Err(Fault::new(
                FaultCode::InputRequiredUnsupported,
                "the tool needs an answer from the client, which this server cannot ask for yet",
            )),
            Ok(Err(error)) => Err(explained(error)),
            Err(error) => Err(fault(&self.store, &error, self.output_bytes)),
        }
    }

    fn complete(&self, completion: wit::Completion) -> Result<GuestOutput, Fault> {
        let structured_bytes = completion.structured.as_ref().map_or(0, String::len);
        let structured = completion.structured.map(|text| parse_structured(&text)).transpose()?;
        let content = completion
            .content
            .into_iter()
            .map(|block| match block {
                wit::Content::Text(text) => Content::Text(text),
                wit::Content::Blob(blob) => Content::Blob { data: blob.data, mime_type: blob.mime_type },
            })
            .collect();
        GuestOutput { content, structured }.within(self.output_bytes, structured_bytes)
    }

    fn log_stderr(&self) {
        let state = self.store.data();
        if !state.stderr.is_empty() {
            let text = printable(&state.stderr.take(), Limits::STDERR_BYTES);
            state.said("stderr", &text);
            tracing::debug!(target: "guest", tool = %state.tool, trace_id = state.trace_id(), "stderr: {text}");
        }
    }
}

/// MCP clients before 2026-07-28 accept only objects, so only objects are accepted from a tool.
fn parse_structured(text: &str) -> Result<Value, Fault> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(Fault::new(FaultCode::ToolError, "the tool returned structured content that is not a JSON object")),
    }
}

/// The fault a tool explained itself.
fn explained(error: wit::ToolError) -> Fault {
    let code = match error.code {
        wit::ErrorCode::InvalidArguments => FaultCode::InvalidArguments,
        wit::ErrorCode::NotFound => FaultCode::NotFound,
        wit::ErrorCode::PermissionDenied => FaultCode::PermissionDenied,
        wit::ErrorCode::OutputLimit => FaultCode::OutputLimit,
        wit::ErrorCode::Failed => FaultCode::ToolError,
    };
    Fault::new(code, error.message)
}

fn fault(store: &Store<ToolState>, error: &wasmtime::Error, output_bytes: usize) -> Fault {
    Fault::from_guest(error, store.data().limiter.denials(), output_bytes)
}

pub(super) fn cannot_mount(error: &wasmtime::Error) -> Fault {
    tracing::warn!(error = %format!("{error:#}"), "an allowed directory cannot be opened");
    Fault::new(FaultCode::WorkerLost, "an allowed directory cannot be opened just now; try again later")
}
