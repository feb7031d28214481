//! `validate`: what a module or manifest is, and why it would be refused, before a server is given it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Map, Value, json};

use super::exit::{Exit, harmless, print, run_on_control_plane};
use crate::config::Config;
use crate::wasi::error::LoadError;
use crate::wasi::inspection::{self, Inspection, Timing};
use crate::wasi::loader::Loader;
use crate::wasi::manifest::{Entry, Manifest};

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Manifests (`*.json`) and modules. A manifest's relative entry starts at its folder, or at the project when the
    /// manifest lies in `.mcp/tools/`.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One file and what came of it.
struct Checked {
    file: PathBuf,
    /// A manifest, unless the file is a module or a broken manifest.
    manifest: Option<Manifest>,
    outcome: Result<Inspection, LoadError>,
}

/// Validates every file; all of them, even if one is bad.
pub fn run(config: &Config, args: &ValidateArgs) -> Exit {
    run_on_control_plane(validate(config, args))
}

async fn validate(config: &Config, args: &ValidateArgs) -> Exit {
    let loader = match super::loader(config) {
        Ok(loader) => loader,
        Err(exit) => return exit,
    };
    let mut checked = Vec::new();
    for file in &args.files {
        checked.push(check(&loader, file).await);
    }
    let text = if args.json {
        let report = Value::from_iter(checked.iter().map(Checked::as_json));
        serde_json::to_string_pretty(&report).expect("a JSON value is serialisable") + "\n"
    } else {
        checked.iter().map(Checked::as_text).collect::<Vec<_>>().join("\n")
    };
    if print(text.as_bytes()).is_err() {
        return Exit::ClientGone;
    }
    if checked.iter().all(|one| one.problem().is_none()) { Exit::Done } else { Exit::Failed }
}

async fn check(loader: &Arc<Loader>, file: &Path) -> Checked {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let is_manifest = file.extension().is_some_and(|extension| extension == "json");
    let read = if is_manifest { Manifest::read(&file, &root_of(&file)) } else { Ok(bare(&file)) };
    match read {
        Ok(manifest) => {
            let inspection = Inspection::of(loader, &manifest).await;
            Checked { file, manifest: is_manifest.then_some(manifest), outcome: Ok(inspection) }
        }
        Err(error) => Checked { file, manifest: None, outcome: Err(error) },
    }
}

/// Where the relative entry of a manifest starts, as a server would have it that is given its folder or its project.
pub(super) fn root_of(manifest: &Path) -> PathBuf {
    let folder = manifest.parent().unwrap_or(Path::new("/"));
    match folder.parent() {
        Some(mcp) if folder.ends_with(".mcp/tools") => mcp.parent().unwrap_or(mcp).to_owned(),
        _ => folder.to_owned(),
    }
}

/// The manifest a module would have that asks for nothing.
fn bare(module: &Path) -> Manifest {
    let manifest = json!({ "name": "module", "version": "1.1.0", "entry": "wasm://module.wasm", "permissions": [] });
    let mut manifest =
        Manifest::parse(&manifest.to_string(), module, Path::new("/")).expect("this manifest is a good one");
    manifest.entry = Entry::File(module.to_owned());
    manifest
}

impl Checked {
    fn problem(&self) -> Option<&LoadError> {
        match &self.outcome {
            Ok(inspection) => inspection.verdict.as_ref().err(),
            Err(error) => Some(error),
        }
    }

