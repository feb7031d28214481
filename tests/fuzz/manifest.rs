//! Manifests: read as they say, or refused with every mistake by its key.

use std::path::Path;

use nurones_mcp::wasi::error::LoadError;
use nurones_mcp::wasi::manifest::{Entry, Isolation, Manifest};
use serde_json::{Map, Value, json};

/// Words that mean something in a manifest.
pub const TOKENS: &[&str] = &[
    "\"name\"",
    "\"version\"",
    "\"entry\"",
    "\"permissions\"",
    "\"description\"",
    "\"inputSchema\"",
    "\"deadline_ms\"",
    "\"memory_mb\"",
    "\"output_kb\"",
    "\"workers\"",
    "\"queue_depth\"",
    "\"isolation\"",
    "\"instances\"",
    "\"tables\"",
    "\"table_elements\"",
    "\"handles\"",
    "\"max_instance_reuse_count\"",
    "\"max_instance_age_ms\"",
    "\"max_idle_memory_mb\"",
    "\"idle_timeout_ms\"",
    "\"restart\"",
    "\"transient\"",
    "\"shutdown_ms\"",
    "\"warm\"",
    "\"fresh\"",
    "\"read\"",
    "\"write\"",
    "\"1.1.0\"",
    "\"1.1.0-rc.1\"",
    "\"99999999999999999999.0.0\"",
    "\"wasm://\"",
    "\"wasm://../x\"",
    "\"wasm:///etc/passwd\"",
    "\"wasm://a/./b\"",
    "\"type\"",
    "\"object\"",
    "\"properties\"",
    "\"$ref\"",
    "\"#\"",
    "\"#/$defs/a\"",
    "\"http://127.0.0.1/s\"",
    "\"pattern\"",
    "\"(a+)+$\"",
    "\"(\"",
    "\"a{1000}{1000}\"",
    "\"$schema\"",
    "\"$id\"",
    "\"allOf\"",
    "\"minLength\"",
    "\"required\"",
];

const KEYS: [&str; 22] = [
    "name",
    "version",
    "entry",
    "permissions",
    "description",
    "inputSchema",
    "deadline_ms",
    "memory_mb",
    "output_kb",
    "workers",
    "queue_depth",
    "isolation",
    "instances",
    "tables",
    "table_elements",
    "handles",
    "max_instance_reuse_count",
    "max_instance_age_ms",
    "max_idle_memory_mb",
    "idle_timeout_ms",
    "restart",
    "shutdown_ms",
];

/// A reader of manifests: what it reads, or what is wrong.
pub type Reader = fn(&str) -> Result<Manifest, LoadError>;

/// The property, of our reader.
pub fn check(data: &[u8]) -> Result<(), String> {
    check_reader(data, ours)
}

/// Our reader, on a manifest that lies in a project.
pub fn ours(text: &str) -> Result<Manifest, LoadError> {
    Manifest::parse(text, Path::new("t.json"), Path::new("/project"))
}

/// The property, of any reader.
pub fn check_reader(data: &[u8], read: Reader) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(data) else { return Ok(()) };
    let object = serde_json::from_str::<Map<String, Value>>(text);
    match (read(text), object) {
        (Ok(manifest), Ok(said)) => {
            check_bounds(&manifest)?;
            check_values(&manifest, &said)?;
            check_round_trip(&manifest, read)
        }
        (Ok(_), Err(_)) => Err("something that is no object was taken for a manifest".to_owned()),
        (Err(LoadError::NotAnObject { .. }), Err(_)) => Ok(()),
        (Err(LoadError::Manifest { mistakes, .. }), Ok(said)) => {
            if mistakes.is_empty() {
                return Err("it is refused, and no mistake is named".to_owned());
            }
            let unknown = said.keys().filter(|key| !KEYS.contains(&key.as_str()));
            let mut unnamed = unknown.filter(|key| !mistakes.iter().any(|mistake| mistake.key == **key));
            unnamed.next().map_or(Ok(()), |key| Err(format!("the unknown key {key:?} is not named")))?;
            let stray =
                mistakes.iter().find(|mistake| !said.contains_key(&mistake.key) && !is_missing(&mistake.problem));
            stray.map_or(Ok(()), |mistake| Err(format!("there is no such key: {mistake}")))
        }
        (Err(error), object) => Err(format!("refused as {error}, and serde_json says {:?}", object.err())),
    }
}

