//! What a drill takes place on: a folder of its own with files, tools, a config whose policy times are scaled down, and
//! the supervision log; and the command that starts the server there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::call::Call;
use super::console::{Inherited, arming};
use crate::config::VARIABLES;
use crate::failpoint::control::{Command, Doing};

/// The test guest, which does on demand what a tool must not.
pub static PROBE: &[u8] = include_bytes!("../../tools/prebuilt/probe.wasm");

/// The file that healthy calls read.
const HEALTHY_FILE: &str = "one-kib.txt";

/// Healthy calls a second: enough for a 99th percentile within half a second, and half of what a small machine does.
const HEALTHY_RATE: f64 = 1000.0;

/// The deadline of tools that do not say another.
pub const DEADLINE_MS: u32 = 30_000;

/// Whether the person has had enough.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on everything ends as soon as it can; says whether that was asked for before.
    pub fn ask(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    /// Whether it was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A tool of the stage.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its manifest.
    pub manifest: Value,
    /// Its module; a manifest that names one elsewhere has none.
    pub module: Option<Vec<u8>>,
}

/// The person's own tool as the background load, with the options of the server that serve it.
#[derive(Debug, Clone)]
pub struct Own {
    /// The call.
    pub call: Call,
    /// Manifests, by file name, with absolute entries.
    pub manifests: BTreeMap<String, Value>,
    /// Values for `--allow`.
    pub allow: Vec<String>,
    /// What lies beside the config and is read with it.
    pub frame_defaults: Option<PathBuf>,
}

/// What the server may use; more breaks `I3`.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Memory beyond what it used before the fault.
    pub rss_growth_bytes: u64,
    /// Descriptors beyond those, while it lasts.
    pub fds_growth: u64,
    /// Descriptors beyond those, once all is answered.
    pub fds_left: u64,
    /// Threads beyond those.
    pub threads_growth: u64,
    /// Calls in one lane.
    pub queue_depth: u64,
}

/// See the module documentation. All of it may be changed before the server is started.
pub struct Stage {
    folder: PathBuf,
    cache: PathBuf,
    own: Option<Own>,
    /// The config file.
    pub config: Value,
    /// The tools, by the name of their files.
    pub tools: BTreeMap<String, Tool>,
    /// Calls that are made before anything is measured, so that no tool is compiled while it is.
    pub warm: Vec<Call>,
    /// Failpoints that are armed as soon as the server is up.
    pub armed: Vec<Command>,
    /// The call of the background load.
    pub healthy: Call,
    /// How many of them a second.
    pub healthy_rate: f64,
    /// What the server may use.
    pub budget: Budget,
    /// Whether its standard error is a full pipe that nobody reads.
    pub unheard: bool,
}

impl Stage {
    /// A stage in `folder`, which must not exist yet; compiled modules are kept in `cache`.
    ///
    /// # Errors
    /// When the system refuses to make folders and files.
    pub fn new(folder: PathBuf, cache: PathBuf, own: Option<Own>) -> std::io::Result<Self> {
        for inner in ["files", "tools", "conf"] {
            std::fs::create_dir_all(folder.join(inner))?;
        }
        let folder = folder.canonicalize()?;
        std::fs::write(folder.join("files").join(HEALTHY_FILE), "0123456789abcde\n".repeat(64))?;
        let mut stage = Self {
            healthy: Call::new("fs_read", json!({ "path": folder.join("files").join(HEALTHY_FILE) })),
            healthy_rate: HEALTHY_RATE,
            folder,
            cache,
            own: None,
            config: scaled(),
            tools: BTreeMap::new(),
            warm: Vec::new(),
            armed: Vec::new(),
            unheard: false,
            budget: Budget {
                rss_growth_bytes: 64 << 20,
                fds_growth: 64,
                fds_left: 2,
                threads_growth: 16,
                queue_depth: 1024,
            },
        };
        if let Some(own) = own {
            stage.healthy = own.call.clone();
            for (name, manifest) in &own.manifests {
                stage.tools.insert(name.clone(), Tool { manifest: manifest.clone(), module: None });
            }
            stage.own = Some(own);
        }
        Ok(stage)
    }

    /// Adds the test guest as tool `name`; `keys` are added to its manifest.
    pub fn probe(&mut self, name: &str, keys: Value) {
        self.tool(name, PROBE, keys);
        self.warm.push(Call::new(name, json!({ "verb": "echo", "text": "warm" })));
    }

