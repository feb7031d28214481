//! One guest call: ours as a worker makes it (limits, deadline, cancellation, capture), beside plain wasmtime.
//!
//! Warm: in an instance that is there. Fresh: in one made for the call. Cold: linked from machine code for the call, as the
//! cache keeps it. Pooled: fresh, by wasmtime's pooling allocator, beside the same on demand, which is what we use.

#[path = "parts/bare_command.rs"]
mod bare_command;
#[path = "parts/bare_tool.rs"]
mod bare_tool;
#[path = "parts/compare.rs"]
mod compare;
#[path = "parts/fixture.rs"]
mod fixture;

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nurones_mcp::config::defaults;
use nurones_mcp::frame::{ContextFrame, FrameDefaults};
use nurones_mcp::wasi::artefact::{Artefact, Compiled};
use nurones_mcp::wasi::call::{Content, GuestOutput, GuestRequest};
use nurones_mcp::wasi::command;
use nurones_mcp::wasi::contract::bindings::FileToolPre;
use nurones_mcp::wasi::engine::Engine;
use nurones_mcp::wasi::environment::Environment;
use nurones_mcp::wasi::error::Fault;
use nurones_mcp::wasi::executor::Executor;
use nurones_mcp::wasi::guest::Guest;
use nurones_mcp::wasi::manifest::Permissions;
use nurones_mcp::wasi::sandbox::{Grant, Policy};
use nurones_mcp::wasi::store::{CommandState, Sandbox, ToolState};
use nurones_mcp::wasi::warm::WarmInstance;
use tokio_util::sync::CancellationToken;
use wasmtime::{InstanceAllocationStrategy, InstancePre, PoolingAllocationConfig};

use bare_command::BareCommand;
use bare_tool::{BareGuest, BareTool};
use compare::{Compare, timed};

const ECHO: &str = r#"{"verb":"echo","text":"hello"}"#;
const HELLO: &str = "hello";
const COMMAND: &str = "fs-read-command";