fn is_missing(problem: &str) -> bool {
    problem.starts_with("is missing")
}

/// What holds for every manifest that is taken.
fn check_bounds(manifest: &Manifest) -> Result<(), String> {
    let published = manifest.published_name();
    let well_named = (1..=64).contains(&published.len())
        && published.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let Entry::File(entry) = &manifest.entry else { return Err("a file's tool is said to be built in".to_owned()) };
    let limits = &manifest.limits;
    let facts = [
        ("name", well_named),
        ("version", manifest.version >= semver::Version::new(1, 1, 0)),
        ("entry", entry.is_absolute()),
        ("workers", (1..=64).contains(&manifest.workers)),
        ("queue_depth", (1..=65_536).contains(&manifest.queue_depth)),
        ("deadline_ms", (1..=3_600_000).contains(&limits.deadline.as_millis())),
        ("memory_mb", (1 << 20..=4096 << 20).contains(&limits.memory_bytes)),
        ("output_kb", (1 << 10..=65_536 << 10).contains(&limits.output_bytes)),
        ("handles", (1..=65_536).contains(&limits.handles)),
    ];
    let broken = facts.into_iter().find(|(_, holds)| !holds);
    broken.map_or(Ok(()), |(key, _)| Err(format!("{key} is out of bounds: {manifest:?}")))
}

/// What stands in the file is what was read.
fn check_values(manifest: &Manifest, said: &Map<String, Value>) -> Result<(), String> {
    let read = as_json(manifest);
    for (key, value) in said.iter().filter(|(_, value)| !value.is_null()) {
        let same = match key.as_str() {
            // A list of words, in any order and as often as one likes; and a path that may be relative.
            "permissions" | "entry" | "version" => continue,
            _ => read[key] == *value,
        };
        if !same {
            return Err(format!("{key} is {value}, and was read as {}", read[key]));
        }
    }
    Ok(())
}

/// Written down and read again it is the same.
fn check_round_trip(manifest: &Manifest, read: Reader) -> Result<(), String> {
    let written = as_json(manifest);
    match read(&written.to_string()) {
        Ok(again) if as_json(&again) == written => Ok(()),
        Ok(again) => Err(format!("{written} is read back as {}", as_json(&again))),
        Err(error) => Err(format!("{written} is not read back: {error}")),
    }
}

fn as_json(manifest: &Manifest) -> Value {
    let Entry::File(entry) = &manifest.entry else { return Value::Null };
    let (limits, permissions) = (&manifest.limits, manifest.permissions);
    let words = [("read", permissions.read), ("write", permissions.write)];
    let mut written = json!({
        "name": manifest.name,
        "version": manifest.version.to_string(),
        "entry": format!("wasm://{}", entry.display()),
        "permissions": words.iter().filter(|(_, is)| *is).map(|(word, _)| *word).collect::<Vec<_>>(),
        "deadline_ms": limits.deadline.as_millis() as u64,
        "memory_mb": limits.memory_bytes >> 20,
        "output_kb": limits.output_bytes >> 10,
        "instances": limits.instances,
        "tables": limits.tables,
        "table_elements": limits.table_elements,
        "handles": limits.handles,
        "workers": manifest.workers,
        "queue_depth": manifest.queue_depth,
        "isolation": if manifest.isolation == Isolation::Fresh { "fresh" } else { "warm" },
    });
    let (reuse, megabyte) = (&manifest.reuse, 1 << 20);
    written["max_instance_reuse_count"] = reuse.calls.into();
    written["max_instance_age_ms"] = (reuse.age.as_millis() as u64).into();
    written["idle_timeout_ms"] = (reuse.idle.as_millis() as u64).into();
    // Half of an odd limit, its default, is no whole number.
    if reuse.memory_bytes % megabyte == 0 {
        written["max_idle_memory_mb"] = (reuse.memory_bytes / megabyte).into();
    }
    written["restart"] = manifest.restart.as_str().into();
    if let Some(shutdown) = manifest.shutdown {
        written["shutdown_ms"] = (shutdown.as_millis() as u64).into();
    }
    if let Some(description) = &manifest.description {
        written["description"] = description.as_str().into();
    }
    if let Some(schema) = &manifest.input_schema {
        written["inputSchema"] = schema.clone().into();
    }
    written
}