    /// Adds tool `name` of `module`; `keys` are added to its manifest.
    pub fn tool(&mut self, name: &str, module: &[u8], keys: Value) {
        let mut manifest = json!({
            "name": name, "version": "1.1.0", "entry": format!("wasm://{name}.wasm"), "permissions": []
        });
        merge(&mut manifest, keys);
        self.tools.insert(name.to_owned(), Tool { manifest, module: Some(module.to_vec()) });
    }

    /// Changes keys of a tool's manifest.
    pub fn manifest(&mut self, name: &str, keys: Value) {
        if let Some(tool) = self.tools.get_mut(name) {
            merge(&mut tool.manifest, keys);
        }
    }

    /// Changes keys of one section of the config.
    pub fn configure(&mut self, section: &str, keys: Value) {
        merge(&mut self.config[section], keys);
    }

    /// Arms a failpoint for all hits, as soon as the server is up.
    pub fn arm(&mut self, point: &str, action: Doing) {
        self.armed.push(arming(point, action));
    }

    /// The folder that tools may read and write.
    pub fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// From now on compiled modules are kept in a folder of this drill alone, which is empty at first.
    pub fn own_cache(&mut self) {
        self.cache = self.folder.join("cache");
    }

    /// The folder of compiled modules.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The folder of manifests and modules.
    pub fn tools_folder(&self) -> PathBuf {
        self.folder.join("tools")
    }

    /// The supervision log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("supervision.jsonl")
    }

    /// How long the server may drain, interrupt and flush, by its config.
    pub fn ends_within(&self) -> Duration {
        let ms = |key: &str| self.config["shutdown"][key].as_u64().unwrap_or(0);
        Duration::from_millis(ms("drainMs") + ms("interruptMs")) + Duration::from_secs(2)
    }

    /// Writes everything and returns the command that starts the server on it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn command(&self, inherited: &Inherited) -> std::io::Result<Process> {
        for (name, tool) in &self.tools {
            let path = |extension: &str| self.tools_folder().join(format!("{name}.{extension}"));
            std::fs::write(path("json"), tool.manifest.to_string())?;
            if let Some(module) = &tool.module {
                std::fs::write(path("wasm"), module)?;
            }
        }
        let config = self.folder.join("conf/config.json");
        std::fs::write(&config, self.config.to_string())?;
        if let Some(defaults) = self.own.as_ref().and_then(|own| own.frame_defaults.as_ref()) {
            std::fs::copy(defaults, self.folder.join("conf/context-default.json"))?;
        }
        let mut command = Process::new(std::env::current_exe()?);
        clean(&mut command);
        let [commands, answers] = inherited.numbers().map(|number| number.to_string());
        command
            .args(["drilled", "--commands", &commands, "--answers", &answers, "--config"])
            .arg(config)
            .arg("--tools")
            .arg(self.tools_folder())
            .arg("--supervision-log")
            .arg(self.log())
            .env("NURONES_CACHE_DIR", &self.cache)
            .env("NURONES_STATE_DIR", self.folder.join("state"));
        // The person's folders first: relative paths of tools start there.
        let own = self.own.iter().flat_map(|own| &own.allow).cloned();
        for allowed in own.chain([format!("{}:rw", self.files().display())]) {
            command.args(["--allow", &allowed]);
        }
        Ok(command)
    }

    /// The call of the person's own tool, as part of the fault.
    pub fn own_call(&self) -> Option<Call> {
        self.own.as_ref().map(|own| own.call.clone())
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Policy times short enough that a drill sees all of them within seconds. The circuit breaker is off: a drill that
/// makes one fault after the other wants to see each.
fn scaled() -> Value {
    json!({
        "supervision": {
            "backoffBaseMs": 20, "backoffCapMs": 500, "restartIntensity": 5, "restartPeriodMs": 2000,
            "probeAfterMs": 1000, "probeCapMs": 2000, "breakerCalls": 0
        },
        "shutdown": { "drainMs": 2000, "interruptMs": 250 },
        "performance": { "maxInflight": 2048 }
    })
}

fn merge(into: &mut Value, keys: Value) {
    if let Value::Object(keys) = keys {
        keys.into_iter().for_each(|(key, value)| into[key] = value);
    }
}

/// Nothing of the person's environment may change the server.
fn clean(command: &mut Process) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let ours = ["NURONES_", "OTEL_"].iter().any(|prefix| text.starts_with(prefix));
        // A backtrace costs a panic 100 MB and a while.
        if ours || VARIABLES.contains(&&*text) || ["RUST_LOG", "RUST_BACKTRACE", "RUST_LIB_BACKTRACE"].contains(&&*text)
        {
            command.env_remove(&name);
        }
    }
}
