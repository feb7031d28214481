//! One module on its way to a guest, walked once for all the tools that are made of it.
//!
//! Whoever comes first finds it in the cache or has it compiled; the others wait, and get the same machine code. What it
//! says of itself depends on the limits it is asked under, so it is asked once for each set of them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::artefact::{Artefact, Encoding};
use super::cache_key::CacheKey;
use super::compiler::Turn;
use super::definition::Description;
use super::error::LoadError;
use super::guest::Guest;
use super::limits::Limits;
use super::loader::{self, Loader};
use super::manifest::{Entry, Manifest};
use crate::failpoint::points;

/// See the module documentation.
#[derive(Default)]
pub(super) struct SharedModule {
    /// Cancelled once somebody waits for it.
    pub(super) wanted: CancellationToken,
    /// Locked while it is being found out.
    outcome: tokio::sync::Mutex<Outcome>,
}

/// What came of it. A compiler that could not do its work leaves nothing here, nor does what is wrong with one tool's file.
#[derive(Default)]
struct Outcome {
    guest: Option<Result<Guest, LoadError>>,
    said: Vec<(Limits, Result<Description, LoadError>)>,
}

/// One tool that wants it.
pub(super) struct Job {
    pub(super) loader: Arc<Loader>,
    pub(super) manifest: Manifest,
    /// The module's key as it was when the server started; embedded modules do not change.
    pub(super) expected: Option<CacheKey>,
    /// Whether the tool is to be asked what it is.
    pub(super) ask: bool,
    /// Cancelled once somebody waits for this tool.
    pub(super) wanted: CancellationToken,
}

/// What a file holds.
#[derive(Clone, Copy)]
pub(super) struct Identity {
    pub(super) key: CacheKey,
    encoding: Encoding,
}

/// A guest, and its machine code if that is not kept yet.
type Loaded = (Guest, Option<Artefact>);

impl SharedModule {
    /// The guest, and what it says of itself if `job` has to know. The tool's file was found to be `identity`.
    pub(super) async fn load(
        &self,
        job: &Arc<Job>,
        identity: Identity,
    ) -> Result<(Guest, Option<Description>), LoadError> {
        let mut outcome = self.outcome.lock().await;
        let (guest, new) = match outcome.guest.clone() {
            Some(known) => (known?, None),
            None => {
                let loaded = self.find_or_compile(job, identity).await?;
                outcome.guest = Some(loaded.as_ref().map(|(guest, _)| guest.clone()).map_err(Clone::clone));
                loaded?
            }
        };
        let said = match &guest {
            Guest::Tool(pre) if job.ask => {
                let limits = &job.manifest.limits;
                if let Some((_, known)) = outcome.said.iter().find(|(under, _)| under == limits) {
                    return Ok((guest, Some(known.clone()?)));
                }
                let pre = pre.clone();
                let ask = move |job: &Job| Description::ask(&job.loader.engine, &pre, &job.manifest);
                let said = job.in_background(ask).await;
                outcome.said.push((limits.clone(), said.clone()));
                Some(said?)
            }
            _ => None,
        };
        if new.is_some() || said.is_some() {
            let said = said.clone();
            job.in_background(move |job| {
                job.keep(identity, new, said.as_ref());
                Ok(())
            })
            .await?;
        }
        Ok((guest, said))
    }

    /// From the cache, or by way of the compiler.
    ///
    /// # Errors
    /// What is no verdict on the module: the next tool tries again.
    async fn find_or_compile(
        &self,
        job: &Arc<Job>,
        identity: Identity,
    ) -> Result<Result<Loaded, LoadError>, LoadError> {
        match job.in_background(move |job| job.find(identity)).await {
            Ok(Some(guest)) => return Ok(Ok((guest, None))),
            Ok(None) => {}
            Err(refused) => return Ok(Err(refused)),
        }
        let turn = match job.manifest.entry {
            Entry::Embedded(_) => Turn::Now,
            Entry::File(_) => Turn::Later(self.wanted.clone()),
        };
        let compiler = &job.loader.compiler;
        let place = compiler.place(&turn).await;
        // Read again rather than held: very many may be waiting for their place.
        let (module, again) = job.in_background(Job::read).await?;
        if again.key != identity.key {
            return Err(LoadError::NotNow("its file is being written".to_owned()));
        }
        let artefact = match compiler.compile(&job.loader.engine, module, place).await {
            Ok(artefact) => artefact,
            Err(error @ LoadError::NotNow(_)) => return Err(error),
            Err(refused) => return Ok(Err(refused)),
        };
        let revive = |job: &Job| Ok((Guest::revive(&job.loader.engine, &artefact)?, Some(artefact)));
        Ok(job.in_background(revive).await)
    }
}

