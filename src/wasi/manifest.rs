//! A tool's manifest: what it is called, where its module lies and what it may do.
//!
//! The format is the seed's (`name, version, entry, permissions, description`), plus optional limits. A manifest can
//! only narrow what the server's configuration grants.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use semver::Version;
use serde_json::{Map, Value};

use super::error::LoadError;
use super::limits::{Limits, Reuse};
use super::regular_file;
use crate::config::{RestartKind, defaults};
use crate::fields::Fields;
use crate::pins::Fingerprint;

/// The oldest manifest version that is accepted: 1.1.0 is the first that declares permissions.
const OLDEST_VERSION: Version = Version::new(1, 1, 0);

/// Bytes of a manifest; its schema is most of it.
const MANIFEST_BYTES: usize = 1 << 20;

/// What a tool may do with the allowed directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Permissions {
    /// Read every allowed directory.
    pub read: bool,
    /// Read and write the directories that are allowed for writing.
    pub write: bool,
}

impl Permissions {
    /// The permissions that remain when a ContextFrame says `read_only`.
    pub fn read_only(self) -> Self {
        Self { write: false, ..self }
    }

    /// Whether nothing is left.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// The permissions as words, for people.
    pub fn words(self) -> &'static str {
        match (self.read, self.write) {
            (true, true) => "read, write",
            (true, false) => "read",
            (false, true) => "write",
            (false, false) => "none",
        }
    }
}

/// Whether an instance outlives a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// One instance serves many calls of the same capability set.
    Warm,
    /// Every call gets a new instance.
    Fresh,
}

/// Who goes first when there is too much. What is no tool call at all goes before all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Let in as long as there is any room.
    High,
    /// Let in up to the mark where shedding begins.
    #[default]
    Normal,
    /// Let in up to the mark where shedding ends.
    Batch,
}

/// How many calls of a tool are let in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// A second, on average.
    pub per_s: f64,
    /// At once; absent means those of one second.
    pub burst: Option<u64>,
}

/// Where a tool's module comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File(PathBuf),
    /// Bytes inside this binary.
    Embedded(&'static [u8]),
}

/// A valid manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Where it was read from, for messages; embedded manifests say `<embedded>/NAME`.
    pub source: PathBuf,
    /// The tool's own name, for example `fs.read`.
    pub name: String,
    /// The tool's version.
    pub version: Version,
    /// The module.
    pub entry: Entry,
    /// What its module must be.
    pub sha256: Option<Fingerprint>,
    /// What the tool may do.
    pub permissions: Permissions,
    /// Replaces the description the tool gives of itself.
    pub description: Option<String>,
    /// Replaces the schema the tool gives of its arguments.
    pub input_schema: Option<Map<String, Value>>,
    /// What one call may use.
    pub limits: Limits,
    /// Worker threads, each with its own Store.
    pub workers: usize,
    /// Calls that may wait in the tool's lane.
    pub queue_depth: usize,
    /// Who goes first when there is too much.
    pub priority: Priority,
    /// How many calls are let in, if that is limited.
    pub rate_limit: Option<RateLimit>,
    /// Whether instances are reused.
    pub isolation: Isolation,
    /// How long, if they are.
    pub reuse: Reuse,
    /// Which exits of its workers are followed by a successor.
    pub restart: RestartKind,
    /// Time its workers have to end when the server does; absent means the server's own.
    pub shutdown: Option<Duration>,
}

impl Manifest {
    /// Reads the manifest at `path`. Relative entries start at `root`.
    ///
    /// # Errors
    /// When the file cannot be read, is no JSON object, or has mistakes; all mistakes are in the error.
    pub fn read(path: &Path, root: &Path) -> Result<Self, LoadError> {
        let text = String::from_utf8(regular_file::read(path, MANIFEST_BYTES)?);
        let text = text.map_err(|_| LoadError::NotAnObject {
            path: path.to_owned(),
            reason: "it is not text in UTF-8".to_owned(),
        })?;
        Self::parse(&text, path, root)
    }

    /// Parses a manifest; `source` names it in messages.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn parse(text: &str, source: &Path, root: &Path) -> Result<Self, LoadError> {
        let not_an_object = |reason: String| LoadError::NotAnObject { path: source.to_owned(), reason };
        let value: Value = serde_json::from_str(text).map_err(|error| not_an_object(error.to_string()))?;
        let map = value.as_object().ok_or_else(|| not_an_object("it must be an object in { }".to_owned()))?;
        let mut fields = Fields::new("", map);
        let manifest = read_fields(&mut fields, source, root);
        fields.refuse_unknown();
        let mistakes = fields.finish();
        match manifest {
            Some(manifest) if mistakes.is_empty() => Ok(manifest),
            _ => {
                let name = map.get("name").and_then(Value::as_str).map(str::to_owned);
                Err(LoadError::Manifest { path: source.to_owned(), name, mistakes })
            }
        }
    }

    /// The name clients see: `fs.read` goes out as `fs_read`, because several clients refuse a whole tool list over
    /// one dot.
    pub fn published_name(&self) -> String {
        published_name(&self.name)
    }
}

