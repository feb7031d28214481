//! Flags, environment, file and defaults become one [`Config`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::access::Access;
use super::allow::AllowedDir;
use super::defaults;
use super::file::{ConfigFile, project_root, read_object};
use super::pinning::Pinning;
use super::redaction::Redaction;
use super::settings::{
    AuditMode, AuditPolicy, CodelPolicy, Compiling, JournalPolicy, KeyPolicy, LogRotation, Performance, Retention,
    Shutdown,
};
use super::supervision::SupervisionPolicy;
use super::tuning;
use crate::events::Class;
use crate::frame::FrameDefaults;
use crate::tuning::settings::TuningSettings;
use crate::wasi::catalogue::ManifestFolder;
use crate::wasi::sandbox::{Grant, Policy};

/// The environment variables that are read here.
pub const VARIABLES: &[&str] = &[
    "NURONES_CONFIG",
    "NURONES_TOOLS",
    "NURONES_SUPERVISION_LOG",
    "NURONES_MAX_INFLIGHT",
    "NURONES_USER",
    "NURONES_CACHE_DIR",
    "NURONES_STATE_DIR",
    "NURONES_EVENTS_JOURNAL",
    "FS_ALLOWLIST",
    "CONTEXT_ENGINE",
];

/// What the command line says; everything is optional.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--tools DIR`, any number of times.
    pub tools: Vec<PathBuf>,
    /// `--allow DIR[:rw]`, any number of times.
    pub allow: Vec<String>,
    /// `--fs-allowlist DIR,DIR:rw`.
    pub fs_allowlist: Option<String>,
    /// `--user NAME`.
    pub user: Option<String>,
    /// `--supervision-log FILE`.
    pub supervision_log: Option<PathBuf>,
    /// `--context-engine on|off`.
    pub context_engine: Option<String>,
    /// `--state-dir DIR`.
    pub state_dir: Option<PathBuf>,
    /// `--lock FILE`.
    pub lock: Option<PathBuf>,
    /// `--no-cache`.
    pub no_cache: bool,
}

/// Everything the server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The allowed directories, opened.
    pub policy: Policy,
    /// Who the user is, and where it is written what users and tools may do.
    pub access: Access,
    /// Folders of manifests.
    pub manifest_folders: Vec<ManifestFolder>,
    /// Where the supervision log goes, if anywhere.
    pub supervision_log: Option<PathBuf>,
    /// How large it gets.
    pub log_rotation: LogRotation,
    /// What the context engine may do.
    pub tuning: TuningSettings,
    /// What a ContextFrame says when the client does not.
    pub frame_defaults: FrameDefaults,
    /// How much is taken on.
    pub performance: Performance,
    /// When to restart, when to leave alone.
    pub supervision: SupervisionPolicy,
    /// The end's times.
    pub shutdown: Shutdown,
    /// Where is kept what outlives the server, if anywhere.
    pub state: Option<PathBuf>,
    /// Calls with idempotency keys.
    pub keyed: KeyPolicy,
    /// Which calls are written down.
    pub audit: AuditPolicy,
    /// Which events outlive the server.
    pub journal: JournalPolicy,
    /// How modules are compiled.
    pub compiling: Compiling,
    /// What is taken out of logs, spans and records.
    pub redaction: Redaction,
    /// What tools were accepted as, and whose modules are trusted.
    pub pinning: Pinning,
}

/// Everything that is wrong with the configuration, one line each.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// The lines, each naming its flag, variable or file and key.
    pub mistakes: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mistakes.join("\n"))
    }
}

impl Config {
    /// Resolves the configuration. `env` looks up an environment variable; relative paths of flags and variables start
    /// at `cwd`, those of the config file at its project root.
    ///
    /// # Errors
    /// Every mistake of every source.
    pub fn resolve(flags: &Flags, env: impl Fn(&str) -> Option<String>, cwd: &Path) -> Result<Self, ConfigError> {
        let mut resolver = Resolver { env: &env, cwd, mistakes: Vec::new() };
        let config = resolver.resolve(flags);
        let mistakes = resolver.mistakes;
        if mistakes.is_empty() { Ok(config) } else { Err(ConfigError { mistakes }) }
    }
}

struct Resolver<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    cwd: &'a Path,
    mistakes: Vec<String>,
}

