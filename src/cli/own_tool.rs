//! The person's own tool in a drill: what the server's options serve, moved to where the drill takes place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::drill::call::Call;
use crate::drill::stage::Own;

/// What drills call their own test guest; two tools of one name cannot be served.
const TAKEN: &str = "probe";

/// The tool `name`, called with `arguments`, as `config` serves it. `config_file` is what was said with `--config`.
///
/// # Errors
/// A sentence for the person.
pub fn own_tool(
    config: &Config,
    config_file: Option<&Path>,
    name: &str,
    arguments: Map<String, Value>,
) -> Result<Own, String> {
    let mut call = Call::new(name, Value::Object(arguments));
    let mut manifests = BTreeMap::new();
    for (index, folder) in config.manifest_folders.iter().enumerate() {
        for path in manifests_in(&folder.folder)? {
            // What is no manifest is not served either; `nurones-mcp tools` says why.
            let Some(mut manifest) = read(&path) else { continue };
            let published = manifest["name"].as_str().unwrap_or_default().replace('.', "_");
            if published == TAKEN {
                return Err(format!("{} publishes {TAKEN}, which drills have one of; rename it", path.display()));
            }
            if published == name.replace('.', "_")
                && let Some(deadline_ms) = manifest["deadline_ms"].as_u64().and_then(|ms| ms.try_into().ok())
            {
                call = call.within_ms(deadline_ms);
            }
            make_absolute(&mut manifest, &folder.root);
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            manifests.insert(format!("own-{index}-{stem}"), manifest);
        }
    }
    let grants = config.policy.grants().iter();
    let allow =
        grants.map(|grant| format!("{}{}", grant.canonical.display(), if grant.writable { ":rw" } else { ":ro" }));
    let beside = config_file.and_then(Path::parent).map(|folder| folder.join("context-default.json"));
    Ok(Own { call, manifests, allow: allow.collect(), frame_defaults: beside.filter(|path| path.exists()) })
}

fn manifests_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let is_manifest = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    Ok(entries.into_iter().map(|entry| entry.path()).filter(is_manifest).collect())
}

fn read(path: &Path) -> Option<Value> {
    let manifest: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    manifest.is_object().then_some(manifest)
}

/// The manifest moves, its module does not.
fn make_absolute(manifest: &mut Value, root: &Path) {
    let entry = manifest["entry"].as_str().and_then(|entry| entry.strip_prefix("wasm://"));
    if let Some(entry) = entry.filter(|entry| !entry.starts_with('/')) {
        manifest["entry"] = json!(format!("wasm://{}", root.join(entry).display()));
    }
}
