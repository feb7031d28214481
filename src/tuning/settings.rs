//! What a person says about the context engine.

use std::time::Duration;

use super::cap::ChangeCap;
use super::slo::SloTargets;
use super::window::WINDOW;

/// Confidence below which nothing is tried, unless a person says otherwise.
pub const MIN_CONFIDENCE: f64 = 0.6;

/// See the module documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct TuningSettings {
    /// Whether anything is observed, let alone moved.
    pub enabled: bool,
    /// How far a knob may move within a day.
    pub cap: ChangeCap,
    /// How sure the engine must be of what it saw before it tries something, from 0 to 1.
    pub min_confidence: f64,
    /// What a tool has to keep to.
    pub slo: SloTargets,
    /// How long calls are gathered before they are looked at; at most [`WINDOW`].
    pub window: Duration,
    /// Tells tools of one name in different projects apart; empty without a config file.
    pub scope: String,
}

impl TuningSettings {
    /// What the history calls the tool of this published name: knobs of another project's tool are not ours to move.
    pub fn key(&self, tool: &str) -> String {
        if self.scope.is_empty() { tool.to_owned() } else { format!("{tool}@{}", self.scope) }
    }
}

impl Default for TuningSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            cap: ChangeCap::from_pct(ChangeCap::MOST_PCT),
            min_confidence: MIN_CONFIDENCE,
            slo: SloTargets::default(),
            window: WINDOW,
            scope: String::new(),
        }
    }
}
