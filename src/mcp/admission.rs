//! Whether a call is let in, and with which rights.
//!
//! Order: the rules and the frame take rights away, the arguments must fit the schema, tenant and tool must not have used up their
//! rates, the tool must take calls, its lane must have room. Nothing of this waits, but for a tool that has yet to be compiled.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{JsonObject, RequestMetaObject};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::error;
use crate::actors::gatekeeper::LetIn;
use crate::actors::message::{Call, Deadline, Refusal};
use crate::actors::output_gauge::OutputGauge;
use crate::actors::reply::{Answer, Reply};
use crate::actors::shared::Shared;
use crate::actors::tool_table::ToolEntry;
use crate::failpoint::points;
use crate::frame::{self, ContextFrame};
use crate::telemetry::trace_parent;
use crate::trail::{Step, Story};
use crate::wasi::call::GuestRequest;
use crate::wasi::error::{Fault, FaultCode};
use crate::wasi::lazy_tool::NotReady;
use crate::wasi::manifest::Permissions;
use crate::wasi::schema;
use crate::wasi::store::Progress;

/// Where a request says how many milliseconds its call may take. It can only shorten what the tool and the frame allow.
pub const DEADLINE_META_KEY: &str = "io.nurones/deadlineMs";

/// An hour, as for everybody who says a deadline.
pub const LONGEST_DEADLINE_MS: u64 = 3_600_000;

/// Why a call is not made.
pub enum Denied {
    /// The client is told as the result of the call.
    Fault(Fault),
    /// The client is told as a protocol error.
    Protocol(rmcp::ErrorData),
}

/// The tool of this name.
///
/// # Errors
/// A protocol error that names those there are.
pub fn tool<'a>(shared: &'a Shared, name: &str) -> Result<&'a Arc<ToolEntry>, rmcp::ErrorData> {
    shared.table.get(name).ok_or_else(|| {
        let known: Vec<&str> = shared.table.listed().map(|tool| tool.published.as_str()).collect();
        error::unknown_tool(name, &known)
    })
}

/// The ContextFrame of a request, completed from the defaults.
///
/// # Errors
/// A protocol error that names every wrong key.
pub fn frame(shared: &Shared, meta: &RequestMetaObject) -> Result<Arc<ContextFrame>, rmcp::ErrorData> {
    let trace = meta.get_traceparent().and_then(|parent| trace_parent::parse(parent, None));
    let trace = trace.map(|parent| parent.trace_id().to_string());
    let frame = shared.context.defaults().frame_in(meta.get(frame::META_KEY), trace.as_deref());
    let mut frame = frame.map_err(|mistakes| error::bad_frame(&mistakes))?;
    if let Some(asked) = deadline(meta)? {
        frame.deadline = Some(frame.deadline.map_or(asked, |known| known.min(asked)));
    }
    Ok(Arc::new(frame))
}

/// How long the request itself allows the call to take, if it says so.
fn deadline(meta: &RequestMetaObject) -> Result<Option<Duration>, rmcp::ErrorData> {
    match meta.get(DEADLINE_META_KEY) {
        None | Some(Value::Null) => Ok(None),
        Some(said) => match said.as_u64() {
            Some(ms @ 1..=LONGEST_DEADLINE_MS) => Ok(Some(Duration::from_millis(ms))),
            _ => Err(error::bad_deadline(said)),
        },
    }
}

/// Waits until the tool's module is compiled; only the first callers of a tool have to. The tool's own deadline begins
/// after that, as it is not the tool that takes its time; the compiler has a deadline of its own.
///
/// # Errors
/// See [`Denied`].
async fn compiled(
    shared: &Shared,
    tool: &ToolEntry,
    frame: &ContextFrame,
    cancel: &CancellationToken,
) -> Result<(), Denied> {
    if tool.loaded.guest().is_some() {
        return Ok(());
    }
    let refused = |refusal| {
        tool.sheds.note(refusal, Some(&frame.reason_trace_id));
        Denied::Protocol(error::refused(refusal, &tool.published, tool.retry_after(refusal)))
    };
    let _place = tool.waiting_room.try_acquire().map_err(|_| refused(Refusal::QueueFull))?;
    tokio::select! {
        biased;
        ready = tool.loaded.ready() => {
            ready.map(drop).map_err(|not_ready| match not_ready {
                NotReady::Refused(why) => Denied::Protocol(error::not_served(&tool.published, why)),
                NotReady::NotNow => refused(Refusal::NotCompiled),
            })
        }
        // Nobody waits for this answer; it is not written.
        () = cancel.cancelled() => Err(refused(Refusal::ShuttingDown)),
        () = shared.interrupted() => Err(refused(Refusal::ShuttingDown)),
    }
}

