//! Who sees how a call goes: its span, and its entry in the audit trail. Both belong to the call as values; neither costs
//! a call anything that nobody wants to hear of.

use std::sync::Arc;

use rmcp::model::{CallToolResult, ErrorData, JsonObject, MetaObject, ProtocolVersion, RequestMetaObject};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::call_span::CallSpan;
use super::direct::CallResult;
use super::ending::Ending;
use crate::actors::shared::Shared;
use crate::actors::tool_table::ToolEntry;
use crate::frame::ContextFrame;
use crate::redact;
use crate::trail::{CallEntry, Decision, Digest, Story, Trail};

/// Where an answer says under which name the call is in the audit trail: in a result's `_meta`, or as `callId` in the data
/// of an error.
pub const CALL_ID_META_KEY: &str = "io.nurones/callId";

/// The most of an error's text that is kept.
const SAID_BYTES: usize = 512;

/// The most of a ContextFrame that is kept whole; a client may put anything in it.
const CONTEXT_BYTES: usize = 8 << 10;

/// The longest arguments that are kept.
const KEPT_BYTES: usize = 1 << 20;

/// See the module documentation.
pub struct Witness {
    span: CallSpan,
    account: Option<Box<Account>>,
    admitted: bool,
    cancel: CancellationToken,
}

/// What will be an entry of the trail.
struct Account {
    trail: Trail,
    story: Arc<Story>,
    entry: CallEntry,
    kept: Option<String>,
}

impl Witness {
    /// Begins with a request.
    pub fn begin(meta: &RequestMetaObject, version: Option<ProtocolVersion>, cancel: &CancellationToken) -> Self {
        let span = CallSpan::begin(meta, version);
        Self { span, account: None, admitted: false, cancel: cancel.clone() }
    }

    /// The tool that is called.
    pub fn tool(&mut self, tool: &ToolEntry) {
        self.span.tool(tool);
    }

    /// What the call is bound to, and what it is called with.
    pub fn frame(&mut self, shared: &Shared, tool: &ToolEntry, frame: &ContextFrame, arguments: &JsonObject) {
        self.span.frame(frame);
        if shared.trail.wants(|| changes(tool, frame)) {
            self.account = Some(Box::new(Account::of(&shared.trail, tool, frame, arguments)));
        }
    }

    /// Where those who have the call in hand note what happens, if it is audited.
    pub fn story(&self) -> Option<Arc<Story>> {
        self.account.as_ref().map(|account| Arc::clone(&account.story))
    }

    /// The call is on its way to a worker: a failure from here on is no refusal.
    pub fn admitted(&mut self) {
        self.admitted = true;
    }

    /// Ends with a result that is no error, unless that has to be looked at first.
    ///
    /// # Errors
    /// Itself, when the result is to come to [`Witness::end`].
    pub fn finished(mut self) -> Result<(), Self> {
        if self.account.is_some() {
            return Err(self);
        }
        self.span.end(&if self.cancel.is_cancelled() { Ending::cancelled() } else { Ending::finished() });
        Ok(())
    }

    /// Ends with what the client is told, which is told the name of the call, too, if it is audited.
    pub fn end(mut self, result: &mut CallResult) {
        let ending = match self.cancel.is_cancelled() {
            true => Ending::cancelled(),
            false => Ending::of(result, self.admitted),
        };
        self.span.end(&ending);
        if let Some(account) = self.account.take() {
            account.end(&ending, result);
        }
    }
}

impl Drop for Witness {
    /// The call's future was dropped: with the connection, and there is nobody left to answer.
    fn drop(&mut self) {
        let ending = if self.cancel.is_cancelled() { Ending::cancelled() } else { Ending::lost() };
        self.span.end(&ending);
        if let Some(account) = self.account.take() {
            account.close(&ending, None);
        }
    }
}

/// Whether a call may change something, as far as can be known: its tool's word that it only reads counts, unless its
/// manifest lets it write. One that is denied counts, too: somebody has tried.
fn changes(tool: &ToolEntry, frame: &ContextFrame) -> bool {
    !tool.loaded.definition().read_only || tool.loaded.manifest.permissions.write || tool.rights.denial(frame).is_some()
}

/// The frame as it was used; of one that is too large, what decides about the call.
fn context(frame: &ContextFrame) -> Value {
    let json = frame.json();
    match json.len() {
        0..=CONTEXT_BYTES => Value::Object(frame.values()),
        bytes => json!({
            "tenant_id": &*frame.tenant_id,
            "reason_trace_id": &*frame.reason_trace_id,
            "stage": frame.stage.as_str(),
            "risk_level": frame.risk_level,
            "flags": { "read_only": frame.read_only },
            "omitted_bytes": bytes,
        }),
    }
}

impl Account {
    fn of(trail: &Trail, tool: &ToolEntry, frame: &ContextFrame, arguments: &JsonObject) -> Self {
        let decision = tool.rights.decision(frame);
        let text = serde_json::to_string(arguments).expect("JSON is serialisable");
        let kept = trail.keeps_arguments() && text.len() <= KEPT_BYTES;
        let entry = CallEntry {
            call_id: uuid::Uuid::now_v7().to_string(),
            at_ms: chrono::Utc::now().timestamp_millis(),
            took_us: 0,
            server: trail.server().to_owned(),
            user: tool.rights.user().map(str::to_owned),
            role: tool.rights.role().map(str::to_owned),
            tool: tool.published.clone(),
            tool_version: tool.loaded.manifest.version.to_string(),
            decision: Decision { allowed: decision.allowed, by: decision.words() },
            arguments: Digest::of_text(&text, redact::shape(&Value::Object(arguments.clone()))),
            kept,
            outcome: String::new(),
            code: None,
            said: None,
            answer: None,
            context: context(frame),
            steps: Default::default(),
        };
        let kept = kept.then_some(text);
        Self { trail: trail.clone(), story: Arc::new(Story::begin(entry.call_id.as_str().into())), entry, kept }
    }

    fn end(self, ending: &Ending, result: &mut CallResult) {
        let answer = match result {
            Ok(result) => {
                let answer = answer(result);
                named(result.meta.get_or_insert_default(), &self.entry.call_id);
                Some(answer)
            }
            Err(error) => {
                name(error, &self.entry.call_id);
                None
            }
        };
        self.close(ending, answer);
    }

    fn close(mut self, ending: &Ending, answer: Option<Digest>) {
        let entry = &mut self.entry;
        entry.took_us = self.story.age().as_micros() as u64;
        entry.outcome = ending.outcome.to_owned();
        entry.code = ending.code.clone();
        entry.said = ending.said.as_ref().map(|said| redact::first_of_text(said, SAID_BYTES).into_owned());
        entry.answer = answer;
        entry.steps = self.story.steps();
        self.trail.add(self.entry, self.kept);
    }
}

/// What is known of a result that is not kept.
pub fn answer(result: &CallToolResult) -> Digest {
    let answer = json!({ "content": result.content, "structured": result.structured_content });
    Digest::of(&answer, redact::shape(&answer))
}

fn named(meta: &mut MetaObject, call_id: &str) {
    meta.insert(CALL_ID_META_KEY.to_owned(), call_id.into());
}

fn name(error: &mut ErrorData, call_id: &str) {
    match &mut error.data {
        Some(Value::Object(data)) => drop(data.insert("callId".to_owned(), call_id.into())),
        Some(_) => {}
        none => *none = Some(json!({ "callId": call_id })),
    }
}
