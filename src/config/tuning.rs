//! What the config file says about the context engine.

use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::fields::Fields;
use crate::tuning::cap::ChangeCap;
use crate::tuning::settings::TuningSettings;
use crate::tuning::window::WINDOW;

/// Takes what the config file's `context_engine` says.
pub(super) fn read(fields: &mut Fields<'_>) -> TuningSettings {
    let mut tuning = TuningSettings::default();
    tuning.enabled = fields.boolean("enabled").unwrap_or(tuning.enabled);
    // More would be a promise that the engine does not make.
    if let Some(pct) = fields.number("changeCapPctPerDay", 0.0..=ChangeCap::MOST_PCT) {
        tuning.cap = ChangeCap::from_pct(pct);
    }
    tuning.min_confidence = fields.number("minConfidence", 0.0..=1.0).unwrap_or(tuning.min_confidence);
    if let Some(ms) = fields.integer("windowMs", 10..=WINDOW.as_millis() as u64) {
        tuning.window = Duration::from_millis(ms);
    }
    fields.nested("slo", |slo| {
        tuning.slo.p95_ms = slo.number("p95Ms", 0.001..=3_600_000.0);
        tuning.slo.error_pct = slo.number("errorPct", 0.0..=100.0);
        tuning.slo.shed_pct = slo.number("shedPct", 0.0..=100.0);
        slo.refuse_unknown();
    });
    tuning
}

/// Tells the tools of the project with this config file from those of others: the beginning of a digest of its path.
pub(super) fn scope(config_file: Option<&Path>) -> String {
    let Some(path) = config_file else { return String::new() };
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}
