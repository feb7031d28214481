//! What lives in a Store beside the guest: its WASI context, its limiter and the call in hand.
//!
//! Both guest kinds get their WASI context from [`Sandbox`], so that no limit can be forgotten for one of them.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::cpu_meter::CpuMeter;
use super::engine::Engine;
use super::environment::Environment;
use super::limits::{Limiter, Limits};
use super::manifest::{Manifest, Permissions};
use super::output::Capture;
use super::sandbox::Policy;
use crate::failpoint::points;
use crate::frame::{Budget, ContextFrame};
use crate::trail::Story;

/// How far a call has come, as the guest tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Grows from report to report.
    pub done: f64,
    /// In the same unit, when known.
    pub total: Option<f64>,
    /// For a person.
    pub message: Option<String>,
}

/// Everything needed to build the Store of one capability set of one tool.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The tool's own name, for the log.
    pub tool: Arc<str>,
    /// The allowed directories.
    pub policy: Arc<Policy>,
    /// What the tool may do with them in this call.
    pub permissions: Permissions,
    /// What it finds in its environment.
    pub environment: Environment,
    /// What the tool may use.
    pub limits: Arc<Limits>,
    /// Whether file operations run on the worker's own thread. Four times cheaper, but nothing can interrupt them, so
    /// it is for guests whose code we know: the embedded ones, which open regular files only.
    pub blocking_io: bool,
}

impl Sandbox {
    /// For asking or timing the tool of `manifest`: under its limits, and with nothing to reach.
    pub(super) fn without_files(manifest: &Manifest) -> Self {
        Self {
            tool: manifest.name.as_str().into(),
            policy: Arc::default(),
            permissions: Permissions::default(),
            environment: Environment::default(),
            limits: manifest.limits.clone().into(),
            blocking_io: false,
        }
    }

    fn wasi(&self, stdout: &Capture, stderr: &Capture) -> wasmtime::Result<WasiCtxBuilder> {
        points::STORE_BUILD.hit_for(&self.tool)?;
        let mut wasi = WasiCtxBuilder::new();
        wasi.allow_blocking_current_thread(self.blocking_io)
            .stdout(stdout.clone())
            .stderr(stderr.clone())
            .max_random_size(Limits::RANDOM_BYTES)
            .envs(self.environment.variables());
        self.policy.mount(&mut wasi, self.permissions)?;
        Ok(wasi)
    }

    /// A Store for a warm `nurones:tool` component.
    ///
    /// # Errors
    /// When an allowed directory cannot be opened.
    pub fn tool_store(&self, engine: &Engine) -> wasmtime::Result<Store<ToolState>> {
        let stdout = Capture::stdout(self.limits.output_bytes);
        let stderr = Capture::stderr(Limits::STDERR_BYTES);
        let mut table = ResourceTable::new();
        table.set_max_capacity(self.limits.handles);
        let state = ToolState {
            tool: Arc::clone(&self.tool),
            wasi: self.wasi(&stdout, &stderr)?.build(),
            table,
            limiter: Limiter::new(&self.limits),
            cpu: CpuMeter::default(),
            stdout,
            stderr,
            output_bytes: self.limits.output_bytes,
            blocking_io: self.blocking_io,
            call: None,
            progress: None,
            log_lines: 0,
        };
        let mut store = Store::new(engine.raw(), state);
        store.limiter(|state| &mut state.limiter);
        self.bound(&mut store);
        store.set_max_component_handles(Limits::COMPONENT_HANDLES);
        Ok(store)
    }

    /// A Store for one run of a command guest.
    ///
    /// # Errors
    /// As [`Sandbox::tool_store`].
    pub fn command_store(
        &self,
        engine: &Engine,
        stdin: String,
        context: &str,
        budget: Budget,
    ) -> wasmtime::Result<Store<CommandState>> {
        let stdout = Capture::stdout(self.limits.output_bytes);
        let stderr = Capture::stderr(Limits::STDERR_BYTES);
        let mut wasi = self.wasi(&stdout, &stderr)?;
        wasi.stdin(MemoryInputPipe::new(stdin)).env("NURONES_CONTEXT", context);
        let mut wasi = wasi.build_p1();
        wasi.ctx().table.set_max_capacity(self.limits.handles);
        let mut limiter = Limiter::new(&self.limits);
        limiter.begin(budget.memory_bytes);
        let state = CommandState { wasi, limiter, cpu: CpuMeter::start(budget.cpu), stdout, stderr };
        let mut store = Store::new(engine.raw(), state);
        store.limiter(|state| &mut state.limiter);
        self.bound(&mut store);
        Ok(store)
    }

    /// A guest yields at every epoch, so that its deadline can be looked at, and may not flood a host call.
    fn bound<T: Metered>(&self, store: &mut Store<T>) {
        store.epoch_deadline_callback(|context| {
            context.data().cpu().check()?;
            Ok(UpdateDeadline::Yield(1))
        });
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(self.limits.hostcall_fuel());
    }
}

/// Host state that counts a call's CPU time.
trait Metered: 'static {
    fn cpu(&self) -> CpuMeter;
}

impl Metered for ToolState {
    fn cpu(&self) -> CpuMeter {
        self.cpu
    }
}

impl Metered for CommandState {
    fn cpu(&self) -> CpuMeter {
        self.cpu
    }
}

/// What the host knows of a call while its guest runs.
pub(super) struct CallInHand {
    /// What it is bound to.
    pub frame: Arc<ContextFrame>,
    /// When it is stopped.
    pub deadline: Instant,
    /// Where is noted what the guest says, if anybody wants to know.
    pub story: Option<Arc<Story>>,
}

/// Host state of a warm component.
pub struct ToolState {
    pub(super) tool: Arc<str>,
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) limiter: Limiter,
    pub(super) cpu: CpuMeter,
    pub(super) stdout: Capture,
    pub(super) stderr: Capture,
    pub(super) output_bytes: usize,
    pub(super) blocking_io: bool,
    /// The call in hand, or the last one.
    pub(super) call: Option<CallInHand>,
    pub(super) progress: Option<mpsc::Sender<Progress>>,
    pub(super) log_lines: usize,
}

impl ToolState {
    /// Makes the state ready for the next call: budgets start anew, nothing of the last caller stays.
    pub(super) fn arm(&mut self, call: CallInHand, progress: Option<mpsc::Sender<Progress>>) {
        self.progress = progress;
        self.log_lines = 0;
        self.limiter.begin(call.frame.budget.memory_bytes);
        self.cpu = CpuMeter::start(call.frame.budget.cpu);
        self.call = Some(call);
        if !self.stdout.is_empty() {
            self.stdout.take();
        }
    }

    /// What the log says of the call in hand, if there is one.
    pub(super) fn trace_id(&self) -> Option<&str> {
        self.call.as_ref().map(|call| &*call.frame.reason_trace_id)
    }

    /// The guest wrote a line.
    pub(super) fn said(&self, level: &str, line: &str) {
        if let Some(story) = self.call.as_ref().and_then(|call| call.story.as_ref()) {
            story.said(level, line);
        }
    }
}

impl WasiView for ToolState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Host state of one command run.
pub struct CommandState {
    pub(super) wasi: WasiP1Ctx,
    pub(super) limiter: Limiter,
    pub(super) cpu: CpuMeter,
    pub(super) stdout: Capture,
    pub(super) stderr: Capture,
}
