//! The server as a whole: built in order, taken down in reverse.

mod refusals;

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorRef};
use thiserror::Error;

use crate::actors::context::Context;
use crate::actors::message::{CallOutcome, Refusal, RootMsg};
use crate::actors::root_supervisor::RootSupervisor;
use crate::actors::shared::Shared;
use crate::actors::supervision_log::{Record, Server, SupervisionLog};
use crate::actors::tool_table::ToolTable;
use crate::config::Config;
use crate::wasi::cache::ModuleCache;
use crate::wasi::catalogue::{Catalogue, Refused};
use crate::wasi::compiler::{CompileIn, Compiler};
use crate::wasi::engine::Engine;
use crate::wasi::loader::Loader;

/// How long the actors may take to stop once their workers are gone.
const STOP: Duration = Duration::from_millis(500);

/// Why the server cannot be built.
#[derive(Debug, Error)]
pub enum StartError {
    /// wasmtime does not run here.
    #[error("cannot start the WebAssembly engine: {0:#}")]
    Engine(wasmtime::Error),
    /// The supervision log cannot be opened.
    #[error("cannot open the supervision log {}: {source}; create its folder or choose another file", path.display())]
    SupervisionLog {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The supervision tree cannot be started.
    #[error("cannot start the supervision tree: {0}")]
    Tree(#[from] ractor::SpawnErr),
}

/// A running server, without a way in yet.
pub struct Runtime {
    /// What its parts hold in common.
    pub shared: Arc<Shared>,
    /// The manifests that are not served, as far as that was known at the start.
    pub refused: Vec<Refused>,
    root: ActorRef<RootMsg>,
}

impl Runtime {
    /// Reads every tool and starts the supervision tree. Nothing has been compiled then; tools that nobody has asked
    /// what they are will be in the background.
    ///
    /// # Errors
    /// See [`StartError`]. A tool that cannot be served is no error: it is in [`Runtime::refused`].
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let loader = loader(config, CompileIn::own_process())?;
        let catalogue = Catalogue::read(&loader, &config.manifest_folders);
        Self::start_with(config, loader, catalogue).await
    }

    /// Starts the supervision tree over a catalogue that was read with `loader`.
    ///
    /// # Errors
    /// As [`Runtime::start`].
    pub async fn start_with(
        config: &Config,
        loader: Arc<Loader>,
        mut catalogue: Catalogue,
    ) -> Result<Self, StartError> {
        let refused = std::mem::take(&mut catalogue.refused);
        let log = open_log(config)?;
        let server = Server {
            version: env!("CARGO_PKG_VERSION"),
            context_engine: config.context_engine,
            tools: catalogue.tools.iter().map(|tool| tool.manifest.published_name()).collect(),
            refused: refused.iter().map(|refused| refused.source.display().to_string()).collect(),
        };
        log.record(Record { server: Some(server), ..Record::new("boot", "root".into()) });
        let shared = Arc::new(Shared::new(
            loader,
            Arc::new(config.policy.clone()),
            ToolTable::new(catalogue),
            Context::new(config.frame_defaults.clone(), config.context_engine),
            log,
            config.supervision.clone(),
        ));
        refusals::watch(&shared);
        shared.table.iter().filter(|tool| !tool.loaded.is_described()).for_each(|tool| tool.loaded.begin());
        let (root, _) = Actor::spawn(None, RootSupervisor, Arc::clone(&shared)).await?;
        Ok(Self { shared, refused, root })
    }

    /// Takes the server down: no more calls, guests interrupted, workers gone (at most `patience`), actors stopped in
    /// reverse order, the log written. Returns how many worker threads had to be left behind.
    pub async fn stop(self, patience: Duration) -> usize {
        let shared = &self.shared;
        shared.stop();
        for tool in shared.table.iter() {
            tool.lane.close();
        }
        shared.interrupt();
        let left = shared.workers_gone(patience).await;
        for tool in shared.table.iter() {
            tool.lane.drain(|call| call.reply.answer(CallOutcome::Refused(Refusal::ShuttingDown)));
        }
        // The root is the last to go; ractor takes its children with it.
        let _ = self.root.get_cell().stop_and_wait(None, Some(STOP)).await;
        shared.log.record(Record { count: Some(left as u64), ..Record::new("stopped", "root".into()) });
        shared.log.flush(STOP);
        left
    }
}

/// What turns modules into guests, as `config` says. A cache that cannot be used is said, and done without.
///
/// # Errors
/// When wasmtime does not run here.
pub fn loader(config: &Config, compile_in: CompileIn) -> Result<Arc<Loader>, StartError> {
    let settings = &config.compiling;
    let engine = Engine::new().map_err(StartError::Engine)?;
    let cache = settings.cache.as_ref().map(|folder| ModuleCache::open(folder, settings.cache_bytes));
    let cache = cache.unwrap_or_else(|| Ok(ModuleCache::off())).unwrap_or_else(|problem| {
        tracing::warn!("{problem}; modules are compiled anew (--no-cache says so on purpose)");
        ModuleCache::off()
    });
    Ok(Loader::new(engine, cache, Compiler::new(compile_in, settings.deadline)))
}

fn open_log(config: &Config) -> Result<SupervisionLog, StartError> {
    let Some(path) = &config.supervision_log else { return Ok(SupervisionLog::off()) };
    let boot = uuid::Uuid::now_v7().to_string();
    SupervisionLog::append_to(path, boot).map_err(|source| StartError::SupervisionLog { path: path.clone(), source })
}

#[cfg(test)]
mod tests;
