//! The config file, in the seed's format, `.mcp/config.json`.
//!
//! Keys that later versions will use (the OTLP exporter, autotune bounds) are checked and kept out of the way, so that a
//! config written for the seed works as it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::allow::AllowedDir;
use super::pinning::RequireSignatures;
use super::redaction::Redaction;
use super::settings::{AuditMode, Fsync};
use super::supervision::SupervisionPolicy;
use super::tuning;
use crate::fields::{Fields, Mistake};
use crate::tuning::settings::TuningSettings;

/// What a config file says; everything is optional.
#[derive(Debug, Default)]
pub struct ConfigFile {
    pub tuning: TuningSettings,
    pub allow: Option<Vec<AllowedDir>>,
    pub policies: Option<Map<String, Value>>,
    pub default_role: Option<String>,
    pub user: Option<String>,
    pub tools: Option<Vec<PathBuf>>,
    pub supervision_log: Option<PathBuf>,
    pub log_mb: Option<u64>,
    pub log_keep: Option<u64>,
    pub max_inflight: Option<u64>,
    pub batch_size: Option<u64>,
    pub queue_watermark: Option<f64>,
    pub codel_target: Option<Duration>,
    pub codel_interval: Option<Duration>,
    pub coalesce: Option<Duration>,
    pub supervision: SupervisionPolicy,
    pub state: Option<PathBuf>,
    pub key_ttl: Option<Duration>,
    pub keys: Option<u64>,
    pub key_answer_kb: Option<u64>,
    pub audit_mode: Option<AuditMode>,
    pub audit_arguments: Option<bool>,
    pub audit_entries: Option<u64>,
    pub audit_days: Option<u64>,
    pub journal: Option<String>,
    pub fsync: Option<Fsync>,
    pub journal_rows: Option<u64>,
    pub journal_age: Option<Duration>,
    pub journal_mb: Option<u64>,
    pub drain: Option<Duration>,
    pub interrupt: Option<Duration>,
    pub cache: Option<bool>,
    pub cache_folder: Option<PathBuf>,
    pub cache_mb: Option<u64>,
    pub compile_deadline: Option<Duration>,
    pub redaction: Redaction,
    pub lock: Option<PathBuf>,
    pub require_signatures: RequireSignatures,
    pub keys_file: Option<PathBuf>,
}

/// The project root of a config file: the folder that holds `.mcp/`, or the file's own folder when it lies elsewhere.
pub fn project_root(config: &Path) -> PathBuf {
    let folder = config.parent().unwrap_or(Path::new("."));
    match folder.parent() {
        Some(root) if folder.file_name().is_some_and(|name| name == ".mcp") => root.to_owned(),
        _ => folder.to_owned(),
    }
}

/// Reads a JSON object from `path`.
pub fn read_object(path: &Path) -> Result<Value, Vec<Mistake>> {
    let whole_file = |problem: String| vec![Mistake { key: path.display().to_string(), problem }];
    let text = std::fs::read_to_string(path).map_err(|error| whole_file(format!("cannot be read: {error}")))?;
    match serde_json::from_str(&text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(whole_file("must hold a JSON object".to_owned())),
        Err(error) => Err(whole_file(format!("is not JSON: {error}"))),
    }
}

impl ConfigFile {
    /// Reads `path`, gathering every mistake.
    pub fn read(path: &Path) -> Result<Self, Vec<Mistake>> {
        let value = read_object(path)?;
        let mut fields = Fields::new("", value.as_object().expect("read_object returns objects"));
        let file = Self::from_fields(&mut fields);
        fields.refuse_unknown();
        let mistakes = fields.finish();
        if mistakes.is_empty() { Ok(file) } else { Err(mistakes) }
    }

