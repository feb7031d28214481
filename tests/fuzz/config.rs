//! The config file: read as it says, or refused with every mistake by its key.

use std::path::{Path, PathBuf};

use nurones_mcp::config::{Config, ConfigError, Flags};
use serde_json::{Map, Value};

/// Words that mean something in a config.
pub const TOKENS: &[&str] = &[
    "\"profile\"",
    "\"transports\"",
    "\"server\"",
    "\"port\"",
    "\"rbac\"",
    "\"defaultRole\"",
    "\"observability\"",
    "\"otelExporter\"",
    "\"context_engine\"",
    "\"enabled\"",
    "\"changeCapPctPerDay\"",
    "\"minConfidence\"",
    "\"performance\"",
    "\"maxInflight\"",
    "\"batchSize\"",
    "\"queueWatermark\"",
    "\"coalesceUs\"",
    "\"policies\"",
    "\"fs_allowlist\"",
    "\"roles\"",
    "\"users\"",
    "\"tools\"",
    "\"supervision\"",
    "\"log\"",
    "\"backoffBaseMs\"",
    "\"backoffCapMs\"",
    "\"restartIntensity\"",
    "\"restartPeriodMs\"",
    "\"probeAfterMs\"",
    "\"probeCapMs\"",
    "\"initDeadlineMs\"",
    "\"zombies\"",
    "\"rootIntensity\"",
    "\"rootPeriodMs\"",
    "\"breakerCalls\"",
    "\"breakerPeriodMs\"",
    "\"breakerFaultPct\"",
    "\"breakerOpenMs\"",
    "\"breakerOpenCapMs\"",
    "\"logMaxMb\"",
    "\"logKeep\"",
    "\"shutdown\"",
    "\"drainMs\"",
    "\"interruptMs\"",
    "\"cache\"",
    "\"dir\"",
    "\"maxMb\"",
    "\"compileDeadlineMs\"",
    "\"/:rw\"",
    "\".:rwx\"",
    "\"..\"",
    "\":rw\"",
    "\"/proc/self/root\"",
];

/// What a key became.
type Became = fn(&Config) -> f64;

/// The numbers that a resolved config must repeat: their place in the file, and where they went.
const NUMBERS: [(&str, Became); 16] = [
    ("/performance/maxInflight", |config| config.performance.max_inflight as f64),
    ("/performance/batchSize", |config| config.performance.batch_size as f64),
    ("/performance/queueWatermark", |config| config.performance.queue_watermark),
    ("/performance/coalesceUs", |config| config.performance.coalesce.as_micros() as f64),
    ("/supervision/backoffBaseMs", |config| config.supervision.backoff_base.as_millis() as f64),
    ("/supervision/restartIntensity", |config| config.supervision.restart_intensity as f64),
    ("/supervision/probeAfterMs", |config| config.supervision.probe_after.as_millis() as f64),
    ("/supervision/initDeadlineMs", |config| config.supervision.init_deadline.as_millis() as f64),
    ("/supervision/zombies", |config| config.supervision.zombies as f64),
    ("/supervision/breakerCalls", |config| config.supervision.breaker.calls as f64),
    ("/supervision/breakerFaultPct", |config| config.supervision.breaker.fault_pct as f64),
    ("/supervision/breakerOpenCapMs", |config| config.supervision.breaker.open_cap.as_millis() as f64),
    ("/shutdown/drainMs", |config| config.shutdown.drain.as_millis() as f64),
    ("/shutdown/interruptMs", |config| config.shutdown.interrupt.as_millis() as f64),
    ("/cache/maxMb", |config| (config.compiling.cache_bytes >> 20) as f64),
    ("/cache/compileDeadlineMs", |config| config.compiling.deadline.as_millis() as f64),
];

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder can be made");
}

/// The property: writes the file and resolves it, with no flag and no variable.
pub fn check(data: &[u8]) -> Result<(), String> {
    FOLDER.with(|folder| {
        let path = folder.path().join("config.json");
        std::fs::write(&path, data).map_err(|error| error.to_string())?;
        let object =
            std::str::from_utf8(data).ok().and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
        check_resolved(resolve(&path, folder.path()), object, &path)
    })
}

fn resolve(path: &Path, cwd: &Path) -> Result<Config, ConfigError> {
    let flags = Flags { config: Some(PathBuf::from(path)), ..Flags::default() };
    Config::resolve(&flags, |_| None, cwd)
}

/// Judges what came of a file that holds `object`, or no object.
pub fn check_resolved(
    resolved: Result<Config, ConfigError>,
    object: Option<Map<String, Value>>,
    path: &Path,
) -> Result<(), String> {
    match (resolved, object) {
        (Ok(config), Some(said)) => check_numbers(&config, &Value::Object(said)),
        (Ok(_), None) => Err("something that is no object was taken for a config".to_owned()),
        (Err(error), said) => {
            if error.mistakes.is_empty() {
                return Err("it is refused, and no mistake is named".to_owned());
            }
            let file = path.display().to_string();
            // What the file allows or names is opened after all of it was read, and named by its key.
            let from = [file.as_str(), "config file, `policies.fs_allowlist`", "tools: "];
            if let Some(stray) = error.mistakes.iter().find(|line| !from.iter().any(|from| line.contains(from))) {
                return Err(format!("nobody can find this mistake: {stray}"));
            }
            let Some(said) = said else { return Ok(()) };
            let is_named = |key: &str| error.mistakes.iter().any(|line| line.contains(&format!("`{key}`")));
            let of_the_file = error.mistakes.iter().any(|line| line.contains(&file));
            let mut unknown = said.keys().filter(|key| !TOKENS.contains(&format!("\"{key}\"").as_str()));
            unknown.find(|key| of_the_file && !is_named(key)).map_or(Ok(()), |key| Err(format!("{key:?} is not named")))
        }
    }
}

fn check_numbers(config: &Config, said: &Value) -> Result<(), String> {
    for (place, read) in NUMBERS {
        if let Some(number) = said.pointer(place).and_then(Value::as_f64)
            && number != read(config)
        {
            return Err(format!("{place} is {number}, and was read as {}", read(config)));
        }
    }
    Ok(())
}
