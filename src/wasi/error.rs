//! How loading and calling a guest can fail.
//!
//! [`LoadError`] keeps one module or manifest out of the catalogue; [`Fault`] ends one call. Neither knows MCP: the
//! only place where a fault becomes an answer is `mcp::error`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use super::cpu_meter::CpuSpent;
use super::limits::Denials;
use crate::fields::Mistake;

/// Why a manifest or its module is not in the catalogue.
#[derive(Debug, Clone, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The manifest or module.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// The manifest is not JSON, or not an object.
    #[error("{} is not a JSON object: {reason}", path.display())]
    NotAnObject {
        /// The manifest.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// Keys of the manifest are wrong; all of them are listed.
    #[error("{}: {}", path.display(), list(mistakes))]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The name of its tool, if that could be read.
        name: Option<String>,
        /// Every mistake found.
        mistakes: Vec<Mistake>,
    },
    /// Another tool already has the published name.
    #[error("{} and {} both publish the tool `{name}`; rename one of them", first.display(), second.display())]
    DuplicateName {
        /// The name clients would see.
        name: String,
        /// The manifest that was loaded.
        first: PathBuf,
        /// The manifest that is refused.
        second: PathBuf,
    },
    /// The bytes are no module we can run.
    #[error("not a usable WebAssembly module: {0}")]
    Module(String),
    /// The module compiles but asks for, or lacks, something.
    #[error("{0}")]
    Contract(String),
    /// The compiler could not do its work, which is not the module's fault; it may succeed another time.
    #[error("it could not be compiled just now: {0}")]
    NotNow(String),
    /// It is not what was accepted, or not from whom that is.
    #[error("{0}")]
    Pinned(String),
    /// The tool's own `describe` failed.
    #[error("the tool failed while describing itself: {0}")]
    Describe(Fault),
}

fn list(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("; ")
}

/// The kind of a [`Fault`], as clients see it in `_meta["io.nurones/fault"].code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// The guest trapped: unreachable code, out-of-bounds access, stack overflow, division by zero, …
    ToolTrapped,
    /// The tool explained a failure of its own.
    ToolError,
    /// The call's wall-clock deadline passed.
    DeadlineExceeded,
    /// The guest asked for more memory or tables than it is granted, and failed for it.
    MemoryLimit,
    /// The result, or what the guest printed, is larger than allowed.
    OutputLimit,
    /// A command guest exited with a code other than 0.
    ExitCode,
    /// The worker died under the call, or the server was shut down.
    WorkerLost,
    /// The sandbox does not grant what the call needs.
    PermissionDenied,
    /// What the call names does not exist.
    NotFound,
    /// The arguments are wrong.
    InvalidArguments,
    /// The tool wants an answer from the client, which this version does not carry.
    InputRequiredUnsupported,
    /// A call with this idempotency key was begun before, and nobody knows whether it had its effect.
    UnknownOutcome,
}

impl FaultCode {
    /// The code as it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ToolTrapped => "tool_trapped",
            Self::ToolError => "tool_error",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::MemoryLimit => "memory_limit",
            Self::OutputLimit => "output_limit",
            Self::ExitCode => "exit_code",
            Self::WorkerLost => "worker_lost",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::InvalidArguments => "invalid_arguments",
            Self::InputRequiredUnsupported => "input_required_unsupported",
            Self::UnknownOutcome => "unknown_outcome",
        }
    }

    /// Whether the same call may succeed later without anything being changed.
    pub fn retryable(self) -> bool {
        matches!(self, Self::DeadlineExceeded | Self::WorkerLost)
    }

    /// Whether the tool itself said so: it works, and its answer is no. Everything else is a fault of the tool.
    pub fn is_the_tools_word(self) -> bool {
        matches!(
            self,
            Self::ToolError
                | Self::NotFound
                | Self::PermissionDenied
                | Self::InvalidArguments
                | Self::InputRequiredUnsupported
        )
    }
}

/// How one call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind.
    pub code: FaultCode,
    /// One sentence for the model or the person: what happened and what to do next.
    pub message: String,
    /// The trap code or exit code, when there is one.
    pub detail: Option<String>,
    /// The limit that was met is the caller's own, narrower than the tool's: the tool is not to blame.
    pub callers_limit: bool,
}

