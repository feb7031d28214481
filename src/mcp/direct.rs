//! The short way of a tool call: from its line straight into the lane, and from the worker straight into the outbox.
//!
//! Load consists of tool calls, and between a call and its guest rmcp has nothing to decide once the session stands. So
//! such a call is not made a task of rmcp's that has to be woken for the answer: the reader admits it, and the thread
//! that ends it writes the answer. It is admitted and answered by the very functions that [`handler`](super::handler)
//! uses. The handler keeps what is rare and takes time: the first calls of a session, calls with progress, calls of a
//! tool that has yet to be compiled, calls with an idempotency key, and whatever rmcp may have to refuse (see [`session`]).
//!
//! Invariant: whoever takes `Owed` out of a call answers it; nobody else does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ErrorData, JsonObject, ProtocolVersion, RequestId, RequestMetaObject,
    ServerJsonRpcMessage, ServerResult,
};
use tokio_util::sync::CancellationToken;

use super::admission::{self, Waiting};
use super::connection::Connection;
use super::once;
use super::session::{self, Session};
use super::text_answer::{self, TextAnswer};
use super::tickets::Number;
use super::witness::Witness;
use super::{error, tools};
use crate::actors::message::{CallOutcome, Deadline};
use crate::actors::reply::{Caller, Reply};
use crate::actors::shared::Shared;
use crate::actors::tool_table::ToolEntry;
use crate::frame::ContextFrame;
use crate::wasi::call::GuestOutput;

/// What a client is told of a call.
pub type CallResult = Result<CallToolResult, ErrorData>;

/// A call on the short way, from the moment it is let in.
pub struct DirectCall {
    connection: Arc<Connection>,
    number: Number,
    tool: Arc<ToolEntry>,
    deadline: Deadline,
    cancel: CancellationToken,
    owed: Mutex<Option<Owed>>,
}

/// What an answer is made of.
struct Owed {
    frame: Arc<ContextFrame>,
    witness: Witness,
    modern: bool,
}

/// A `tools/call` that may go the short way.
pub struct Request {
    name: String,
    arguments: JsonObject,
    meta: RequestMetaObject,
    version: ProtocolVersion,
}

impl Request {
    /// Takes `params`, or gives it back when rmcp has to see it.
    ///
    /// # Errors
    /// The parameters as they were.
    pub fn of(
        params: CallToolRequestParams,
        session: &Session,
        shared: &Shared,
    ) -> Result<Self, CallToolRequestParams> {
        let unready = |tool: &Arc<ToolEntry>| tool.loaded.guest().is_none();
        if params.input_responses.is_some()
            || params.request_state.is_some()
            || params.meta.as_ref().is_some_and(|meta| meta.get_progress_token().is_some() || once::is_wanted(meta))
            || shared.table.get(&params.name).is_none_or(unready)
        {
            return Err(params);
        }
        let nothing = RequestMetaObject::new();
        match session.version_of(params.meta.as_ref().unwrap_or(&nothing)) {
            None => Err(params),
            Some(version) => Ok(Self {
                name: params.name.into_owned(),
                arguments: params.arguments.unwrap_or_default(),
                meta: params.meta.unwrap_or(nothing),
                version,
            }),
        }
    }

    /// Makes the call, or answers at once. A bug of ours is answered too.
    pub fn call(self, shared: &Shared, connection: &Arc<Connection>, number: Number) {
        let modern = session::is_modern(&self.version);
        let denied = catch_unwind(AssertUnwindSafe(|| self.make(shared, connection, number)));
        if let Some(result) = denied.unwrap_or_else(|_| Some(Err(error::host_bug()))) {
            connection.answer_call(number, |id, line| write(id, result, modern, line));
            connection.flush_later();
        }
    }

