//! Every tool the server can run, and every manifest it had to refuse, with the reason.
//!
//! The two fs tools are inside the binary; manifests add to them or replace them by name. One bad manifest or module
//! never keeps the others from serving.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::contract::bindings::nurones::tool::types::{Description, Hints};
use super::engine::Engine;
use super::error::{Fault, LoadError};
use super::executor::Executor;
use super::guest::Guest;
use super::manifest::{Entry, Isolation, Manifest, Permissions, published_name};
use super::schema;
use super::store::Sandbox;
use super::warm::WarmInstance;

/// Time a tool has to describe itself, instantiation included.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(1);

/// Manifest and module of the tools inside the binary.
const EMBEDDED: [(&str, &str, &[u8]); 2] = [
    (
        "<embedded>/fs-read",
        include_str!("../../.mcp/tools/fs-read.json"),
        include_bytes!("../../tools/prebuilt/fs-read.wasm"),
    ),
    (
        "<embedded>/fs-write",
        include_str!("../../.mcp/tools/fs-write.json"),
        include_bytes!("../../tools/prebuilt/fs-write.wasm"),
    ),
];

/// A folder of manifests: every `*.json` in it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFolder {
    /// The folder.
    pub folder: PathBuf,
    /// Where relative `entry` paths of its manifests start.
    pub root: PathBuf,
}

/// A tool that is ready to be given workers.
pub struct Loaded {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its compiled module.
    pub guest: Guest,
    /// What clients are told about it.
    pub definition: Definition,
    /// Whether its code is one of the embedded guests, which may do file operations on the worker's own thread.
    pub trusted_io: bool,
}

impl Loaded {
    /// Whether its instances outlive a call; a command's never do.
    pub fn is_warm(&self) -> bool {
        matches!(self.guest, Guest::Tool(_)) && self.manifest.isolation == Isolation::Warm
    }
}

/// What clients are told about a tool.
#[derive(Debug)]
pub struct Definition {
    /// For the model that chooses among tools.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Map<String, Value>,
    /// The schema, compiled.
    pub validator: Validator,
    /// The tool changes nothing.
    pub read_only: bool,
    /// The tool may overwrite or remove.
    pub destructive: bool,
    /// Repeating a call changes nothing more.
    pub idempotent: bool,
    /// The tool talks to things outside its sandbox.
    pub open_world: bool,
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
    /// What is served.
    pub tools: Vec<Loaded>,
    /// What is not.
    pub refused: Vec<Refused>,
}

impl Catalogue {
    /// Loads the embedded tools and all of `folders`, compiling on as many threads as there are tools to compile.
    pub fn load(engine: &Engine, folders: &[ManifestFolder]) -> Self {
        let mut refused = Vec::new();
        let manifests = gather(folders, &mut refused);
        let results: Vec<(PathBuf, Result<Loaded, LoadError>)> = std::thread::scope(|scope| {
            let loading: Vec<_> = manifests
                .into_values()
                .map(|manifest| (manifest.source.clone(), scope.spawn(move || load(engine, manifest))))
                .collect();
            loading
                .into_iter()
                .map(|(source, thread)| {
                    let panicked = |_| Err(LoadError::Module("loading it panicked".to_owned()));
                    (source, thread.join().unwrap_or_else(panicked))
                })
                .collect()
        });
        let mut tools = Vec::new();
        for (source, result) in results {
            match result {
                Ok(loaded) => tools.push(loaded),
                Err(error) => refused.push(Refused { source, error }),
            }
        }
        Self { tools, refused }
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
    for manifest in embedded().filter(|manifest| !spoilt.contains(&manifest.published_name())) {
        manifests.entry(manifest.published_name()).or_insert(manifest);
    }
    manifests
}

fn embedded() -> impl Iterator<Item = Manifest> {
    EMBEDDED.iter().map(|(source, text, module)| {
        let mut manifest = Manifest::parse(text, Path::new(source), Path::new("<embedded>"))
            .expect("the embedded manifests are part of the build and tested");
        manifest.entry = Entry::Embedded(module);
        manifest
    })
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
            let error = LoadError::Read { path: folder.folder.clone(), source };
            refused.push(Refused { source: folder.folder.clone(), error });
            Vec::new()
        }
    }
}