impl Fault {
    /// A fault without further detail.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, callers_limit: false }
    }

    /// The deadline of `allowed` passed, which is the caller's own if `callers_limit`.
    pub fn deadline(allowed: Duration, callers_limit: bool) -> Self {
        let (whose, key) = match callers_limit {
            true => ("the call's", "budgets.deadline_ms of the ContextFrame or deadlineMs of the request"),
            false => ("its", "deadline_ms"),
        };
        let ms = allowed.as_millis();
        let message =
            format!("the tool did not finish within {whose} deadline of {ms} ms; ask for less or raise {key}");
        Self { callers_limit, ..Self::new(FaultCode::DeadlineExceeded, message) }
    }

    /// The caller's CPU budget is used up.
    fn cpu_spent() -> Self {
        let message = "the tool used up the call's CPU time; ask for less or raise budgets.cpu_ms of the ContextFrame";
        Self { callers_limit: true, ..Self::new(FaultCode::DeadlineExceeded, message) }
    }

    /// More memory than is allowed was needed, by the caller if `callers_limit`.
    pub fn memory(callers_limit: bool) -> Self {
        let key = if callers_limit { "budgets.mem_mb of the ContextFrame" } else { "memory_mb" };
        let message =
            format!("the tool asked for more memory than it is granted and gave up; ask for less or raise {key}");
        Self { callers_limit, ..Self::new(FaultCode::MemoryLimit, message) }
    }

    /// Whether the tool's health is in doubt: it is neither its own considered answer nor a limit of the caller's. A
    /// program's exit code is its way of saying no.
    pub fn counts_against_the_tool(&self) -> bool {
        !self.callers_limit
            && matches!(
                self.code,
                FaultCode::ToolTrapped | FaultCode::DeadlineExceeded | FaultCode::MemoryLimit | FaultCode::WorkerLost
            )
    }

    /// The result exceeds `limit_bytes`.
    pub fn output_limit(limit_bytes: usize) -> Self {
        Self::new(
            FaultCode::OutputLimit,
            format!("the tool's output exceeds {limit_bytes} bytes; ask for a smaller part or raise output_kb"),
        )
    }

    /// Says what `error`, which ended a guest call, means. `denials` is what the Store's limiter refused.
    pub fn from_guest(error: &wasmtime::Error, denials: Denials, output_limit_bytes: usize) -> Self {
        if error.downcast_ref::<OutputLimitReached>().is_some() || is_hostcall_fuel(error) {
            return Self::output_limit(output_limit_bytes);
        }
        if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
            return Self::exit(*code);
        }
        if error.downcast_ref::<CpuSpent>().is_some() {
            return Self::cpu_spent();
        }
        if denials.memory {
            return Self::memory(denials.by_budget);
        }
        let Some(trap) = error.downcast_ref::<Trap>() else {
            return Self::from_host_error(error);
        };
        let message = format!("the tool crashed ({trap}); it has been restarted, other tools are not affected");
        Self { detail: Some(format!("{trap:?}")), ..Self::new(FaultCode::ToolTrapped, message) }
    }

    fn exit(code: i32) -> Self {
        let message = format!("the tool exited with code {code}");
        Self { detail: Some(code.to_string()), ..Self::new(FaultCode::ExitCode, message) }
    }

    fn from_host_error(error: &wasmtime::Error) -> Self {
        let text = format!("{error:#}");
        if text.contains("invalid exit status") {
            return Self::new(FaultCode::ExitCode, "the tool exited with a code outside 0 to 125");
        }
        // The cause at the bottom; what is above it says where in the guest.
        let cause = error.root_cause().to_string();
        let message = "the tool did something its sandbox does not allow; it has been restarted";
        Self {
            detail: Some(cause.lines().next().unwrap_or_default().chars().take(200).collect()),
            ..Self::new(FaultCode::ToolTrapped, message)
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Fault {}

/// Raised by a captured output stream when its budget is spent.
#[derive(Debug, Error)]
#[error("output budget spent")]
pub struct OutputLimitReached;

/// wasmtime keeps the type private, so its words are the only sign; `oversized_result_is_an_output_limit` pins them.
fn is_hostcall_fuel(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| cause.to_string().contains("fuel allocated for hostcalls has been exhausted"))
}