    /// Makes the call; or says what the client is told instead, if nobody else will.
    fn make(self, shared: &Shared, connection: &Arc<Connection>, number: Number) -> Option<CallResult> {
        let cancel = CancellationToken::new();
        let modern = session::is_modern(&self.version);
        let mut witness = Witness::begin(&self.meta, Some(self.version), &cancel);
        let ended = |witness: Witness, mut result: CallResult| {
            witness.end(&mut result);
            Some(result)
        };
        let tool = match admission::tool(shared, &self.name) {
            Ok(tool) => tool,
            Err(error) => return ended(witness, Err(error)),
        };
        witness.tool(tool);
        let frame = match admission::frame(shared, &self.meta) {
            Ok(frame) => frame,
            Err(error) => return ended(witness, Err(error)),
        };
        witness.frame(shared, tool, &frame, &self.arguments);
        let checked = match admission::check(tool, self.arguments, &frame, witness.story()) {
            Ok(checked) => checked,
            Err(denied) => return ended(witness, tools::denied(tool, denied, &frame)),
        };
        witness.admitted();
        let deadline = admission::due(tool, &frame);
        let owed = Mutex::new(Some(Owed { frame, witness, modern }));
        let (connection, tool, cancelled) = (Arc::clone(connection), Arc::clone(tool), cancel.clone());
        let call = Arc::new(DirectCall { connection, number, tool, deadline, cancel: cancelled, owed });
        call.connection.watch(number, &call);
        let (output, reply) = (call.connection.output_gauge(), Reply::to(call.clone()));
        let waiting = Waiting { deadline, cancel, output, progress: None, reply };
        if let Err(denied) = admission::submit(shared, &call.tool, checked, waiting) {
            call.end(|frame| tools::denied(&call.tool, denied, frame));
            call.connection.flush_later();
        }
        None
    }
}

impl DirectCall {
    /// When the connection answers it, if nobody else has.
    pub fn latest(&self) -> Instant {
        self.deadline.at + self.tool.knobs.deadline_slack()
    }

    /// The client wants nothing more of it.
    pub fn cancel(&self) {
        self.cancel.cancel();
        self.owed.lock().take();
    }

    /// Answers that its time is over: it still waits in its lane, or its worker is stuck.
    pub fn expire(&self) {
        self.end(|frame| tools::answer(&self.tool, CallOutcome::Faulted(self.deadline.fault()), frame));
        self.connection.flush_later();
    }

    /// Answers, if that is still owed.
    fn end(&self, result: impl FnOnce(&ContextFrame) -> CallResult) {
        let Some(Owed { frame, witness, modern }) = self.owed.lock().take() else { return };
        // On a worker's thread, a bug in here would be taken for the worker's own.
        let result = catch_unwind(AssertUnwindSafe(|| result(&frame)));
        let mut result = result.unwrap_or_else(|_| Err(error::host_bug()));
        witness.end(&mut result);
        self.connection.answer_call(self.number, |id, line| write(id, result, modern, line));
    }

    /// The same with text, if that is all there is; otherwise gives the output back.
    fn end_with_text(&self, output: GuestOutput) -> Result<(), GuestOutput> {
        let Some(texts) = text_answer::texts(&output) else { return Err(output) };
        let mut owed = self.owed.lock();
        if let Some(Owed { frame, witness, modern }) = owed.take() {
            if let Err(witness) = witness.finished() {
                *owed = Some(Owed { frame, witness, modern });
                drop(owed);
                return Err(output);
            }
            drop(owed);
            let (context, structured) = (frame.json(), output.structured.as_ref());
            self.connection.answer_call(self.number, |id, line| {
                TextAnswer { id, texts: &texts, structured, context: &context, modern }.write(line);
            });
        }
        Ok(())
    }
}

impl Caller for DirectCall {
    fn answered(&self, outcome: CallOutcome) {
        let outcome = match outcome {
            CallOutcome::Finished(output) => match self.end_with_text(output) {
                Ok(()) => return,
                Err(output) => CallOutcome::Finished(output),
            },
            outcome => outcome,
        };
        self.end(|frame| tools::answer(&self.tool, outcome, frame));
    }

    fn send(&self) {
        self.connection.flush();
    }

    fn is_gone(&self) -> bool {
        self.owed.lock().is_none()
    }
}

/// Appends the answer that a result is in the client's version.
fn write(id: &RequestId, result: CallResult, modern: bool, line: &mut Vec<u8>) {
    let message = match result {
        Err(error) => ServerJsonRpcMessage::error(error, Some(id.clone())),
        Ok(mut result) => {
            if modern {
                tools::sign(result.meta.get_or_insert_default());
            } else {
                // Older clients know only one type of result, and no word for it.
                result.result_type = None;
            }
            ServerJsonRpcMessage::response(ServerResult::CallToolResult(result), id.clone())
        }
    };
    serde_json::to_writer(line, &message).expect("results are serialisable, and a vector takes every byte");
}