impl Job {
    pub(super) async fn in_background<T: Send + 'static>(
        self: &Arc<Self>,
        step: impl FnOnce(&Self) -> Result<T, LoadError> + Send + 'static,
    ) -> Result<T, LoadError> {
        // Or a thousand tools that nobody has asked yet would take as many threads.
        let _place = tokio::select! {
            biased;
            () = self.wanted.cancelled() => None,
            place = self.loader.unasked.acquire() => place.ok(),
        };
        let job = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || step(&job)).await;
        done.unwrap_or_else(|_| Err(LoadError::Module("loading it panicked".to_owned())))
    }

    /// Reads the module, which must be what it was.
    pub(super) fn read(&self) -> Result<(Vec<u8>, Identity), LoadError> {
        let module = loader::read_module(&self.manifest)?;
        let key = CacheKey::new(self.loader.engine.raw(), &module);
        if self.expected.is_some_and(|expected| expected != key) && points::TRUST_MODULES.hit().is_ok() {
            return Err(LoadError::Contract(
                "its module has changed since the server started; restart the server".to_owned(),
            ));
        }
        let identity = Identity { key, encoding: Encoding::of(&module)? };
        Ok((module.into_owned(), identity))
    }

    /// Looks for the module in the cache.
    fn find(&self, Identity { key, encoding }: Identity) -> Result<Option<Guest>, LoadError> {
        let Loader { engine, cache, .. } = &*self.loader;
        let Some(artefact) = cache.artefact(&key, encoding) else { return Ok(None) };
        match Guest::revive(engine, &artefact) {
            // Code that is whole and yet no use is of another machine or build, whatever its key says.
            Err(LoadError::Module(_)) => {
                cache.discard(&key, "it was made for another machine");
                Ok(None)
            }
            guest => guest.map(Some),
        }
    }

    /// Remembers what was compiled anew or asked for the first time.
    fn keep(&self, Identity { key, encoding }: Identity, new: Option<Artefact>, said: Option<&Description>) {
        let cache = &self.loader.cache;
        if let Some(artefact) = new.or_else(|| cache.artefact(&key, encoding)) {
            cache.put(&key, &artefact, &self.manifest.limits, said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasi::cache::ModuleCache;
    use crate::wasi::catalogue::{Catalogue, ManifestFolder};
    use crate::wasi::compiler::{CompileIn, Compiler};
    use crate::wasi::engine::Engine;

    #[tokio::test]
    async fn tools_of_one_module_share_its_machine_code_even_without_a_cache() {
        let root = tempfile::tempdir().unwrap().keep();
        let module = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
        for number in 0..3 {
            // The same bytes, whatever the file.
            std::fs::write(root.join(format!("{}.wasm", number % 2)), &module).unwrap();
            let manifest = format!(
                r#"{{"name":"t{number}","version":"1.1.0","entry":"wasm://{}.wasm","permissions":[]}}"#,
                number % 2
            );
            std::fs::write(root.join(format!("{number}.json")), manifest).unwrap();
        }
        let compiler = Compiler::new(CompileIn::Thread, std::time::Duration::from_secs(60));
        let loader = Loader::new(Engine::new().unwrap(), ModuleCache::off(), compiler);
        let folder = ManifestFolder { folder: root.clone(), root: root.clone() };
        let mut catalogue = Catalogue::read(&loader, &[folder]);
        catalogue.tools.retain(|tool| tool.manifest.name.starts_with('t'));
        catalogue.load_all().await;
        let code = |guest: Option<&Guest>| match guest {
            Some(Guest::Command(pre)) => pre.module().image_range(),
            _ => panic!("it is a command"),
        };
        let places: Vec<_> = catalogue.tools.iter().map(|tool| code(tool.guest())).collect();
        assert_eq!(places.len(), 3);
        assert!(places.iter().all(|place| *place == places[0]), "compiled once: {places:?}");
        std::fs::remove_dir_all(root).unwrap();
    }
}
