//! The server as a whole: built in order, taken down in reverse.

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
use crate::wasi::catalogue::{Catalogue, Refused};
use crate::wasi::engine::Engine;

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
    /// The manifests that are not served.
    pub refused: Vec<Refused>,
    root: ActorRef<RootMsg>,
}

impl Runtime {
    /// Loads every tool and starts the supervision tree.
    ///
    /// # Errors
    /// See [`StartError`]. A tool that cannot be loaded is no error: it is in [`Runtime::refused`].
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let engine = Engine::new().map_err(StartError::Engine)?;
        let catalogue = Catalogue::load(&engine, &config.manifest_folders);
        Self::start_with(config, engine, catalogue).await
    }

    /// Starts the supervision tree over a catalogue that is already loaded.
    ///
    /// # Errors
    /// As [`Runtime::start`].
    pub async fn start_with(config: &Config, engine: Engine, mut catalogue: Catalogue) -> Result<Self, StartError> {
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
            engine,
            Arc::new(config.policy.clone()),
            ToolTable::new(catalogue),
            Context::new(config.frame_defaults.clone(), config.context_engine),
            log,
            config.supervision.clone(),
        ));
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

fn open_log(config: &Config) -> Result<SupervisionLog, StartError> {
    let Some(path) = &config.supervision_log else { return Ok(SupervisionLog::off()) };
    let boot = uuid::Uuid::now_v7().to_string();
    SupervisionLog::append_to(path, boot).map_err(|source| StartError::SupervisionLog { path: path.clone(), source })
}

#[cfg(test)]
mod tests;