fn load(engine: &Engine, manifest: Manifest) -> Result<Loaded, LoadError> {
    let bytes = match &manifest.entry {
        Entry::Embedded(bytes) => std::borrow::Cow::Borrowed(*bytes),
        Entry::File(path) => {
            std::fs::read(path).map_err(|source| LoadError::Read { path: path.clone(), source })?.into()
        }
    };
    let guest = Guest::compile(engine, &bytes)?;
    let definition = define(engine, &guest, &manifest)?;
    let trusted_io = EMBEDDED.iter().any(|(_, _, embedded)| **embedded == *bytes);
    Ok(Loaded { manifest, guest, definition, trusted_io })
}

/// The manifest's words beat the tool's own.
fn define(engine: &Engine, guest: &Guest, manifest: &Manifest) -> Result<Definition, LoadError> {
    let said = match guest {
        Guest::Tool(pre) => Some(describe(engine, pre, manifest)?),
        Guest::Command(_) => None,
    };
    let hints = said.as_ref().map_or_else(|| hints_of(manifest.permissions), |said| said.hints);
    let input_schema = match (&manifest.input_schema, &said) {
        (Some(schema), _) => schema.clone(),
        (None, Some(said)) => parse_schema(&said.input_schema)?,
        (None, None) => schema::any_object(),
    };
    let validator = schema::compile(&input_schema)
        .map_err(|error| LoadError::Contract(format!("its input schema is unusable: {error}")))?;
    Ok(Definition {
        description: manifest.description.clone().or(said.map(|said| said.text)).unwrap_or_default(),
        input_schema,
        validator,
        // A hint cannot promise more than the manifest's permissions allow.
        read_only: hints.contains(Hints::READ_ONLY) && !manifest.permissions.write,
        destructive: hints.contains(Hints::DESTRUCTIVE) && manifest.permissions.write,
        idempotent: hints.contains(Hints::IDEMPOTENT),
        open_world: hints.contains(Hints::OPEN_WORLD),
    })
}

/// What can be said of a command, which cannot describe itself.
fn hints_of(permissions: Permissions) -> Hints {
    if permissions.write { Hints::DESTRUCTIVE } else { Hints::READ_ONLY | Hints::IDEMPOTENT }
}

fn parse_schema(text: &str) -> Result<Map<String, Value>, LoadError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(schema)) if schema.get("type").and_then(Value::as_str) == Some("object") => Ok(schema),
        _ => Err(LoadError::Contract(
            r#"its input schema must be a JSON object with "type": "object" at its root"#.to_owned(),
        )),
    }
}

/// Asks the tool in a Store of its own, without any files.
fn describe(
    engine: &Engine,
    pre: &super::contract::bindings::FileToolPre<super::store::ToolState>,
    manifest: &Manifest,
) -> Result<Description, LoadError> {
    let sandbox = Sandbox {
        tool: manifest.name.as_str().into(),
        policy: Default::default(),
        permissions: Permissions::default(),
        limits: manifest.limits.clone().into(),
        blocking_io: false,
    };
    let no_executor = |error: std::io::Error| LoadError::Contract(format!("cannot start an executor: {error}"));
    let executor = Executor::new().map_err(no_executor)?;
    let _running = engine.running();
    executor
        .run(Instant::now() + DESCRIBE_DEADLINE, async {
            WarmInstance::instantiate(engine, pre, &sandbox).await?.describe().await
        })
        .unwrap_or_else(|_| Err(Fault::deadline(DESCRIBE_DEADLINE.as_millis())))
        .map_err(LoadError::Describe)
}
