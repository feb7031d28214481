//! The server as a whole: built in order, taken down in reverse.

mod pinned;
mod refusals;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorRef};
use thiserror::Error;

use crate::actors::context::Context;
use crate::actors::event_bus::EventBus;
use crate::actors::message::{ControlActor, Refusal, RootMsg};
use crate::actors::root_supervisor::RootSupervisor;
use crate::actors::shared::{Keepers, Shared};
use crate::actors::supervision_log::{Record, Server, SupervisionLog};
use crate::actors::tool_table::{ToolEntry, ToolTable};
use crate::actors::tuning::Tuning;
use crate::config::Config;
use crate::journal::{self, Journal};
use crate::keyed::Keyed;
use crate::policy::Rules;
use crate::redact;
use crate::trail::Trail;
use crate::wasi::cache::ModuleCache;
use crate::wasi::catalogue::{Catalogue, Refused};
use crate::wasi::compiler::{CompileIn, Compiler};
use crate::wasi::engine::Engine;
use crate::wasi::loader::Loader;
pub use pinned::{catalogue, pins, pins_but_the_lock, rewritable};

/// How long what outlives the server may take to be written once nothing more comes.
const WRITE: Duration = Duration::from_secs(5);

/// How long the actors may take to stop once their workers are gone.
const STOP: Duration = Duration::from_millis(500);

/// Why the server cannot be built.
#[derive(Debug, Error)]
pub enum StartError {
    /// wasmtime does not run here.
    #[error("cannot start the WebAssembly engine: {0:#}")]
    Engine(wasmtime::Error),
    /// The rules of who may do what have mistakes; one a line.
    #[error("{}", .0.join("\n"))]
    Rules(Vec<String>),
    /// What tools are measured by cannot be gone by; one mistake a line.
    #[error("{}", .0.join("\n"))]
    Pins(Vec<String>),
    /// The supervision log cannot be opened.
    #[error("cannot open the supervision log {}: {source}; create its folder or choose another file", path.display())]
    SupervisionLog {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system gives no thread to write the supervision log.
    #[error("cannot start a thread: {0}; allow this user more of them (ulimit -u)")]
    Thread(std::io::Error),
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
    journal: Option<Journal>,
}

impl Runtime {
    /// Reads every tool and starts the supervision tree. Nothing has been compiled then; tools that nobody has asked
    /// what they are will be in the background.
    ///
    /// # Errors
    /// See [`StartError`]. A tool that cannot be served is no error: it is in [`Runtime::refused`].
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let loader = loader(config, CompileIn::own_process())?;
        let catalogue = catalogue(config, &loader).map_err(StartError::Pins)?;
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
        let rules = Arc::new(rules(config).map_err(StartError::Rules)?);
        if let Some(problem) = pinned::trail_within_reach(config) {
            return Err(StartError::Rules(vec![problem]));
        }
        let refused = std::mem::take(&mut catalogue.refused);
        let boot = uuid::Uuid::now_v7().to_string();
        let log = open_log(config, &boot)?;
        let journal = open_journal(config, boot.clone(), log.bus());
        let server = Server {
            version: env!("CARGO_PKG_VERSION"),
            context_engine: config.tuning.enabled,
            tools: catalogue.tools.iter().map(|tool| tool.manifest.published_name()).collect(),
            refused: refused.iter().map(|refused| refused.source.display().to_string()).collect(),
        };
        log.record(Record { server: Some(server), ..Record::new("boot", "root".into()) });
        // Without a folder there is nobody to tell.
        let tuned = config.tuning.enabled && config.state.is_some();
        let table = ToolTable::new(catalogue, &rules, &config.supervision, &config.performance, tuned, &log);
        let tuning = Tuning::new(&config.tuning, config.state.as_deref(), table.iter().cloned().collect(), log.bus());
        let shared = Arc::new(Shared::new(
            loader,
            Arc::new(config.policy.clone()),
            table,
            Context::new(config.frame_defaults.clone(), tuning),
            log,
            Keepers {
                keyed: Keyed::new(config.state.clone(), config.keyed),
                trail: Trail::new(config.state.clone(), config.audit, boot),
            },
            config.supervision.clone(),
        ));
        refusals::watch(&shared);
        shared.table.iter().filter(|tool| !tool.loaded.is_described()).for_each(|tool| tool.loaded.begin());
        let (root, ended) = Actor::spawn(None, RootSupervisor, Arc::clone(&shared)).await?;
        escalate_with(ended, &shared);
        Ok(Self { shared, refused, root, journal })
    }