/// `name` with every character outside `[A-Za-z0-9_-]` replaced by `_`.
pub fn published_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

fn read_fields(fields: &mut Fields<'_>, source: &Path, root: &Path) -> Option<Manifest> {
    let name = read_name(fields);
    let version = read_version(fields);
    let entry = read_entry(fields, root);
    let sha256 = read_sha256(fields);
    let permissions = read_permissions(fields);
    let description = fields.string("description").map(str::to_owned);
    let input_schema = read_schema(fields);
    let limits = read_limits(fields);
    let workers = fields.integer("workers", 1..=64).unwrap_or(defaults::WORKERS);
    let queue_depth = fields.integer("queue_depth", 1..=65_536).unwrap_or(defaults::QUEUE_DEPTH);
    let priority = read_priority(fields);
    let rate_limit = read_rate_limit(fields);
    let isolation = read_isolation(fields);
    let reuse = read_reuse(fields, &limits);
    let restart = read_restart(fields);
    let shutdown = fields.integer("shutdown_ms", 1..=60_000).map(Duration::from_millis);
    Some(Manifest {
        source: source.to_owned(),
        name: name?,
        version: version?,
        entry: entry?,
        sha256,
        permissions: permissions?,
        description,
        input_schema,
        limits,
        workers: workers as usize,
        queue_depth: queue_depth as usize,
        priority,
        rate_limit,
        isolation,
        reuse,
        restart,
        shutdown,
    })
}

fn read_name(fields: &mut Fields<'_>) -> Option<String> {
    let name = fields.required_string("name")?;
    let well_formed = name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if !well_formed {
        fields.mistake("name", "must have 1 to 64 characters from A-Z a-z 0-9 _ - .");
        return None;
    }
    Some(name.to_owned())
}

fn read_version(fields: &mut Fields<'_>) -> Option<Version> {
    let text = fields.required_string("version")?;
    match Version::parse(text) {
        Ok(version) if version >= OLDEST_VERSION => Some(version),
        Ok(_) => {
            fields.mistake("version", format!("must be {OLDEST_VERSION} or newer, not {text}"));
            None
        }
        Err(_) => {
            fields.mistake("version", format!("must be a version like 1.1.0, not `{text}`"));
            None
        }
    }
}

fn read_entry(fields: &mut Fields<'_>, root: &Path) -> Option<Entry> {
    let text = fields.required_string("entry")?;
    let Some(path) = text.strip_prefix("wasm://").filter(|path| !path.is_empty()) else {
        fields.mistake("entry", format!("must be wasm://PATH, relative to {}, or wasm:///ABSOLUTE", root.display()));
        return None;
    };
    let path = Path::new(path);
    if path.is_relative() && path.components().any(|part| part == Component::ParentDir) {
        fields.mistake("entry", format!("must stay inside {}; write an absolute path instead of ..", root.display()));
        return None;
    }
    Some(Entry::File(root.join(path)))
}

fn read_sha256(fields: &mut Fields<'_>) -> Option<Fingerprint> {
    let text = fields.string("sha256")?;
    let sha256 = Fingerprint::parse(text);
    if sha256.is_none() {
        fields.mistake("sha256", "must be the module's SHA-256, 64 hexadecimal digits; `sha256sum FILE` prints it");
    }
    sha256
}

