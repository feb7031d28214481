//! Modules as they are seen at the start: read, told apart and looked into, but not compiled.
//!
//! A file is read once, and a module looked into once, however many tools are made of it; a catalogue of a thousand
//! tools may have one module.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::anatomy::Anatomy;
use super::cache_key::CacheKey;
use super::definition::Description;
use super::error::LoadError;
use super::guest::{GuestKind, MODULE_BYTES};
use super::limits::Limits;
use super::loader::Loader;
use super::manifest::{Entry, Manifest};
use super::regular_file;
use crate::pins::Fingerprint;

/// Threads that read modules; more would only wait for the same disk.
const MOST_THREADS: usize = 4;

/// Files for which a thread of its own is worth its while.
const FEWEST_PER_THREAD: usize = 16;

/// What is known of the module of one tool.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// What the module is.
    pub kind: GuestKind,
    /// Whether it is one of the modules inside this program.
    pub is_own: bool,
    /// The module's key; embedded modules do not change and have none here.
    pub key: Option<CacheKey>,
    /// The module's own, if tools are told apart by it.
    pub fingerprint: Option<Fingerprint>,
    /// What the tool says of itself, if that is known already.
    pub said: Option<Description>,
}

impl Sighting {
    /// Whether it is known what the tool says of itself; a command says nothing.
    pub fn is_described(&self) -> bool {
        self.said.is_some() || self.kind == GuestKind::Command
    }
}

/// See the module documentation.
pub struct Sightings<'a> {
    loader: &'a Loader,
    /// The modules inside this program, with what they say of themselves.
    own: Vec<(&'static [u8], Description)>,
    files: HashMap<PathBuf, Result<Sighting, LoadError>>,
    with_fingerprints: bool,
    /// By module and limits: a few for each.
    said: HashMap<CacheKey, Vec<(Limits, Option<Description>)>>,
}

/// What screening has found, by module; the second of two threads with the same module waits for the first.
type Screened = Mutex<HashMap<CacheKey, Arc<OnceLock<Result<(), LoadError>>>>>;

impl<'a> Sightings<'a> {
    /// Reads the modules of `manifests`, on a few threads if there are many; `with_fingerprints` if somebody asks for those.
    pub fn new(
        loader: &'a Loader,
        own: Vec<(&'static [u8], Description)>,
        manifests: &BTreeMap<String, Manifest>,
        with_fingerprints: bool,
    ) -> Self {
        let paths: BTreeSet<&Path> = manifests.values().filter_map(path_of).collect();
        let paths: Vec<&Path> = paths.into_iter().collect();
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_THREADS);
        let share = paths.len().div_ceil(cores).max(FEWEST_PER_THREAD);
        let screened = Screened::default();
        let read = |share: &[&Path]| {
            let mut bytes = Vec::new();
            let mut see = |path: &Path| see(path, &mut bytes, loader, &own, &screened, with_fingerprints);
            share.iter().map(|path| (path.to_path_buf(), see(path))).collect::<Vec<_>>()
        };
        let files = std::thread::scope(|scope| {
            let mut shares = paths.chunks(share);
            let mine = shares.next().unwrap_or_default();
            let others: Vec<_> = shares.map(|share| scope.spawn(move || read(share))).collect();
            let mut files: HashMap<_, _> = read(mine).into_iter().collect();
            for other in others {
                // A panic there is a bug like any other here.
                files.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            files
        });
        Self { loader, own, files, with_fingerprints, said: HashMap::new() }
    }

    /// What is known of the module of `manifest`, which was among those that were read.
    ///
    /// # Errors
    /// What is wrong with it, as far as that can be seen.
    pub fn of(&mut self, manifest: &Manifest) -> Result<Sighting, LoadError> {
        let mut sighting = match &manifest.entry {
            Entry::Embedded(module) => {
                let fingerprint = self.with_fingerprints.then(|| Fingerprint::of(module));
                Sighting { fingerprint, ..look(module, &self.own)? }
            }
            Entry::File(path) => self.files.get(path).expect("every file was read").clone()?,
        };
        if let (None, Some(key)) = (&sighting.said, &sighting.key) {
            sighting.said = self.remembered(key, &manifest.limits);
        }
        Ok(sighting)
    }

    /// What the cache knows of the module under these limits.
    fn remembered(&mut self, key: &CacheKey, limits: &Limits) -> Option<Description> {
        let known = self.said.entry(*key).or_default();
        if let Some((_, said)) = known.iter().find(|(under, _)| under == limits) {
            return said.clone();
        }
        let said = self.loader.cache.description(key, limits);
        known.push((limits.clone(), said.clone()));
        said
    }
}

fn path_of(manifest: &Manifest) -> Option<&Path> {
    match &manifest.entry {
        Entry::File(path) => Some(path),
        Entry::Embedded(_) => None,
    }
}

/// Reads a file into `bytes`, which are used again, and looks at it.
fn see(
    path: &Path,
    bytes: &mut Vec<u8>,
    loader: &Loader,
    own: &[(&'static [u8], Description)],
    screened: &Screened,
    with_fingerprint: bool,
) -> Result<Sighting, LoadError> {
    regular_file::read_into(path, MODULE_BYTES, bytes)?;
    let mut sighting = look(bytes, own)?;
    let key = if with_fingerprint {
        let (key, fingerprint) = CacheKey::with_fingerprint(loader.engine.raw(), bytes);
        sighting.fingerprint = Some(fingerprint);
        key
    } else {
        CacheKey::new(loader.engine.raw(), bytes)
    };
    if !sighting.is_own && !loader.cache.has(&key) {
        let verdict = Arc::clone(screened.lock().entry(key).or_default());
        verdict.get_or_init(|| Anatomy::read(bytes)?.screen(&loader.engine, bytes)).clone()?;
    }
    sighting.key = Some(key);
    Ok(sighting)
}

fn look(module: &[u8], own: &[(&'static [u8], Description)]) -> Result<Sighting, LoadError> {
    let kind = GuestKind::of(module)?;
    let own = own.iter().find(|(bytes, _)| *bytes == module);
    Ok(Sighting { kind, is_own: own.is_some(), key: None, fingerprint: None, said: own.map(|(_, said)| said.clone()) })
}
