//! Everything that crosses a mailbox or a lane.
//!
//! | from → to | message | waits? | when full or dead |
//! |---|---|---|---|
//! | request handler → lane → worker thread | [`Call`] | no | given back at once |
//! | worker thread → request handler | [`CallOutcome`] through [`Reply`] | no | the caller is gone |
//! | worker thread → its actor | [`WorkerMsg`] | no | the actor is being replaced |
//! | timer → supervisor | [`ToolSupervisorMsg`], [`ToolsSupervisorMsg`] | no | — |
//! | request handler → supervisor of the tools | [`ToolsSupervisorMsg`], once per tool | no | it is being replaced |
//! | any → event bus | [`Event`](crate::events::Event) | no | shed by class and counted |

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::ActorId;
use tokio_util::sync::CancellationToken;

use super::gatekeeper::LetIn;
use super::output_gauge::OutputGauge;
use super::reply::Reply;
use super::tenant_accounts::Charged;
use crate::wasi::call::{GuestOutput, GuestRequest};
use crate::wasi::error::Fault;
use crate::wasi::manifest::Permissions;

/// One call of a tool, on its way to a worker.
#[derive(Debug)]
pub struct Call {
    /// What the guest gets. The frame in it says whose call it is, which decides about the warm Store that may serve it.
    pub request: GuestRequest,
    /// Where its CPU time is charged, if that is counted.
    pub charged: Option<Charged>,
    /// What the tool may do in this call: its manifest's permissions minus what the frame takes away.
    pub permissions: Permissions,
    /// When the caller must have an answer.
    pub deadline: Deadline,
    /// How it got past the tool's gate.
    pub let_in: LetIn,
    /// What its client has yet to read.
    pub output: Arc<OutputGauge>,
    /// Set when the client cancels.
    pub cancel: CancellationToken,
    /// The way back.
    pub reply: Reply,
}

impl Call {
    /// Whether nobody waits for the answer any more.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled() || self.reply.is_abandoned()
    }
}

/// When a call must be answered, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// How long that was from the beginning.
    pub allowed: Duration,
    /// It is the caller's own, sooner than the tool's.
    pub callers: bool,
}

impl Deadline {
    /// From now on: the tool's own, or the caller's if that is sooner.
    pub fn starting_now(tools: Duration, callers: Option<Duration>) -> Self {
        let sooner = callers.filter(|callers| *callers < tools);
        let allowed = sooner.unwrap_or(tools);
        Self { at: Instant::now() + allowed, allowed, callers: sooner.is_some() }
    }

    /// When the time began to run.
    pub fn began(self) -> Instant {
        self.at.checked_sub(self.allowed).unwrap_or(self.at)
    }