fn read_permissions(fields: &mut Fields<'_>) -> Option<Permissions> {
    if fields.value("permissions").is_none() {
        fields.mistake("permissions", r#"is missing; it must be a list of "read" and "write", or [] for neither"#);
        return None;
    }
    let mut permissions = Permissions::default();
    for word in fields.strings("permissions")? {
        match word {
            "read" => permissions.read = true,
            "write" => permissions.write = true,
            other => fields.mistake("permissions", format!(r#"knows "read" and "write", not "{other}""#)),
        }
    }
    Some(permissions)
}

fn read_schema(fields: &mut Fields<'_>) -> Option<Map<String, Value>> {
    let schema = fields.object("inputSchema")?;
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        fields.mistake("inputSchema", r#"must have "type": "object" at its root"#);
        return None;
    }
    if let Err(error) = super::schema::compile(schema) {
        fields.mistake("inputSchema", format!("is not a usable JSON Schema: {error}"));
        return None;
    }
    Some(schema.clone())
}

fn read_limits(fields: &mut Fields<'_>) -> Limits {
    let mut limits = defaults::limits();
    if let Some(deadline_ms) = fields.integer("deadline_ms", 1..=3_600_000) {
        limits.deadline = Duration::from_millis(deadline_ms);
    }
    if let Some(memory_mb) = fields.integer("memory_mb", 1..=4096) {
        limits.memory_bytes = (memory_mb as usize) << 20;
    }
    if let Some(output_kb) = fields.integer("output_kb", 1..=65_536) {
        limits.output_bytes = (output_kb as usize) << 10;
    }
    let raised = |fields: &mut Fields<'_>, key, limit: &mut usize, most| {
        if let Some(value) = fields.integer(key, 1..=most) {
            *limit = value as usize;
        }
    };
    raised(fields, "instances", &mut limits.instances, 10_000);
    raised(fields, "tables", &mut limits.tables, 10_000);
    raised(fields, "table_elements", &mut limits.table_elements, 10_000_000);
    raised(fields, "handles", &mut limits.handles, 65_536);
    limits
}

fn read_reuse(fields: &mut Fields<'_>, limits: &Limits) -> Reuse {
    let time = |fields: &mut Fields<'_>, key, default| {
        fields.integer(key, 1..=86_400_000).map_or(default, Duration::from_millis)
    };
    Reuse {
        calls: fields.integer("max_instance_reuse_count", 1..=1_000_000_000).unwrap_or(defaults::INSTANCE_REUSE),
        age: time(fields, "max_instance_age_ms", defaults::INSTANCE_AGE),
        // Half of what it may have: what one large call needed should not be held for good.
        memory_bytes: fields
            .integer("max_idle_memory_mb", 1..=4096)
            .map_or(limits.memory_bytes / 2, |megabytes| (megabytes as usize) << 20),
        idle: time(fields, "idle_timeout_ms", defaults::INSTANCE_IDLE),
    }
}

fn read_restart(fields: &mut Fields<'_>) -> RestartKind {
    match fields.string("restart") {
        None | Some("permanent") => RestartKind::Permanent,
        Some("transient") => RestartKind::Transient,
        Some("temporary") => RestartKind::Temporary,
        Some(other) => {
            fields.mistake("restart", format!(r#"must be "permanent", "transient" or "temporary", not "{other}""#));
            RestartKind::Permanent
        }
    }
}

fn read_priority(fields: &mut Fields<'_>) -> Priority {
    match fields.string("priority") {
        None | Some("normal") => Priority::Normal,
        Some("high") => Priority::High,
        Some("batch") => Priority::Batch,
        Some(other) => {
            fields.mistake("priority", format!(r#"must be "high", "normal" or "batch", not "{other}""#));
            Priority::Normal
        }
    }
}

fn read_rate_limit(fields: &mut Fields<'_>) -> Option<RateLimit> {
    let limit = fields.nested("rate_limit", |rate| {
        if rate.value("per_s").is_none() {
            rate.mistake("per_s", "is missing; it must say how many calls a second are let in");
        }
        let per_s = rate.number("per_s", 0.001..=1_000_000.0);
        let burst = rate.integer("burst", 1..=1_000_000);
        rate.refuse_unknown();
        per_s.map(|per_s| RateLimit { per_s, burst })
    });
    limit.flatten()
}

fn read_isolation(fields: &mut Fields<'_>) -> Isolation {
    match fields.string("isolation") {
        None | Some("warm") => Isolation::Warm,
        Some("fresh") => Isolation::Fresh,
        Some(other) => {
            fields.mistake("isolation", format!(r#"must be "warm" or "fresh", not "{other}""#));
            Isolation::Warm
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Manifest, LoadError> {
        Manifest::parse(text, Path::new("t.json"), Path::new("/project"))
    }

    #[test]
    fn the_seeds_manifest_is_accepted() {
        let manifest = parse(
            r#"{"name":"fs.read","version":"1.1.0","entry":"wasm://tools/fs.wasm","permissions":["read"],
                "description":"Read file content"}"#,
        )
        .unwrap();
        assert_eq!(manifest.published_name(), "fs_read");
        assert_eq!(manifest.entry, Entry::File("/project/tools/fs.wasm".into()));
        assert_eq!(manifest.permissions, Permissions { read: true, write: false });
        assert_eq!(manifest.limits, defaults::limits());
        assert_eq!(manifest.isolation, Isolation::Warm);
    }

    #[test]
    fn every_mistake_of_a_manifest_is_named() {
        let error = parse(
            r#"{"version":"1.0.9","entry":"native://x","permissions":["read","net"],"deadline_ms":0,
                "inputSchema":{"type":"array"},"premissions":[],"isolation":"cold","priority":"urgent",
                "rate_limit":{"burst":0,"per_m":1}}"#,
        )
        .unwrap_err();
        let text = error.to_string();
        for part in [
            "`name` is missing",
            "`version` must be 1.1.0 or newer",
            "`entry` must be wasm://",
            r#"not "net""#,
            "`deadline_ms` must be a whole number from 1",
            "`inputSchema` must have",
            "`premissions` is not a known key",
            "`isolation` must be",
            r#"`priority` must be "high", "normal" or "batch", not "urgent""#,
            "`rate_limit.per_s` is missing",
            "`rate_limit.burst` must be a whole number from 1",
            "`rate_limit.per_m` is not a known key",
        ] {
            assert!(text.contains(part), "{part} not in {text}");
        }
    }

    #[test]
    fn an_absolute_entry_stays_absolute_and_a_relative_one_cannot_climb() {
        let with_entry =
            |entry: &str| parse(&format!(r#"{{"name":"t","version":"2.0.0","entry":"{entry}","permissions":[]}}"#));
        assert_eq!(with_entry("wasm:///abs/t.wasm").unwrap().entry, Entry::File("/abs/t.wasm".into()));
        assert!(with_entry("wasm://../t.wasm").unwrap_err().to_string().contains("must stay inside"));
    }
}
