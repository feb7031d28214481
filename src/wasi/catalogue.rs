//! Every tool the server can run, and every manifest it had to refuse, with the reason.
//!
//! The two fs tools are inside the binary; manifests add to them or replace them by name. One bad manifest or module
//! never keeps the others from serving. Nothing is compiled here: see [`LazyTool`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::definition::Description;
use super::error::LoadError;
use super::lazy_tool::LazyTool;
use super::loader::Loader;
use super::manifest::{Entry, Manifest, published_name};
use super::sightings::Sightings;
use super::vetting;
use crate::pins::Pins;

/// A tool inside the binary.
struct Embedded {
    source: &'static str,
    manifest: &'static str,
    module: &'static [u8],
    /// What the module says of itself, so that the list of tools needs no compiler even on the first start.
    description: &'static str,
}

const EMBEDDED: [Embedded; 2] = [
    Embedded {
        source: "<embedded>/fs-read",
        manifest: include_str!("../../.mcp/tools/fs-read.json"),
        module: include_bytes!("../../tools/prebuilt/fs-read.wasm"),
        description: include_str!("../../tools/prebuilt/fs-read.description.json"),
    },
    Embedded {
        source: "<embedded>/fs-write",
        manifest: include_str!("../../.mcp/tools/fs-write.json"),
        module: include_bytes!("../../tools/prebuilt/fs-write.wasm"),
        description: include_str!("../../tools/prebuilt/fs-write.description.json"),
    },
];

/// A folder of manifests: every `*.json` in it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFolder {
    /// The folder.
    pub folder: PathBuf,
    /// Where relative `entry` paths of its manifests start.
    pub root: PathBuf,
}

/// A manifest that is not served, and why.
#[derive(Debug)]
pub struct Refused {
    /// The manifest.
    pub source: PathBuf,
    /// The reason.
    pub error: LoadError,
}

/// See the module documentation. Tools are in order of their published names.
#[derive(Default)]
pub struct Catalogue {
    /// What is served, as far as can be seen without compiling it.
    pub tools: Vec<Arc<LazyTool>>,
    /// What is not.
    pub refused: Vec<Refused>,
}

impl Catalogue {
    /// Reads the embedded tools and all of `folders`, as if everything in them had been accepted.
    pub fn read(loader: &Arc<Loader>, folders: &[ManifestFolder]) -> Self {
        Self::read_pinned(loader, folders, &Pins::default())
    }

    /// Reads the embedded tools and all of `folders`. What `pins` does not accept is there, and refused.
    pub fn read_pinned(loader: &Arc<Loader>, folders: &[ManifestFolder], pins: &Pins) -> Self {
        Self::read_with(loader, folders, pins, pins.are_any())
    }

    /// The same with the fingerprint of every module, for whoever writes a lock.
    pub fn read_locking(loader: &Arc<Loader>, folders: &[ManifestFolder], pins: &Pins) -> Self {
        Self::read_with(loader, folders, pins, true)
    }

    fn read_with(loader: &Arc<Loader>, folders: &[ManifestFolder], pins: &Pins, with_fingerprints: bool) -> Self {
        let mut catalogue = Self::default();
        let own = EMBEDDED.iter().map(|tool| (tool.module, tool.description())).collect();
        let manifests = gather(folders, &mut catalogue.refused);
        let with_fingerprints = with_fingerprints || manifests.values().any(|manifest| manifest.sha256.is_some());
        let mut sightings = Sightings::new(loader, own, &manifests, with_fingerprints);
        for manifest in manifests.into_values() {
            let source = manifest.source.clone();
            match sightings.of(&manifest) {
                Ok(sighting) => catalogue.tools.push(Arc::new(match vetting::vet(&manifest, &sighting, pins) {
                    Ok(accepted) => LazyTool::new(loader, manifest, sighting, accepted),
                    Err(why) => LazyTool::refused(loader, manifest, sighting, why),
                })),
                Err(error) => catalogue.refused.push(Refused { source, error }),
            }
        }
        catalogue
    }

    /// Waits until every tool is loaded or refused.
    pub async fn load_all(&self) {
        // All at once, not one after the other.
        self.tools.iter().for_each(LazyTool::begin);
        for tool in &self.tools {
            let _ = tool.ready().await;
        }
    }
}

impl Embedded {
    fn manifest(&self) -> Manifest {
        let mut manifest = Manifest::parse(self.manifest, Path::new(self.source), Path::new("<embedded>"))
            .expect("the embedded manifests are part of the build and tested");
        manifest.entry = Entry::Embedded(self.module);
        manifest
    }

    fn description(&self) -> Description {
        serde_json::from_str(self.description).expect("the embedded descriptions are part of the build and tested")
    }
}

/// Reads every manifest, by published name. A manifest from a folder replaces an embedded one, even when it is refused:
/// whoever wrote it meant to change the tool, perhaps to narrow it. Of two from folders the second is refused.
fn gather(folders: &[ManifestFolder], refused: &mut Vec<Refused>) -> BTreeMap<String, Manifest> {
    let mut manifests: BTreeMap<String, Manifest> = BTreeMap::new();
    let mut spoilt: BTreeSet<String> = BTreeSet::new();
    for folder in folders {
        for path in manifest_files(folder, refused) {
            match Manifest::read(&path, &folder.root) {
                Ok(manifest) => {
                    let name = manifest.published_name();
                    match manifests.get(&name) {
                        Some(first) => refused.push(Refused {
                            source: path.clone(),
                            error: LoadError::DuplicateName { name, first: first.source.clone(), second: path },
                        }),
                        None => {
                            manifests.insert(name, manifest);
                        }
                    }
                }
                Err(error) => {
                    if let LoadError::Manifest { name: Some(name), .. } = &error {
                        spoilt.insert(published_name(name));
                    }
                    refused.push(Refused { source: path, error });
                }
            }
        }
    }
    for manifest in
        EMBEDDED.iter().map(Embedded::manifest).filter(|manifest| !spoilt.contains(&manifest.published_name()))
    {
        manifests.entry(manifest.published_name()).or_insert(manifest);
    }
    manifests
}

/// The `*.json` files of a folder, sorted, so that "the second of two" means the same everywhere.
fn manifest_files(folder: &ManifestFolder, refused: &mut Vec<Refused>) -> Vec<PathBuf> {
    let read = std::fs::read_dir(&folder.folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>());
    match read {
        Ok(mut paths) => {
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
            paths.sort();
            paths
        }
        Err(source) => {
            let error = LoadError::Read { path: folder.folder.clone(), source: source.into() };
            refused.push(Refused { source: folder.folder.clone(), error });
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasi::engine::Engine;
    use crate::wasi::guest::Guest;

    #[test]
    fn the_embedded_descriptions_are_what_the_guests_say() {
        let engine = Engine::new().unwrap();
        for tool in &EMBEDDED {
            let Ok(Guest::Tool(pre)) = Guest::compile(&engine, tool.module) else { panic!("{} compiles", tool.source) };
            let says = Description::ask(&engine, &pre, &tool.manifest()).unwrap();
            let text = serde_json::to_string_pretty(&says).unwrap();
            let file = format!("tools/prebuilt/{}.description.json", tool.source.trim_start_matches("<embedded>/"));
            assert_eq!(tool.description(), says, "write this into {file}:\n{text}");
        }
    }
}