fn main() -> ExitCode {
    let folder = fixture::Folder::new();
    let ours = Worker::new(&folder.path());
    let bare = Bare { engine: ours.engine.clone(), runtime: runtime() };
    let mut compare = Compare::new("call");
    let tools =
        [("warm_fs_read", "fs-read", fixture::ARGUMENTS, fixture::text()), ("warm_echo", "probe", ECHO, HELLO.into())];
    for (name, guest, arguments, expected) in tools {
        let mut our_tool = ours.tool(guest);
        let mut bare_tool = bare.tool(guest, &folder.path());
        assert_eq!(ours.call(&mut our_tool, arguments).content, [Content::Text(expected.clone())]);
        assert_eq!(bare.runtime.block_on(bare_tool.call(arguments)), expected);
        compare.pair(
            name,
            |calls| timed(calls, || ours.call(&mut our_tool, arguments)),
            |calls| bare.call_tool(&mut bare_tool, arguments, calls),
        );
    }
    for (file, times) in fixture::LARGER {
        let arguments = format!(r#"{{"path":"{file}"}}"#);
        let (mut our_tool, mut bare_tool) = (ours.tool("fs-read"), bare.tool("fs-read", &folder.path()));
        assert_eq!(ours.call(&mut our_tool, &arguments).content, [Content::Text(fixture::text().repeat(times))]);
        compare.pair(
            &format!("warm_fs_read_{}", file.trim_end_matches(".txt")),
            |calls| timed(calls, || ours.call(&mut our_tool, &arguments)),
            |calls| bare.call_tool(&mut bare_tool, &arguments, calls),
        );
    }
    let our_command = ours.command();
    let bare_command = bare.command(&folder.path());
    assert_eq!(ours.run_command(&our_command).content, [Content::Text(fixture::text())]);
    compare.pair(
        "fresh_command",
        |runs| timed(runs, || ours.run_command(&our_command)),
        |runs| bare.run_command(&bare_command, runs),
    );
    fresh_and_cold(&mut compare, &ours, &bare, &folder.path());
    pooled(&mut compare, &bare, &folder.path());
    compare.finish()
}

/// An instance for each call, from a linked guest and from machine code.
fn fresh_and_cold(compare: &mut Compare, ours: &Worker, bare: &Bare, folder: &Path) {
    let artefact = Artefact::compile(ours.engine.raw(), &fixture::guest("probe")).expect("the probe compiles");
    let our_guest = ours.link(&artefact);
    let bare_guest = bare.link(&artefact, folder);
    assert_eq!(ours.call_fresh(&our_guest).content, [Content::Text(HELLO.into())]);
    compare.pair(
        "fresh_echo",
        |calls| timed(calls, || ours.call_fresh(&our_guest)),
        |calls| bare.call_fresh(|| None, &bare_guest, calls),
    );
    compare.pair(
        "cold_echo",
        |calls| timed(calls, || ours.call_fresh(&ours.link(&artefact))),
        |calls| bare.call_fresh(|| Some(bare.link(&artefact, folder)), &bare_guest, calls),
    );
}

/// What another allocator would make of fresh instances.
fn pooled(compare: &mut Compare, bare: &Bare, folder: &Path) {
    let guest = |pooled: bool| {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        if pooled {
            let mut pool = PoolingAllocationConfig::new();
            pool.total_memories(16).total_tables(64).total_stacks(16).max_memory_size(64 << 20);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        }
        let engine = wasmtime::Engine::new(&config).expect("wasmtime runs here");
        BareGuest::new(&engine, &fixture::guest("probe"), folder).expect("the probe compiles")
    };
    let (pooled, on_demand) = (guest(true), guest(false));
    compare.pair(
        "pooled_echo",
        |calls| bare.call_fresh(|| None, &pooled, calls),
        |calls| bare.call_fresh(|| None, &on_demand, calls),
    );
}

/// What a worker thread has and does for each call, without its lane.
struct Worker {
    engine: Engine,
    executor: Executor,
    sandbox: Sandbox,
    frame: Arc<ContextFrame>,
    cancel: CancellationToken,
}

impl Worker {
    fn new(folder: &Path) -> Self {
        let grant = Grant::open(folder, Path::new("/"), false).expect("the folder can be opened");
        let sandbox = Sandbox {
            tool: "bench".into(),
            policy: Arc::new(Policy::new(vec![grant])),
            permissions: Permissions { read: true, write: false },
            environment: Environment::default(),
            limits: Arc::new(defaults::limits()),
            blocking_io: true,
        };
        Self {
            engine: Engine::new().expect("wasmtime runs here"),
            executor: Executor::new().expect("an executor can be made"),
            sandbox,
            frame: Arc::new(FrameDefaults::built_in().frame(None).expect("the defaults are a frame")),
            cancel: CancellationToken::new(),
        }
    }

    fn request(&self, arguments: &str) -> GuestRequest {
        GuestRequest {
            arguments: arguments.to_owned(),
            frame: Arc::clone(&self.frame),
            deadline: Instant::now() + self.sandbox.limits.deadline,
            progress: None,
            story: None,
        }
    }

    /// Runs a guest call under its deadline, until it returns or is cancelled.
    fn run(&self, call: impl Future<Output = Result<GuestOutput, Fault>>) -> GuestOutput {
        let _running = self.engine.running();
        let ended = self.executor.run(Instant::now() + self.sandbox.limits.deadline, async {
            tokio::select! {
                biased;
                result = call => Some(result),
                () = self.cancel.cancelled() => None,
            }
        });
        ended.expect("the deadline is far").expect("nobody cancels").expect("the tool succeeds")
    }

    fn tool(&self, guest: &str) -> WarmInstance {
        let Ok(Guest::Tool(pre)) = Guest::compile(&self.engine, &fixture::guest(guest)) else {
            panic!("{guest} is a tool")
        };
        let instance = self.executor.run(
            Instant::now() + self.sandbox.limits.deadline,
            WarmInstance::instantiate(&self.engine, &pre, &self.sandbox),
        );
        instance.expect("the deadline is far").expect("the guest can be instantiated")
    }

    fn call(&self, tool: &mut WarmInstance, arguments: &str) -> GuestOutput {
        self.run(tool.call(self.request(arguments)))
    }

    fn link(&self, artefact: &Artefact) -> FileToolPre<ToolState> {
        match Guest::revive(&self.engine, artefact) {
            Ok(Guest::Tool(pre)) => pre,
            _ => panic!("it is a tool"),
        }
    }

    fn call_fresh(&self, guest: &FileToolPre<ToolState>) -> GuestOutput {
        self.run(async {
            let mut instance = WarmInstance::instantiate(&self.engine, guest, &self.sandbox).await?;
            instance.call(self.request(ECHO)).await
        })
    }

    fn command(&self) -> InstancePre<CommandState> {
        match Guest::compile(&self.engine, &fixture::guest(COMMAND)) {
            Ok(Guest::Command(pre)) => pre,
            _ => panic!("{COMMAND} is a command"),
        }
    }

    fn run_command(&self, command: &InstancePre<CommandState>) -> GuestOutput {
        self.run(command::run(&self.engine, command, &self.sandbox, self.request(fixture::ARGUMENTS)))
    }
}

/// The same guests on the same Engine with nothing around them.
struct Bare {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
}

impl Bare {
    fn tool(&self, guest: &str, folder: &Path) -> BareTool {
        let tool = self.runtime.block_on(BareTool::new(self.engine.raw(), &fixture::guest(guest), folder));
        tool.expect("the guest can be instantiated")
    }

    fn call_tool(&self, tool: &mut BareTool, arguments: &str, calls: u64) -> Duration {
        self.runtime.block_on(async {
            let began = Instant::now();
            for _ in 0..calls {
                black_box(tool.call(arguments).await);
            }
            began.elapsed()
        })
    }

    fn link(&self, artefact: &Artefact, folder: &Path) -> BareGuest {
        match artefact.revive(self.engine.raw()) {
            Ok(Compiled::Component(component)) => {
                BareGuest::link(self.engine.raw(), &component, folder).expect("the guest can be linked")
            }
            _ => panic!("it is a component"),
        }
    }

    /// A new instance for each call, of a guest that is `linked` for it or of `guest`.
    fn call_fresh(&self, linked: impl Fn() -> Option<BareGuest>, guest: &BareGuest, calls: u64) -> Duration {
        self.runtime.block_on(async {
            let began = Instant::now();
            for _ in 0..calls {
                let linked = linked();
                let instance = linked.as_ref().unwrap_or(guest).instantiate().await;
                assert_eq!(instance.expect("the guest can be instantiated").call(ECHO).await, HELLO);
            }
            began.elapsed()
        })
    }

    fn command(&self, folder: &Path) -> BareCommand {
        BareCommand::new(self.engine.raw(), &fixture::guest(COMMAND), folder).expect("the command can be compiled")
    }

    fn run_command(&self, command: &BareCommand, runs: u64) -> Duration {
        self.runtime.block_on(async {
            let began = Instant::now();
            for _ in 0..runs {
                let printed = command.run(fixture::ARGUMENTS).await.expect("it runs");
                assert!(printed.len() > 1024, "the file is not in what was printed");
            }
            began.elapsed()
        })
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made")
}