/// What a call is asked for with.
pub struct Asked<'a> {
    /// The arguments.
    pub arguments: JsonObject,
    /// What it is bound to.
    pub frame: &'a Arc<ContextFrame>,
    /// Set when the client cancels.
    pub cancel: CancellationToken,
    /// What the client has yet to read.
    pub output: &'a Arc<OutputGauge>,
    /// Where progress goes, when the client asked for it.
    pub progress: Option<mpsc::Sender<Progress>>,
    /// Where is noted what happens, if anybody wants to know.
    pub story: Option<Arc<Story>>,
}

/// A call that is on its way.
pub struct Admitted {
    /// Where its answer arrives.
    pub answer: Answer,
    /// When it is due.
    pub deadline: Deadline,
}

/// Lets a call of `tool` in, once that is compiled, for a task that waits for the answer.
///
/// # Errors
/// See [`Denied`].
pub async fn admit(shared: &Shared, tool: &ToolEntry, asked: Asked<'_>) -> Result<Admitted, Denied> {
    let Asked { arguments, frame, cancel, output, progress, story } = asked;
    // Also before it: a call that may not be made is no reason to compile a tool.
    permitted(tool, frame)?;
    compiled(shared, tool, frame, &cancel).await?;
    let checked = check(tool, arguments, frame, story)?;
    let deadline = due(tool, frame);
    let (reply, answer) = Reply::new();
    let output = Arc::clone(output);
    submit(shared, tool, checked, Waiting { deadline, cancel, output, progress, reply })?;
    Ok(Admitted { answer, deadline })
}

/// The part of a call that has been looked at: what the tool may do in it, and with what.
pub struct Checked {
    permissions: Permissions,
    /// As JSON text.
    arguments: String,
    frame: Arc<ContextFrame>,
    story: Option<Arc<Story>>,
}

/// The part of a call that belongs to whoever made it.
pub struct Waiting {
    /// When it must be answered.
    pub deadline: Deadline,
    /// Set when the client cancels.
    pub cancel: CancellationToken,
    /// What the client has yet to read.
    pub output: Arc<OutputGauge>,
    /// Where progress goes, when the client asked for it.
    pub progress: Option<mpsc::Sender<Progress>>,
    /// The way back.
    pub reply: Reply,
}

/// When a call of `tool` that begins now must be answered.
pub fn due(tool: &ToolEntry, frame: &ContextFrame) -> Deadline {
    Deadline::starting_now(tool.limits.deadline, frame.deadline)
}

/// Whether a call of `tool`, which is compiled, may be made with these arguments.
///
/// # Errors
/// See [`Denied`].
pub fn check(
    tool: &ToolEntry,
    arguments: JsonObject,
    frame: &Arc<ContextFrame>,
    story: Option<Arc<Story>>,
) -> Result<Checked, Denied> {
    points::ADMIT.hit_for(&tool.published).map_err(|_| Denied::Protocol(error::host_bug()))?;
    let permissions = permissions(tool, frame).map_err(Denied::Fault)?;
    let arguments = fitting(tool, arguments).map_err(Denied::Fault)?;
    Ok(Checked { permissions, arguments, frame: Arc::clone(frame), story })
}

/// Puts a call into the lane of `tool`, or says why not; then its reply stays silent.
///
/// # Errors
/// See [`Denied`].
pub fn submit(shared: &Shared, tool: &ToolEntry, checked: Checked, waiting: Waiting) -> Result<(), Denied> {
    let Waiting { deadline, cancel, output, progress, reply } = waiting;
    let Checked { permissions, arguments, frame, story } = checked;
    if let Some(story) = &story {
        story.note(Step::Queued { behind: tool.waiting() });
    }
    let request = GuestRequest { arguments, frame, deadline: deadline.at, progress, story };
    let let_in = LetIn::free();
    let call = Call { request, charged: None, permissions, deadline, let_in, output, cancel, reply };
    shared.table.submit(tool, call).map_err(|(call, refusal)| {
        call.reply.stay_silent();
        Denied::Protocol(error::refused(refusal, &tool.published, tool.retry_after(refusal)))
    })
}

fn permissions(tool: &ToolEntry, frame: &ContextFrame) -> Result<Permissions, Fault> {
    match tool.rights.denial(frame) {
        Some(why) => Err(Fault::new(FaultCode::PermissionDenied, why)),
        // A frame that leaves it nothing is a denial, so that there is something.
        None => Ok(tool.permissions_for(frame).unwrap_or_default()),
    }
}

/// Whether a call of `tool` with this frame may be made, or be answered with what an earlier one got.
///
/// # Errors
/// See [`Denied`].
pub fn permitted(tool: &ToolEntry, frame: &ContextFrame) -> Result<(), Denied> {
    permissions(tool, frame).map(drop).map_err(Denied::Fault)
}

/// The arguments as JSON text, once they fit the schema.
fn fitting(tool: &ToolEntry, arguments: JsonObject) -> Result<String, Fault> {
    let arguments = Value::Object(arguments);
    schema::check(&tool.loaded.definition().validator, &arguments)
        .map_err(|problem| Fault::new(FaultCode::InvalidArguments, format!("invalid arguments: {problem}")))?;
    Ok(arguments.to_string())
}
