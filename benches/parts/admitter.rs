//! Lets calls in as the server does, into a lane that nobody serves: the tree of actors is never started. This is where
//! the benches touch admission.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nurones_mcp::actors::context::Context;
use nurones_mcp::actors::lane::Received;
use nurones_mcp::actors::shared::{Keepers, Shared};
use nurones_mcp::actors::supervision_log::SupervisionLog;
use nurones_mcp::actors::tool_table::{ToolEntry, ToolTable};
use nurones_mcp::config::{AuditMode, AuditPolicy, Config, Flags};
use nurones_mcp::keyed::Keyed;
use nurones_mcp::mcp::admission::{self, Asked};
use nurones_mcp::runtime;
use nurones_mcp::trail::Trail;
use nurones_mcp::wasi::catalogue::Catalogue;
use nurones_mcp::wasi::compiler::CompileIn;
use rmcp::model::{JsonObject, RequestMetaObject};
use tokio_util::sync::CancellationToken;

/// See the module documentation.
pub struct Admitter {
    runtime: tokio::runtime::Runtime,
    shared: Shared,
}

impl Admitter {
    /// With the embedded tools, compiled.
    pub fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let folder = std::env::temp_dir();
        let config = Config::resolve(&Flags::default(), |_| None, &folder).expect("the defaults are good");
        let loader = runtime::loader(&config, CompileIn::Thread).expect("wasmtime runs here");
        let catalogue = Catalogue::read(&loader, &[]);
        runtime.block_on(catalogue.load_all());
        let log =
            SupervisionLog::start(None, config.log_rotation, "bench".to_owned()).expect("a thread can be started");
        let table = ToolTable::new(catalogue, &Arc::default(), &config.supervision, &config.performance, false, &log);
        let context = Context::new(config.frame_defaults.clone(), None);
        let policy = Arc::new(config.policy.clone());
        let keyed = Keyed::new(None, config.keyed);
        let trail = Trail::new(None, AuditPolicy { mode: AuditMode::Off, ..config.audit }, String::new());
        let keepers = Keepers { keyed, trail };
        Self { runtime, shared: Shared::new(loader, policy, table, context, log, keepers, config.supervision) }
    }

    /// What each call is made with.
    pub fn arguments(&self) -> JsonObject {
        JsonObject::from_iter([("path".to_owned(), "file.txt".into())])
    }

    /// Lets `calls` calls in, one after the other, and takes each out of the lane.
    pub fn admit(&self, calls: u64) -> Duration {
        let tool: &Arc<ToolEntry> = self.shared.table.get("fs_read").expect("it is embedded");
        self.runtime.block_on(async {
            let (began, arguments, output) = (Instant::now(), self.arguments(), Arc::default());
            for _ in 0..calls {
                let (arguments, cancel) = (arguments.clone(), CancellationToken::new());
                let Ok(frame) = admission::frame(&self.shared, &RequestMetaObject::default()) else {
                    panic!("the defaults are a frame")
                };
                let asked = Asked { arguments, frame: &frame, cancel, output: &output, progress: None, story: None };
                let admitted = admission::admit(&self.shared, tool, asked).await;
                assert!(admitted.is_ok(), "it is let in");
                match tool.lane.recv(Duration::from_secs(60), || {}) {
                    Received::Call(call) => call.reply.stay_silent(),
                    _ => panic!("the call is in the lane"),
                }
            }
            began.elapsed()
        })
    }
}
