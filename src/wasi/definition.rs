//! What clients are told about a tool, and where that comes from: the manifest's words beat the tool's own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::contract::bindings::FileToolPre;
use super::contract::bindings::nurones::tool::types::Hints;
use super::engine::Engine;
use super::error::{Fault, LoadError};
use super::executor::Executor;
use super::manifest::{Manifest, Permissions};
use super::schema::{self, LazyValidator};
use super::store::{Sandbox, ToolState};
use super::warm::WarmInstance;
use crate::pins::{Annotations, Face};

/// Time a tool has to describe itself, instantiation included.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(1);

/// What a tool says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Description {
    /// For the model that chooses among tools.
    pub text: String,
    /// JSON Schema of the arguments; its root is an object.
    pub input_schema: Map<String, Value>,
    /// The tool changes nothing.
    pub read_only: bool,
    /// The tool may overwrite or remove.
    pub destructive: bool,
    /// Repeating a call changes nothing more.
    pub idempotent: bool,
    /// The tool talks to things outside its sandbox.
    pub open_world: bool,
}

impl Description {
    /// Asks the tool in a Store of its own, without any files, under the manifest's limits.
    ///
    /// # Errors
    /// When it fails, takes longer than a second, or describes a schema that is none.
    pub fn ask(engine: &Engine, pre: &FileToolPre<ToolState>, manifest: &Manifest) -> Result<Self, LoadError> {
        let sandbox = Sandbox::without_files(manifest);
        let no_executor = |error: std::io::Error| LoadError::Contract(format!("cannot start an executor: {error}"));
        let executor = Executor::new().map_err(no_executor)?;
        let _running = engine.running();
        let said = executor
            .run(Instant::now() + DESCRIBE_DEADLINE, async {
                WarmInstance::instantiate(engine, pre, &sandbox).await?.describe().await
            })
            .unwrap_or_else(|_| Err(Fault::deadline(DESCRIBE_DEADLINE, false)))
            .map_err(LoadError::Describe)?;
        Ok(Self {
            input_schema: parse_schema(&said.input_schema)?,
            text: said.text,
            read_only: said.hints.contains(Hints::READ_ONLY),
            destructive: said.hints.contains(Hints::DESTRUCTIVE),
            idempotent: said.hints.contains(Hints::IDEMPOTENT),
            open_world: said.hints.contains(Hints::OPEN_WORLD),
        })
    }

    /// What can be said of a command, which cannot describe itself, or of a tool that has not yet been asked.
    fn by_permissions(permissions: Permissions) -> Self {
        Self {
            text: String::new(),
            input_schema: schema::any_object(),
            read_only: !permissions.write,
            destructive: permissions.write,
            idempotent: !permissions.write,
            open_world: false,
        }
    }
}

fn parse_schema(text: &str) -> Result<Map<String, Value>, LoadError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(schema)) if schema.get("type").and_then(Value::as_str) == Some("object") => {
            // Checked here, so that what is remembered of a tool is known to be usable.
            let unusable = |error| LoadError::Contract(format!("its input schema is unusable: {error}"));
            schema::compile(&schema).map_err(unusable)?;
            Ok(schema)
        }
        _ => Err(LoadError::Contract(
            r#"its input schema must be a JSON object with "type": "object" at its root"#.to_owned(),
        )),
    }
}

/// What clients are told about a tool.
#[derive(Debug)]
pub struct Definition {
    /// For the model that chooses among tools.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Arc<Map<String, Value>>,
    /// The schema, to be asked.
    pub validator: LazyValidator,
    /// The tool changes nothing.
    pub read_only: bool,
    /// The tool may overwrite or remove.
    pub destructive: bool,
    /// Repeating a call changes nothing more.
    pub idempotent: bool,
    /// The tool talks to things outside its sandbox.
    pub open_world: bool,
}

impl Definition {
    /// The definition of the tool of `manifest`; `said` is what it says of itself, if it can or could.
    pub fn new(manifest: &Manifest, said: Option<Description>) -> Self {
        let permissions = manifest.permissions;
        let said = said.unwrap_or_else(|| Description::by_permissions(permissions));
        let input_schema = Arc::new(manifest.input_schema.clone().unwrap_or(said.input_schema));
        Self {
            description: manifest.description.clone().unwrap_or(said.text),
            validator: LazyValidator::new(Arc::clone(&input_schema)),
            input_schema,
            // A hint cannot promise more than the manifest's permissions allow.
            read_only: said.read_only && !permissions.write,
            destructive: said.destructive && permissions.write,
            idempotent: said.idempotent,
            open_world: said.open_world,
        }
    }

    /// What clients saw when it was accepted, and are to see again.
    pub fn accepted(face: &Face) -> Self {
        let input_schema = Arc::new(face.input_schema.clone());
        Self {
            description: face.description.clone(),
            validator: LazyValidator::new(Arc::clone(&input_schema)),
            input_schema,
            read_only: face.annotations.read_only_hint,
            destructive: face.annotations.destructive_hint,
            idempotent: face.annotations.idempotent_hint,
            open_world: face.annotations.open_world_hint,
        }
    }

    /// What clients see of it under its published name.
    pub fn face(&self, published: String) -> Face {
        Face {
            name: published,
            description: self.description.clone(),
            input_schema: Map::clone(&self.input_schema),
            annotations: Annotations {
                read_only_hint: self.read_only,
                destructive_hint: self.destructive,
                idempotent_hint: self.idempotent,
                open_world_hint: self.open_world,
            },
        }
    }
}
