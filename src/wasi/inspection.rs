//! A close look at one module: what it is, what it would need, how fast it is, and why it would be refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::anatomy::Anatomy;
use super::command;
use super::compiler::Turn;
use super::definition::{Definition, Description};
use super::error::{Fault, LoadError};
use super::executor::Executor;
use super::guest::{Guest, GuestKind};
use super::loader::{self, Loader};
use super::manifest::Manifest;
use super::store::Sandbox;
use super::vetting;
use super::warm::WarmInstance;
use crate::pins::Fingerprint;

/// Instances built, and calls made, for one timing; the median counts.
const ROUNDS: usize = 21;

/// Time for all that, and for a single one.
const DEADLINE: Duration = Duration::from_secs(5);

/// See the module documentation.
#[derive(Debug)]
pub struct Inspection {
    /// Size of the module, if it can be read.
    pub bytes: Option<usize>,
    /// Its SHA-256.
    pub sha256: Option<Fingerprint>,
    /// Its imports and exports, if they can be read.
    pub anatomy: Option<Anatomy>,
    /// What came of compiling and trying it.
    pub verdict: Result<Trial, LoadError>,
}

/// A module that can be served.
#[derive(Debug)]
pub struct Trial {
    /// What clients would be told.
    pub definition: Definition,
    /// How long it took.
    pub timing: Timing,
}

/// Cold and warm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From module to machine code, in a process of its own.
    pub compile: Duration,
    /// From machine code, as the cache keeps it, to a guest.
    pub load: Duration,
    /// From guest to an instance in a Store of its own; the median of several.
    pub instantiate: Duration,
    /// A call into a warm instance that does nothing but say what the tool is; the median of several.
    pub describe: Option<Duration>,
}

impl Inspection {
    /// Looks at the module of `manifest`. Nothing of it is granted any file.
    pub async fn of(loader: &Arc<Loader>, manifest: &Manifest) -> Self {
        let module = match loader::read_module(manifest) {
            Ok(module) => module,
            Err(error) => return Self { bytes: None, sha256: None, anatomy: None, verdict: Err(error) },
        };
        let (bytes, fingerprint) = (Some(module.len()), Fingerprint::of(&module));
        let sha256 = Some(fingerprint);
        let anatomy = match Anatomy::read(&module) {
            Ok(anatomy) => anatomy,
            Err(error) => return Self { bytes, sha256, anatomy: None, verdict: Err(error) },
        };
        let fit = vetting::as_wanted(manifest, &fingerprint).and_then(|()| anatomy.screen(&loader.engine, &module));
        let verdict = match fit {
            Ok(()) => try_out(loader, manifest, module.into_owned()).await,
            Err(error) => Err(error),
        };
        Self { bytes, sha256, anatomy: Some(anatomy), verdict }
    }
}

/// What a module with these imports could use, as a person would say it.
pub fn needs(anatomy: &Anatomy) -> Vec<&'static str> {
    const P1_READS: [&str; 4] = ["path_open", "fd_readdir", "path_filestat_get", "path_readlink"];
    const P1_WRITES: [&str; 6] = [
        "path_create_directory",
        "path_remove_directory",
        "path_rename",
        "path_unlink_file",
        "path_symlink",
        "fd_filestat_set_size",
    ];
    let imports = |wanted: &str| anatomy.imports.iter().any(|import| import.contains(wanted));
    let p1 = |names: &[&str]| names.iter().any(|name| imports(&format!("wasi_snapshot_preview1.{name}")));
    let mut needs = Vec::new();
    match anatomy.kind {
        GuestKind::Command if p1(&P1_WRITES) => needs.push("read or write: it imports functions that change files"),
        GuestKind::Command if p1(&P1_READS) => needs.push("read: it imports functions that open files"),
        GuestKind::Tool if imports("nurones:tool/files") => {
            needs.push("read or write: it imports nurones:tool/files, for replacing files");
        }
        GuestKind::Tool if imports("wasi:filesystem/types") => {
            needs.push("read, or write if it changes files: it imports wasi:filesystem");
        }
        _ => needs.push("none: it imports nothing that opens files"),
    }
    if imports("wasi:sockets") || p1(&["sock_"]) {
        needs.push("network: no tool is granted it in this version");
    }
    needs
}

async fn try_out(loader: &Arc<Loader>, manifest: &Manifest, module: Vec<u8>) -> Result<Trial, LoadError> {
    let began = Instant::now();
    let artefact = loader.compiler.compile(&loader.engine, module, loader.compiler.place(&Turn::Now).await).await?;
    let compile = began.elapsed();
    let (loader, manifest) = (Arc::clone(loader), manifest.clone());
    let tried = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        let guest = Guest::revive(&loader.engine, &artefact)?;
        let load = began.elapsed();
        let said = match &guest {
            Guest::Tool(pre) => Some(Description::ask(&loader.engine, pre, &manifest)?),
            Guest::Command(_) => None,
        };
        let (instantiate, describe) = time(&loader, &guest, &manifest).map_err(LoadError::Describe)?;
        let definition = Definition::new(&manifest, said);
        Ok(Trial { definition, timing: Timing { compile, load, instantiate, describe } })
    });
    tried.await.unwrap_or_else(|_| Err(LoadError::Module("trying it panicked".to_owned())))
}

/// Builds instances, and calls `describe` of a warm one if it has one.
fn time(loader: &Loader, guest: &Guest, manifest: &Manifest) -> Result<(Duration, Option<Duration>), Fault> {
    let sandbox = Sandbox::without_files(manifest);
    let engine = &loader.engine;
    let executor = Executor::new().map_err(|_| Fault::deadline(DEADLINE, false))?;
    let _running = engine.running();
    let timed = executor.run(Instant::now() + DEADLINE, async {
        let (mut built, mut called) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let began = Instant::now();
            match guest {
                Guest::Command(pre) => {
                    command::instantiate(engine, pre, &sandbox).await?;
                    built.push(began.elapsed());
                }
                Guest::Tool(pre) => {
                    let mut instance = WarmInstance::instantiate(engine, pre, &sandbox).await?;
                    built.push(began.elapsed());
                    // The first call of an instance also builds what the guest builds once.
                    instance.describe().await?;
                    let began = Instant::now();
                    instance.describe().await?;
                    called.push(began.elapsed());
                }
            }
        }
        Ok((median(built).unwrap_or_default(), median(called)))
    });
    timed.unwrap_or_else(|_| Err(Fault::deadline(DEADLINE, false)))
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_read_from_imports() {
        let with = |kind, imports: &[&str]| Anatomy {
            kind,
            imports: imports.iter().map(|import| (*import).to_owned()).collect(),
            exports: Vec::new(),
        };
        let said = |kind, imports| needs(&with(kind, imports)).join("; ");
        assert!(said(GuestKind::Command, &["wasi_snapshot_preview1.fd_write"]).starts_with("none"));
        assert!(said(GuestKind::Command, &["wasi_snapshot_preview1.path_open"]).starts_with("read:"));
        let both = ["wasi_snapshot_preview1.path_open", "wasi_snapshot_preview1.path_rename"];
        assert!(said(GuestKind::Command, &both).starts_with("read or write"));
        assert!(said(GuestKind::Tool, &["wasi:cli/stdin@0.2.6"]).starts_with("none"));
        assert!(said(GuestKind::Tool, &["wasi:filesystem/types@0.2.6"]).starts_with("read, or write"));
        assert!(said(GuestKind::Tool, &["wasi:sockets/tcp@0.2.0"]).contains("network"));
    }
}
