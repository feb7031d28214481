//! A tool of the catalogue: known to clients at once, compiled when it is first needed.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, SetOnce};
use tokio_util::sync::CancellationToken;

use super::cache_key::CacheKey;
use super::definition::Definition;
use super::error::LoadError;
use super::guest::{Guest, GuestKind};
use super::loader::{self, Loader};
use super::manifest::{Isolation, Manifest};
use super::sightings::Sighting;
use super::vetting;
use crate::pins::{Face, Fingerprint};

/// See the module documentation.
pub struct LazyTool {
    /// Its manifest.
    pub manifest: Manifest,
    /// What its module is.
    pub kind: GuestKind,
    /// Whether its code is one of the embedded guests, which may do file operations on the worker's own thread.
    pub trusted_io: bool,
    /// Its module's own, if tools are told apart by it.
    pub fingerprint: Option<Fingerprint>,
    loader: Arc<Loader>,
    /// The module's key at the start; embedded modules do not change.
    key: Option<CacheKey>,
    /// What can be said before a tool that nobody has asked yet has been asked.
    provisional: Option<Definition>,
    described: OnceLock<Definition>,
    /// What clients saw when it was accepted. What it says of itself must come to the same.
    accepted: Option<Face>,
    begun: AtomicBool,
    /// Cancelled once somebody waits for the guest.
    wanted: CancellationToken,
    /// The compiler could not do its work.
    gave_up: Notify,
    guest: SetOnce<Result<Guest, LoadError>>,
}

/// Why there is no guest.
#[derive(Debug, Clone, Copy)]
pub enum NotReady<'a> {
    /// The module cannot be served; that does not change any more.
    Refused(&'a LoadError),
    /// The compiler could not do its work; it may succeed another time.
    NotNow,
}

impl LazyTool {
    /// The tool that `manifest` makes of the module of this sighting; `accepted` as that, if there is a lock.
    pub fn new(loader: &Arc<Loader>, manifest: Manifest, sighting: Sighting, accepted: Option<Face>) -> Self {
        let is_described = sighting.is_described();
        let Sighting { kind, is_own, key, fingerprint, said } = sighting;
        let definition = match &accepted {
            // Nothing is shown of it that was not accepted, not even until it has been asked.
            Some(face) if !is_described => Definition::accepted(face),
            _ => Definition::new(&manifest, said),
        };
        let (described, provisional) = match is_described {
            true => (OnceLock::from(definition), None),
            false => (OnceLock::new(), Some(definition)),
        };
        Self {
            trusted_io: is_own,
            manifest,
            kind,
            fingerprint,
            loader: Arc::clone(loader),
            key,
            provisional,
            described,
            accepted,
            begun: AtomicBool::new(false),
            wanted: CancellationToken::new(),
            gave_up: Notify::new(),
            guest: SetOnce::new(),
        }
    }

    /// The same, if it is known from the start that it cannot be served: nothing of it is compiled, and whoever calls it is
    /// told why.
    pub fn refused(loader: &Arc<Loader>, manifest: Manifest, sighting: Sighting, why: LoadError) -> Self {
        Self {
            begun: AtomicBool::new(true),
            guest: SetOnce::new_with(Some(Err(why))),
            ..Self::new(loader, manifest, sighting, None)
        }
    }

    /// What clients are told about it. It may change once, when the tool has been asked.
    pub fn definition(&self) -> &Definition {
        let known = self.described.get().or(self.provisional.as_ref());
        known.expect("what is not described has a provisional definition")
    }

    /// Whether nothing about it can change any more, its refusal apart.
    pub fn is_described(&self) -> bool {
        self.described.get().is_some()
    }

    /// Whether its instances outlive a call; a command's never do.
    pub fn is_warm(&self) -> bool {
        self.kind == GuestKind::Tool && self.manifest.isolation == Isolation::Warm
    }

    /// The guest, if it is compiled.
    pub fn guest(&self) -> Option<&Guest> {
        self.guest.get()?.as_ref().ok()
    }

    /// Why it turned out that it cannot be served.
    pub fn refusal(&self) -> Option<&LoadError> {
        self.guest.get()?.as_ref().err()
    }

    /// Begins to load it, if nobody has. Needs the control plane's runtime.
    pub fn begin(self: &Arc<Self>) {
        if self.begun.swap(true, Ordering::SeqCst) {
            return;
        }
        let tool = Arc::clone(self);
        tokio::spawn(async move {
            let (manifest, wanted) = (tool.manifest.clone(), tool.wanted.clone());
            let (loader, key, ask) = (Arc::clone(&tool.loader), tool.key, !tool.is_described());
            if !ask && wanted.is_cancelled() {
                // Its first call will need the schema as soon as the module is there.
                let tool = Arc::clone(&tool);
                tokio::task::spawn_blocking(move || tool.definition().validator.prepare());
            }
            // A task of its own, as somebody waits for its outcome even if it panics.
            let loading = tokio::spawn(async move { loader.load(manifest, key, ask, wanted).await });
            match loading.await.unwrap_or_else(|_| Err(LoadError::Module("loading it panicked".to_owned()))) {
                Err(error @ LoadError::NotNow(_)) => tool.give_up_for_now(&error),
                loaded => tool.settle(loaded),
            }
        });
    }

    /// The guest, once it is there; loading begins with the first who asks.
    ///
    /// # Errors
    /// Why it cannot be served, now or ever.
    pub async fn ready(self: &Arc<Self>) -> Result<&Guest, NotReady<'_>> {
        self.wanted.cancel();
        // Registered before it begins, so that its failure is not missed.
        let mut gave_up = pin!(self.gave_up.notified());
        gave_up.as_mut().enable();
        self.begin();
        tokio::select! {
            biased;
            guest = self.guest.wait() => guest.as_ref().map_err(NotReady::Refused),
            () = gave_up => Err(NotReady::NotNow),
        }
    }

    /// The next who asks begins anew.
    fn give_up_for_now(&self, error: &LoadError) {
        tracing::warn!(tool = self.manifest.name, "{error}; the next call tries again");
        self.begun.store(false, Ordering::SeqCst);
        self.gave_up.notify_waiters();
    }

    fn settle(&self, loaded: Result<loader::Described, LoadError>) {
        let settled = loaded.and_then(|(guest, definition)| {
            if let Some(definition) = definition {
                if let Some(accepted) = &self.accepted {
                    vetting::same_face(accepted, &definition.face(self.manifest.published_name()))?;
                }
                // Set once: by the only task that loads.
                let _ = self.described.set(definition);
            }
            Ok(guest)
        });
        // What was accepted was in the list all along.
        let changed = settled.is_err() || self.provisional.is_some() && self.accepted.is_none();
        // Set once: by the only task that loads.
        let _ = self.guest.set(settled);
        if changed {
            self.loader.changed();
        }
    }
}
