//! From a module's bytes to a guest that can be called: cache first, compiler if need be.
//!
//! Tools made of one module share what comes of it: it is compiled once, and its machine code is in memory once. All of
//! it happens on threads of the background pool and in child processes, never on those that serve.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::cache::ModuleCache;
use super::cache_key::CacheKey;
use super::compiler::Compiler;
use super::definition::Definition;
use super::engine::Engine;
use super::error::LoadError;
use super::guest::{Guest, MODULE_BYTES};
use super::manifest::{Entry, Manifest};
use super::regular_file;
use super::shared_module::{Job, SharedModule};

/// Modules that nobody waits for are read, or asked what they are, so many at once.
const UNASKED: usize = 4;

/// What loading needs; one per server.
pub struct Loader {
    /// Runs the guests.
    pub engine: Engine,
    /// Remembers compiled modules.
    pub cache: ModuleCache,
    /// Makes those that are not remembered.
    pub compiler: Compiler,
    /// The modules that were asked for so far.
    modules: Mutex<HashMap<CacheKey, Arc<SharedModule>>>,
    /// Places on the background pool for modules that nobody waits for.
    pub(super) unasked: Semaphore,
    /// Counts what clients would see change in the list of tools.
    changes: watch::Sender<u64>,
}

/// A guest, and what clients are to be told of it, if it was asked.
pub(super) type Described = (Guest, Option<Definition>);

impl Loader {
    /// A loader; nothing is read or compiled yet.
    pub fn new(engine: Engine, cache: ModuleCache, compiler: Compiler) -> Arc<Self> {
        let (modules, unasked) = (Mutex::default(), Semaphore::new(UNASKED));
        Arc::new(Self { engine, cache, compiler, modules, unasked, changes: watch::Sender::new(0) })
    }

    /// The number of changes of the list of tools so far; it can be waited on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Loads the module of `manifest`, which must still have the key `expected`, if any; if `ask`, the tool is asked what
    /// it is. Nobody waits for it until `wanted` is cancelled.
    pub(super) async fn load(
        self: &Arc<Self>,
        manifest: Manifest,
        expected: Option<CacheKey>,
        ask: bool,
        wanted: CancellationToken,
    ) -> Result<Described, LoadError> {
        let job = Arc::new(Job { loader: Arc::clone(self), manifest, expected, ask, wanted: wanted.clone() });
        let (_, identity) = job.in_background(Job::read).await?;
        let module = Arc::clone(self.modules.lock().entry(identity.key).or_default());
        let mut loading = pin!(module.load(&job, identity));
        let (guest, said) = tokio::select! {
            biased;
            loaded = &mut loading => loaded,
            () = wanted.cancelled() => {
                // Whoever it is that is loading it: now somebody waits.
                module.wanted.cancel();
                loading.await
            }
        }?;
        Ok((guest, said.map(|said| Definition::new(&job.manifest, Some(said)))))
    }
}

/// The bytes of the module of `manifest`.
pub(super) fn read_module(manifest: &Manifest) -> Result<std::borrow::Cow<'static, [u8]>, LoadError> {
    match &manifest.entry {
        Entry::Embedded(bytes) => Ok((*bytes).into()),
        Entry::File(path) => Ok(regular_file::read(path, MODULE_BYTES)?.into()),
    }
}
