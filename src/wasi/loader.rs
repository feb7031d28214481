//! From a module's bytes to a guest that can be called: cache first, compiler if need be.
//!
//! All of it happens on threads of the background pool and in child processes, never on those that serve.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::artefact::{Artefact, Encoding};
use super::cache::ModuleCache;
use super::cache_key::CacheKey;
use super::compiler::{Compiler, Turn};
use super::definition::{Definition, Description};
use super::engine::Engine;
use super::error::LoadError;
use super::guest::{Guest, MODULE_BYTES};
use super::manifest::{Entry, Manifest};
use super::regular_file;
use crate::failpoint::points;

/// What loading needs; one per server.
pub struct Loader {
    /// Runs the guests.
    pub engine: Engine,
    /// Remembers compiled modules.
    pub cache: ModuleCache,
    /// Makes those that are not remembered.
    pub compiler: Compiler,
    /// Counts what clients would see change in the list of tools.
    changes: watch::Sender<u64>,
}

/// A guest, and what clients are to be told of it, if it was asked.
pub(super) type Described = (Guest, Option<Definition>);

/// A module on its way.
struct Job {
    loader: Arc<Loader>,
    manifest: Manifest,
    /// The module's key as it was when the server started.
    expected: Option<CacheKey>,
    /// Whether the tool is to be asked what it is.
    ask: bool,
}

impl Loader {
    /// A loader; nothing is read or compiled yet.
    pub fn new(engine: Engine, cache: ModuleCache, compiler: Compiler) -> Arc<Self> {
        Arc::new(Self { engine, cache, compiler, changes: watch::Sender::new(0) })
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
        let turn = match manifest.entry {
            Entry::Embedded(_) => Turn::Now,
            Entry::File(_) => Turn::Later(wanted),
        };
        let job = Arc::new(Job { loader: Arc::clone(self), manifest, expected, ask });
        let (module, key) = match in_background(&job, |job| job.find()).await? {
            Found::Guest(described) => return Ok(*described),
            Found::Module(module, key) => (module, key),
        };
        let artefact = self.compiler.compile(&self.engine, module, &turn).await?;
        in_background(&job, move |job| job.take_in(&artefact, &key)).await
    }
}

/// The bytes of the module of `manifest`.
pub(super) fn read_module(manifest: &Manifest) -> Result<std::borrow::Cow<'static, [u8]>, LoadError> {
    match &manifest.entry {
        Entry::Embedded(bytes) => Ok((*bytes).into()),
        Entry::File(path) => Ok(regular_file::read(path, MODULE_BYTES)?.into()),
    }
}

async fn in_background<T: Send + 'static>(
    job: &Arc<Job>,
    step: impl FnOnce(&Job) -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    let job = Arc::clone(job);
    let done = tokio::task::spawn_blocking(move || step(&job)).await;
    done.unwrap_or_else(|_| Err(LoadError::Module("loading it panicked".to_owned())))
}

enum Found {
    Guest(Box<Described>),
    Module(Vec<u8>, CacheKey),
}

impl Job {
    /// Looks for the module in the cache.
    fn find(&self) -> Result<Found, LoadError> {
        let Loader { engine, cache, .. } = &*self.loader;
        let module = read_module(&self.manifest)?;
        let key = CacheKey::new(engine.raw(), &module);
        if self.expected.is_some_and(|expected| expected != key) && points::TRUST_MODULES.hit().is_ok() {
            return Err(LoadError::Contract(
                "its module has changed since the server started; restart the server".to_owned(),
            ));
        }
        let Some(artefact) = cache.artefact(&key, Encoding::of(&module)?) else {
            return Ok(Found::Module(module.into_owned(), key));
        };
        match self.take_in(&artefact, &key) {
            // Code that is whole and yet no use is of another machine or build, whatever its key says.
            Err(LoadError::Module(_)) => {
                cache.discard(&key, "it was made for another machine");
                Ok(Found::Module(module.into_owned(), key))
            }
            described => Ok(Found::Guest(Box::new(described?))),
        }
    }

    /// Links compiled code, asks the tool what it is unless that is known, and remembers both.
    fn take_in(&self, artefact: &Artefact, key: &CacheKey) -> Result<Described, LoadError> {
        let Loader { engine, cache, .. } = &*self.loader;
        let limits = &self.manifest.limits;
        let guest = Guest::revive(engine, artefact)?;
        let said = match &guest {
            Guest::Tool(pre) if self.ask => Some(Description::ask(engine, pre, &self.manifest)?),
            _ => None,
        };
        if said.is_some() || !cache.has(key) {
            cache.put(key, artefact, limits, said.as_ref());
        }
        // The schema is the module's own, and compiling it may take its time.
        let definition = said.map(|said| Definition::new(&self.manifest, Some(said))).transpose()?;
        Ok((guest, definition))
    }
}