    /// The fault of a call that did not keep it.
    pub fn fault(self) -> Fault {
        Fault::deadline(self.allowed, self.callers)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub enum CallOutcome {
    /// The tool returned a result.
    Finished(GuestOutput),
    /// The tool, its sandbox or its worker failed.
    Faulted(Fault),
    /// The tool never saw the call: it was refused while it waited.
    Refused(Refusal),
    /// The worker died with the call in hand.
    Lost,
}

/// Why a call was not even tried. The caller may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The tool's lane is full.
    QueueFull,
    /// The server has too many requests in flight, or too many answers that are not read.
    Inflight,
    /// Calls of the tool have been waiting for too long.
    Codel,
    /// The tool takes only so many calls a second; the next one after this time.
    ToolRate(Duration),
    /// The tenant allows itself only so many calls a second; the next one after this time.
    TenantRate(Duration),
    /// The calls of the tenant have used the CPU time of a minute; the next one after this time.
    TenantCpu(Duration),
    /// Its workers fail too often; the tool is left alone for a while.
    Quarantined,
    /// Too many of its calls fault; the tool is left alone for a while.
    BreakerOpen,
    /// Its workers have ended and are not to be replaced.
    Stopped,
    /// The tool has yet to be compiled, and the compiler could not do its work.
    NotCompiled,
    /// The server is going away.
    ShuttingDown,
}

impl Refusal {
    /// The reason as it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Inflight => "inflight",
            Self::Codel => "codel",
            Self::ToolRate(_) | Self::TenantRate(_) | Self::TenantCpu(_) => "rate",
            // A client can do nothing else about a tool that is stopped; it is just not worth to try again.
            Self::Quarantined | Self::Stopped => "quarantined",
            Self::BreakerOpen => "breaker_open",
            Self::NotCompiled => "not_compiled",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// Why a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// Its lane was closed: the server is shutting down.
    Shutdown,
    /// The host side of it panicked.
    HostPanic(String),
    /// It could not start.
    InitFailed(String),
    /// Its thread is stuck in the system and was left behind.
    Wedged,
    /// Somebody killed the actor.
    Killed(String),
}

impl ExitReason {
    /// The kind, as the supervision log has it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Shutdown => "normal",
            Self::HostPanic(_) => "host_panic",
            Self::InitFailed(_) => "init_failed",
            Self::Wedged => "wedged",
            Self::Killed(_) => "killed",
        }
    }

    /// Details for a person.
    pub fn text(&self) -> &str {
        match self {
            Self::Shutdown | Self::Wedged => "",
            // ractor's word for it, which the kind says already.
            Self::Killed(text) if text == "killed" => "",
            Self::HostPanic(text) | Self::InitFailed(text) | Self::Killed(text) => text,
        }
    }
}

/// To a worker's actor, from its thread or its own timer.
#[derive(Debug)]
pub enum WorkerMsg {
    /// The thread is up and takes calls.
    Ready,
    /// The thread was up before this actor was.
    Adopted,
    /// The thread is gone, or about to be.
    Exited(ExitReason),
    /// The thread took a call after a quiet time: watch its deadline.
    Busy,
    /// Time to look at the deadline of the call in hand.
    Watch,
}

/// To a tool's supervisor.
#[derive(Debug)]
pub enum ToolSupervisorMsg {
    /// The delay before a restart is over.
    StartWorker(usize),
    /// The worker takes calls.
    WorkerReady {
        /// Which of the tool's workers.
        index: usize,
        /// The actor that says so; a message of a dead one comes too late.
        actor: ActorId,
        /// Its thread was there before it.
        adopted: bool,
    },
}

/// To the supervisor of all tools.
#[derive(Debug)]
pub enum ToolsSupervisorMsg {
    /// A tool was called for the first time.
    Wake(String),
    /// The delay before a restart is over.
    StartTool(String),
}

/// To the root supervisor.
#[derive(Debug)]
pub enum RootMsg {
    /// The delay before a restart is over.
    Start(ControlActor),
}

/// The children of the root supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlActor {
    /// Fans events out.
    EventBus,
    /// Writes the ContextFrame defaults.
    Context,
    /// Supervises the tools.
    Tools,
}

#[cfg(test)]
pub(crate) mod testing {
    //! A call for tests of lanes and workers.

    use super::*;
    use crate::actors::reply::Answer;
    use crate::frame::FrameDefaults;

    /// A call without arguments whose answer can be awaited.
    pub fn call() -> (Call, Answer) {
        let (reply, answer) = Reply::new();
        let frame = FrameDefaults::built_in().frame(None).unwrap();
        let deadline = Deadline::starting_now(Duration::from_secs(10), None);
        let call = Call {
            request: GuestRequest {
                arguments: "{}".to_owned(),
                frame: frame.into(),
                deadline: deadline.at,
                progress: None,
                story: None,
            },
            charged: None,
            permissions: Permissions::default(),
            deadline,
            let_in: LetIn::free(),
            output: Arc::default(),
            cancel: CancellationToken::new(),
            reply,
        };
        (call, answer)
    }
}