    /// What is known, as pairs of a name and words, in the order in which a person wants it.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some(manifest) = &self.manifest {
            let limits = &manifest.limits;
            facts.push((
                "tool",
                format!("{} {}, listed as {}", manifest.name, manifest.version, manifest.published_name()),
            ));
            if let Entry::File(module) = &manifest.entry {
                facts.push(("module", module.display().to_string()));
            }
            facts.push(("granted", format!("permissions: {}", manifest.permissions.words())));
            facts.push((
                "limits",
                format!(
                    "deadline {} ms, memory {} MiB, output {} KiB, {} worker(s), {} calls waiting",
                    limits.deadline.as_millis(),
                    limits.memory_bytes >> 20,
                    limits.output_bytes >> 10,
                    manifest.workers,
                    manifest.queue_depth,
                ),
            ));
        }
        let Ok(inspection) = &self.outcome else { return facts };
        facts.extend(inspection.bytes.map(|bytes| ("size", format!("{bytes} bytes"))));
        facts.extend(inspection.sha256.map(|sha256| ("sha256", sha256.to_string())));
        if let Some(anatomy) = &inspection.anatomy {
            facts.push(("kind", anatomy.kind.to_string()));
            facts.push(("imports", listed(&anatomy.imports)));
            facts.push(("exports", listed(&anatomy.exports)));
            facts.push(("needs", inspection::needs(anatomy).join("; ")));
        }
        if let Ok(trial) = &inspection.verdict {
            let said = &trial.definition.description;
            facts.push(("says", if said.is_empty() { "nothing of itself".to_owned() } else { said.clone() }));
            facts.push(("arguments", Value::Object(Map::clone(&trial.definition.input_schema)).to_string()));
            facts.push(("cold", cold(&trial.timing)));
            facts.push(("warm", warm(&trial.timing)));
        }
        facts
    }

    fn as_text(&self) -> String {
        let verdict = match self.problem() {
            None => "good".to_owned(),
            Some(problem) => format!("refused: {}", harmless(&problem.to_string())),
        };
        let facts = self.facts().into_iter().map(|(name, words)| format!("  {name:<10} {}\n", harmless(&words)));
        format!("{}: {verdict}\n{}", self.file.display(), facts.collect::<String>())
    }

    fn as_json(&self) -> Value {
        let mut report = json!({ "file": self.file.display().to_string(), "good": self.problem().is_none() });
        if let Some(problem) = self.problem() {
            report["problem"] = problem.to_string().into();
        }
        if let Some(manifest) = &self.manifest {
            report["tool"] = json!({
                "name": manifest.name,
                "publishedName": manifest.published_name(),
                "version": manifest.version.to_string(),
                "permissions": manifest.permissions.words(),
                "deadlineMs": manifest.limits.deadline.as_millis() as u64,
                "memoryBytes": manifest.limits.memory_bytes,
                "outputBytes": manifest.limits.output_bytes,
                "workers": manifest.workers,
                "queueDepth": manifest.queue_depth,
            });
        }
        let Ok(inspection) = &self.outcome else { return report };
        report["bytes"] = inspection.bytes.into();
        report["sha256"] = inspection.sha256.map(|sha256| sha256.to_string()).into();
        if let Some(anatomy) = &inspection.anatomy {
            report["kind"] = anatomy.kind.words().into();
            report["imports"] = anatomy.imports.clone().into();
            report["exports"] = anatomy.exports.clone().into();
            report["needs"] = inspection::needs(anatomy).into();
        }
        if let Ok(trial) = &inspection.verdict {
            let micros = |time: std::time::Duration| time.as_micros() as u64;
            report["description"] = trial.definition.description.clone().into();
            report["inputSchema"] = Map::clone(&trial.definition.input_schema).into();
            report["timingUs"] = json!({
                "compile": micros(trial.timing.compile),
                "load": micros(trial.timing.load),
                "instantiate": micros(trial.timing.instantiate),
                "describe": trial.timing.describe.map(micros),
            });
        }
        report
    }
}

fn cold(timing: &Timing) -> String {
    format!("compiled in {:.0?}; loaded from the cache in {:.1?} from then on", timing.compile, timing.load)
}

fn warm(timing: &Timing) -> String {
    match timing.describe {
        Some(describe) => {
            format!("an instance in {:.0?}, a call that does nothing in {describe:.1?}", timing.instantiate)
        }
        None => format!("an instance, which every call gets anew, in {:.0?}", timing.instantiate),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