    fn from_fields(fields: &mut Fields<'_>) -> Self {
        let mut file = Self::default();
        fields.string("profile");
        fields.strings("transports");
        fields.nested("server", |server| {
            server.integer("port", 0..=65_535);
            server.refuse_unknown();
        });
        fields.nested("rbac", |rbac| {
            file.default_role = rbac.string("defaultRole").map(str::to_owned);
            file.user = rbac.string("user").map(str::to_owned);
            rbac.refuse_unknown();
        });
        fields.nested("observability", |observability| {
            observability.string("otelExporter");
            observability.refuse_unknown();
        });
        fields.nested("context_engine", |engine| {
            file.tuning = tuning::read(engine);
            engine.refuse_unknown();
        });
        fields.nested("performance", |performance| {
            file.max_inflight = performance.integer("maxInflight", 1..=1_000_000);
            file.batch_size = performance.integer("batchSize", 1..=65_536);
            file.queue_watermark = performance.number("queueWatermark", 0.1..=1.0);
            file.codel_target = millis(performance, "codelTargetMs");
            file.codel_interval = performance.integer("codelIntervalMs", 0..=3_600_000).map(Duration::from_millis);
            file.coalesce = performance.integer("coalesceUs", 0..=1000).map(Duration::from_micros);
            performance.refuse_unknown();
        });
        fields.nested("policies", |policies| file.allow = read_allowlist(policies));
        // The rest of it is the policy's to read.
        file.policies = fields.object("policies").cloned();
        file.tools = fields.strings("tools").map(|folders| folders.into_iter().map(PathBuf::from).collect());
        fields.nested("supervision", |supervision| {
            file.supervision_log = supervision.string("log").map(PathBuf::from);
            file.log_mb = supervision.integer("logMaxMb", 1..=1_000_000);
            file.log_keep = supervision.integer("logKeep", 1..=1000);
            file.supervision.read(supervision);
            supervision.refuse_unknown();
        });
        fields.nested("state", |state| {
            file.state = state.string("dir").map(PathBuf::from);
            state.refuse_unknown();
        });
        fields.nested("idempotency", |idempotency| {
            file.key_ttl = idempotency.integer("ttlS", 1..=31_536_000).map(Duration::from_secs);
            file.keys = idempotency.integer("maxKeys", 1..=10_000_000);
            file.key_answer_kb = idempotency.integer("maxAnswerKb", 1..=65_536);
            idempotency.refuse_unknown();
        });
        fields.nested("audit", |audit| {
            file.audit_mode = audit.string("calls").map(|mode| match mode {
                "off" => AuditMode::Off,
                "changes" => AuditMode::Changes,
                "all" => AuditMode::All,
                other => {
                    audit.mistake("calls", format!(r#"must be "off", "changes" or "all", not "{other}""#));
                    AuditMode::Off
                }
            });
            file.audit_arguments = audit.boolean("keepArguments");
            file.audit_entries = audit.integer("maxEntries", 1..=1_000_000_000);
            file.audit_days = audit.integer("maxAgeDays", 1..=36_500);
            audit.refuse_unknown();
        });
        fields.nested("events", |events| {
            file.journal = events.string("journal").map(str::to_owned);
            file.fsync = read_fsync(events);
            file.journal_rows = events.integer("maxRows", 1..=100_000_000);
            file.journal_age = events.integer("maxAgeH", 1..=87_600).map(|hours| Duration::from_secs(3600 * hours));
            file.journal_mb = events.integer("maxMb", 1..=1_000_000);
            events.refuse_unknown();
        });
        fields.nested("shutdown", |shutdown| {
            file.drain = millis(shutdown, "drainMs");
            file.interrupt = millis(shutdown, "interruptMs");
            shutdown.refuse_unknown();
        });
        file.lock = fields.string("lock").map(PathBuf::from);
        fields.nested("signatures", |signatures| {
            file.require_signatures = read_require(signatures);
            file.keys_file = signatures.string("keys").map(PathBuf::from);
            signatures.refuse_unknown();
        });
        file.redaction = fields.nested("redaction", Redaction::read).unwrap_or_default();
        fields.nested("cache", |cache| {
            file.cache = cache.boolean("enabled");
            file.cache_folder = cache.string("dir").map(PathBuf::from);
            file.cache_mb = cache.integer("maxMb", 1..=1_000_000);
            file.compile_deadline = millis(cache, "compileDeadlineMs");
            cache.refuse_unknown();
        });
        file
    }
}

pub(super) fn read_allowlist(fields: &mut Fields<'_>) -> Option<Vec<AllowedDir>> {
    let mut allowed = Vec::new();
    for entry in fields.strings("fs_allowlist")? {
        match AllowedDir::parse(entry) {
            Ok(dir) => allowed.push(dir),
            Err(problem) => fields.mistake("fs_allowlist", format!("has the entry `{entry}`: {problem}")),
        }
    }
    Some(allowed)
}

fn read_fsync(fields: &mut Fields<'_>) -> Option<Fsync> {
    match fields.string("fsync")? {
        "never" => Some(Fsync::Never),
        "batch" => Some(Fsync::Batch),
        "always" => Some(Fsync::Always),
        other => {
            fields.mistake("fsync", format!("must be never, batch or always, not `{other}`"));
            None
        }
    }
}

fn read_require(fields: &mut Fields<'_>) -> RequireSignatures {
    match fields.string("require") {
        None | Some("off") => RequireSignatures::Off,
        Some("warn") => RequireSignatures::Warn,
        Some("all") => RequireSignatures::All,
        Some(other) => {
            fields.mistake("require", format!(r#"must be "off", "warn" or "all", not "{other}""#));
            RequireSignatures::All
        }
    }
}

pub(super) fn millis(fields: &mut Fields<'_>, key: &'static str) -> Option<Duration> {
    fields.integer(key, 1..=3_600_000).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_root_holds_the_mcp_folder() {
        assert_eq!(project_root(Path::new("/p/.mcp/config.json")), Path::new("/p"));
        assert_eq!(project_root(Path::new(".mcp/config.json")), Path::new(""));
        assert_eq!(project_root(Path::new("/etc/nurones.json")), Path::new("/etc"));
    }
}