impl Resolver<'_> {
    fn resolve(&mut self, flags: &Flags) -> Config {
        let path = flags.config.clone().or_else(|| self.env("NURONES_CONFIG").map(PathBuf::from));
        let path = path.map(|path| self.cwd.join(path));
        let (mut file, root) = match &path {
            Some(path) => (self.read_file(path), project_root(path)),
            None => (ConfigFile::default(), self.cwd.to_owned()),
        };
        let mut access = self.access(flags, path.as_deref(), &mut file, &root);
        let manifest_folders = self.manifest_folders(flags, &file, path.as_deref(), &root);
        access.decisive.extend(manifest_folders.iter().map(|folder| folder.folder.clone()));
        let frame_defaults = self.frame_defaults(path.as_deref());
        self.mistakes.extend(file.redaction.problems(self.env));
        let state = self.state_folder(flags, &file, &root);
        Config {
            redaction: file.redaction.clone(),
            policy: self.policy(flags, file.allow.as_deref(), &root),
            frame_defaults: if access.has_rules() { frame_defaults.binding() } else { frame_defaults },
            access,
            manifest_folders,
            supervision_log: flags
                .supervision_log
                .clone()
                .or_else(|| self.env("NURONES_SUPERVISION_LOG").map(PathBuf::from))
                .map(|log| self.cwd.join(log))
                .or_else(|| file.supervision_log.as_ref().map(|log| root.join(log))),
            log_rotation: LogRotation {
                max_bytes: file.log_mb.map_or(defaults::LOG_BYTES, |mb| mb << 20),
                keep: file.log_keep.map_or(defaults::LOG_KEEP, |files| files as u32),
            },
            tuning: TuningSettings {
                enabled: self.context_engine(flags, &file),
                scope: tuning::scope(path.as_deref()),
                ..file.tuning.clone()
            },
            performance: self.performance(&file),
            supervision: file.supervision.clone(),
            shutdown: Shutdown {
                drain: file.drain.unwrap_or(defaults::DRAIN),
                interrupt: file.interrupt.unwrap_or(defaults::INTERRUPT),
            },
            pinning: self.pinning(flags, &file, path.as_deref(), &root, state.as_deref()),
            state,
            keyed: KeyPolicy {
                ttl: file.key_ttl.unwrap_or(defaults::KEY_TTL),
                keys: file.keys.unwrap_or(defaults::KEYS),
                answer_bytes: file.key_answer_kb.map_or(defaults::KEY_ANSWER_BYTES, |kb| (kb as usize) << 10),
            },
            audit: AuditPolicy {
                mode: file.audit_mode.unwrap_or(AuditMode::Off),
                keep_arguments: file.audit_arguments.unwrap_or(false),
                entries: file.audit_entries.unwrap_or(defaults::AUDIT_ENTRIES),
                age: file.audit_days.map_or(defaults::AUDIT_AGE, |days| Duration::from_secs(days * 86_400)),
            },
            journal: self.journal(&file),
            compiling: Compiling {
                cache: self.cache_folder(flags, &file, &root),
                cache_bytes: file.cache_mb.map_or(defaults::CACHE_BYTES, |mb| mb << 20),
                deadline: file.compile_deadline.unwrap_or(defaults::COMPILE_DEADLINE),
            },
        }
    }

    fn env(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    fn read_file(&mut self, path: &Path) -> ConfigFile {
        ConfigFile::read(path).unwrap_or_else(|mistakes| {
            let lines = mistakes.into_iter().map(|mistake| format!("{}: {mistake}", path.display()));
            self.mistakes.extend(lines);
            ConfigFile::default()
        })
    }

    fn access(&mut self, flags: &Flags, config: Option<&Path>, file: &mut ConfigFile, root: &Path) -> Access {
        let read = config.map(|config| Access::read(config, file, root, &mut self.mistakes));
        let access = read.unwrap_or_default();
        Access { user: flags.user.clone().or_else(|| self.env("NURONES_USER")).or(access.user), ..access }
    }

    fn policy(&mut self, flags: &Flags, file: Option<&[AllowedDir]>, root: &Path) -> Policy {
        let from_env = self.env("FS_ALLOWLIST");
        let (source, base, entries) = if !flags.allow.is_empty() {
            let single = |text: &String| AllowedDir::parse(text).map(|dir| vec![dir]);
            ("--allow", self.cwd, flags.allow.iter().map(single).collect())
        } else if let Some(list) = &flags.fs_allowlist {
            ("--fs-allowlist", self.cwd, vec![AllowedDir::parse_list(list)])
        } else if let Some(list) = from_env {
            ("FS_ALLOWLIST", self.cwd, vec![AllowedDir::parse_list(&list)])
        } else {
            ("config file, `policies.fs_allowlist`", root, vec![Ok(file.unwrap_or_default().to_vec())])
        };
        let mut grants: Vec<Grant> = Vec::new();
        for dirs in entries {
            let opened = dirs.and_then(|dirs| dirs.iter().map(|dir| dir.open(base)).collect::<Result<Vec<_>, _>>());
            match opened {
                Ok(opened) => grants.extend(opened),
                Err(problem) => self.mistakes.push(format!("{source}: {problem}")),
            }
        }
        Policy::new(merged(grants))
    }

    fn manifest_folders(
        &mut self,
        flags: &Flags,
        file: &ConfigFile,
        config: Option<&Path>,
        root: &Path,
    ) -> Vec<ManifestFolder> {
        let mut folders = Vec::new();
        let own_root = |folder: PathBuf| ManifestFolder { root: folder.clone(), folder };
        if !flags.tools.is_empty() {
            folders.extend(flags.tools.iter().map(|folder| own_root(self.cwd.join(folder))));
        } else if let Some(list) = self.env("NURONES_TOOLS") {
            // An empty part joined to the working folder would be the working folder.
            let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
            folders.extend(parts.map(|folder| own_root(self.cwd.join(folder))));
        } else if let Some(listed) = &file.tools {
            folders.extend(listed.iter().map(|folder| ManifestFolder { folder: root.join(folder), root: root.into() }));
        } else if let Some(beside) = config.and_then(Path::parent).map(|folder| folder.join("tools"))
            && beside.is_dir()
        {
            folders.push(ManifestFolder { folder: beside, root: root.to_owned() });
        }
        for folder in &folders {
            if !folder.folder.is_dir() {
                self.mistakes
                    .push(format!("tools: {} is not a folder; create it or correct the path", folder.folder.display()));
            }
        }
        folders
    }

    /// Unless said otherwise, where the system's users keep such things: `$XDG_CACHE_HOME` or `~/.cache`.
    fn cache_folder(&self, flags: &Flags, file: &ConfigFile, root: &Path) -> Option<PathBuf> {
        if flags.no_cache {
            return None;
        }
        if let Some(said) = self.env("NURONES_CACHE_DIR") {
            return Some(self.cwd.join(said));
        }
        if file.cache == Some(false) {
            return None;
        }
        let said = file.cache_folder.as_ref().map(|folder| root.join(folder));
        said.or_else(|| self.users_folder("XDG_CACHE_HOME", ".cache").map(|cache| cache.join("nurones-mcp/modules")))
    }

    /// Unless said otherwise, `$XDG_STATE_HOME` or `~/.local/state`.
    fn state_folder(&self, flags: &Flags, file: &ConfigFile, root: &Path) -> Option<PathBuf> {
        let said = flags.state_dir.clone().or_else(|| self.env("NURONES_STATE_DIR").map(PathBuf::from));
        said.map(|folder| self.cwd.join(folder))
            .or_else(|| file.state.as_ref().map(|folder| root.join(folder)))
            .or_else(|| self.users_folder("XDG_STATE_HOME", ".local/state").map(|state| state.join("nurones-mcp")))
    }

    fn pinning(
        &self,
        flags: &Flags,
        file: &ConfigFile,
        config: Option<&Path>,
        root: &Path,
        state: Option<&Path>,
    ) -> Pinning {
        let named = flags.lock.as_ref().map(|lock| self.cwd.join(lock));
        let (lock, is_locked) = Pinning::lock(named.or_else(|| file.lock.as_ref().map(|lock| root.join(lock))), config);
        let keys = file.keys_file.as_ref().map(|keys| root.join(keys));
        Pinning {
            lock,
            is_locked,
            require: file.require_signatures,
            keys: keys.or_else(|| state.map(|state| state.join("trusted-keys.json"))),
            config: config.map(Path::to_owned),
        }
    }

    /// Where the system's users keep such things: what `variable` says, or below their home.
    fn users_folder(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let absolute = |name: &str| self.env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)))
    }

    fn journal(&mut self, file: &ConfigFile) -> JournalPolicy {
        let from_env = self.env("NURONES_EVENTS_JOURNAL").map(|said| ("NURONES_EVENTS_JOURNAL", said));
        let said = from_env.or_else(|| file.journal.clone().map(|said| ("config file, `events.journal`", said)));
        let journaled = match said.as_ref().map(|(source, said)| (source, said.as_str())) {
            None => defaults::JOURNALED,
            Some((_, "off")) => None,
            Some((_, "critical")) => Some(Class::Critical),
            Some((_, "all")) => Some(Class::Low),
            Some((source, other)) => {
                self.mistakes.push(format!("{source}: must be off, critical or all, not `{other}`"));
                None
            }
        };
        JournalPolicy {
            journaled,
            fsync: file.fsync.unwrap_or_default(),
            keep: Retention {
                rows: file.journal_rows.unwrap_or(defaults::JOURNAL_ROWS),
                age: file.journal_age.unwrap_or(defaults::JOURNAL_AGE),
                bytes: file.journal_mb.map_or(defaults::JOURNAL_BYTES, |mb| mb << 20),
            },
        }
    }

    fn context_engine(&mut self, flags: &Flags, file: &ConfigFile) -> bool {
        let said = flags
            .context_engine
            .clone()
            .map(|value| ("--context-engine", value))
            .or_else(|| self.env("CONTEXT_ENGINE").map(|value| ("CONTEXT_ENGINE", value)));
        match said {
            None => file.tuning.enabled,
            Some((_, value)) if value == "on" => true,
            Some((_, value)) if value == "off" => false,
            Some((source, value)) => {
                self.mistakes.push(format!("{source}: must be on or off, not `{value}`"));
                false
            }
        }
    }

    fn frame_defaults(&mut self, config: Option<&Path>) -> FrameDefaults {
        let beside = config.and_then(Path::parent).map(|folder| folder.join("context-default.json"));
        let Some(path) = beside.filter(|path| path.exists()) else {
            return FrameDefaults::built_in();
        };
        let read = read_object(&path)
            .and_then(|value| FrameDefaults::from_map(value.as_object().expect("read_object returns objects")));
        read.unwrap_or_else(|mistakes| {
            let lines = mistakes.into_iter().map(|mistake| format!("{}: {mistake}", path.display()));
            self.mistakes.extend(lines);
            FrameDefaults::built_in()
        })
    }

    fn performance(&mut self, file: &ConfigFile) -> Performance {
        let max_inflight = match self.env("NURONES_MAX_INFLIGHT").map(|text| text.parse::<u64>()) {
            None => file.max_inflight,
            Some(Ok(number)) if (1..=1_000_000).contains(&number) => Some(number),
            Some(_) => {
                self.mistakes.push("NURONES_MAX_INFLIGHT: must be a whole number from 1 to 1000000".to_owned());
                None
            }
        };
        Performance {
            max_inflight: max_inflight.map_or(defaults::MAX_INFLIGHT, |number| number as usize),
            batch_size: file.batch_size.map_or(defaults::BATCH_SIZE, |number| number as usize),
            queue_watermark: file.queue_watermark.unwrap_or(defaults::QUEUE_WATERMARK),
            codel: Some(file.codel_interval.unwrap_or(defaults::CODEL_INTERVAL))
                .filter(|interval| !interval.is_zero())
                .map(|interval| CodelPolicy { target: file.codel_target.unwrap_or(defaults::CODEL_TARGET), interval }),
            coalesce: file.coalesce.unwrap_or(defaults::COALESCE),
        }
    }
}

/// The same directory allowed twice is one grant; the wider right wins.
fn merged(grants: Vec<Grant>) -> Vec<Grant> {
    let mut merged: Vec<Grant> = Vec::new();
    for grant in grants {
        match merged.iter_mut().find(|known| known.canonical == grant.canonical) {
            Some(known) => {
                known.writable |= grant.writable;
                for name in grant.guest_names {
                    if !known.guest_names.contains(&name) {
                        known.guest_names.push(name);
                    }
                }
            }
            None => merged.push(grant),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