    /// Takes the server down: no more calls, guests interrupted, workers gone (at most `patience`), actors stopped in
    /// reverse order, the log written. Returns how many worker threads had to be left behind.
    pub async fn stop(self, patience: Duration) -> usize {
        let shared = &self.shared;
        shared.phase("stop");
        shared.stop();
        for tool in shared.table.iter().filter(|tool| tool.is_awake()) {
            tool.lane.close();
        }
        shared.interrupt();
        self.stop_workers(patience).await;
        let left = shared.table.live_workers();
        for tool in shared.table.iter() {
            tool.refuse_waiting(Refusal::ShuttingDown);
        }
        self.stop_control_actors().await;
        shared.log.record(Record { count: Some(left as u64), ..Record::new("stopped", "root".into()) });
        shared.log.flush(STOP);
        shared.trail.flush(WRITE);
        shared.bus.close();
        let shed = shared.bus.counts().shed;
        if let [low, normal, critical] = shed
            && shed != [0; 3]
        {
            tracing::warn!(low, normal, critical, "events were shed, as too many waited; have fewer classes journaled");
        }
        if let Some(journal) = self.journal {
            journal.finish(WRITE);
        }
        left
    }
}

impl Runtime {
    /// Waits for the workers, for each tool's as long as its manifest says; what is still there then is left behind.
    async fn stop_workers(&self, patience: Duration) {
        let (shared, began) = (&self.shared, Instant::now());
        let mut tools: Vec<&Arc<ToolEntry>> = shared.table.iter().collect();
        tools.sort_by_key(|tool| tool.loaded.manifest.shutdown.unwrap_or(patience));
        for tool in tools {
            let allowed = tool.loaded.manifest.shutdown.unwrap_or(patience);
            shared.workers_gone(tool, allowed.saturating_sub(began.elapsed())).await;
            for worker in tool.workers_left() {
                shared.census.stopped(&tool.worker_path(worker), false);
            }
        }
    }

    /// In reverse order of their start. A parent that ends takes its children with it, so that each is stopped first.
    async fn stop_control_actors(&self) {
        let census = &self.shared.census;
        let tools = self.shared.table.iter().map(|tool| tool.path());
        let above = ControlActor::IN_ORDER.into_iter().rev().map(ControlActor::path);
        for path in tools.collect::<Vec<_>>().into_iter().rev().chain(above) {
            if let Some(actor) = census.actor(&path) {
                let graceful = actor.stop_and_wait(None, Some(STOP)).await.is_ok();
                census.stopped(&path, graceful);
            }
        }
        let _ = self.root.get_cell().stop_and_wait(None, Some(STOP)).await;
    }
}

/// The root has nobody above it to restart it: when it dies before its time, so does the server, in good order.
fn escalate_with(ended: ractor::concurrency::JoinHandle<()>, shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        let _ = ended.await;
        if let Some(shared) = shared.upgrade()
            && !shared.is_stopping()
        {
            tracing::error!("the root of the supervision tree died; answering what is in flight and ending");
            shared.escalate();
        }
    });
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

/// Who may do what, as `config` says. The secrets in it do not leave from now on.
///
/// # Errors
/// Every mistake.
pub fn rules(config: &Config) -> Result<Rules, Vec<String>> {
    let rules = Rules::read(&config.access, &config.policy, &|name| std::env::var(name).ok())?;
    for (name, value) in rules.secrets() {
        if !redact::secrets().add(name, value.as_bytes()) {
            tracing::warn!(
                "the secret {name} is too short, too long or one too many to be taken out of logs; use another"
            );
        }
    }
    Ok(rules)
}

/// The journal, if one is wanted. Without it the server serves as well.
fn open_journal(config: &Config, boot: String, bus: &EventBus) -> Option<Journal> {
    let policy = config.journal;
    let (class, folder) = (policy.journaled?, config.state.clone());
    let started = match folder {
        Some(folder) => Journal::start(folder, boot, policy, bus.subscribe(class, journal::WAITING, None)),
        None => Err(std::io::Error::other("there is no folder for it; choose one with --state-dir")),
    };
    started.inspect_err(|error| tracing::error!("no journal is kept: {error}")).ok()
}

fn open_log(config: &Config, boot: &str) -> Result<SupervisionLog, StartError> {
    let path = config.supervision_log.as_deref();
    let log = SupervisionLog::start(path, config.log_rotation, boot.to_owned()).map_err(|source| match path {
        Some(path) => StartError::SupervisionLog { path: path.to_owned(), source },
        None => StartError::Thread(source),
    })?;
    Ok(log.announcing_on(EventBus::configured(&config.performance)))
}

#[cfg(test)]
mod tests;
