//! The knobs of a tool.
//!
//! [`KnobName::Workers`] is only proposed: how many threads a tool has, its manifest says.

use serde::{Deserialize, Serialize};

/// What can be moved. All are whole numbers; times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KnobName {
    /// Worker threads. The engine only says that more might help.
    Workers,
    /// Calls that may wait.
    LaneDepth,
    /// Answers sent together.
    BatchSize,
    /// How long past its deadline a call is left to its worker.
    DeadlineSlackUs,
    /// Calls an instance serves before it is built anew.
    ReuseCalls,
    /// No knob: what entries about the tool's own objective are about, the p95 that it must keep to.
    P95Us,
}

impl KnobName {
    /// All knobs.
    pub const ALL: [Self; 5] =
        [Self::Workers, Self::LaneDepth, Self::BatchSize, Self::DeadlineSlackUs, Self::ReuseCalls];

    /// The name in the history and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::LaneDepth => "laneDepth",
            Self::BatchSize => "batchSize",
            Self::DeadlineSlackUs => "deadlineSlackUs",
            Self::ReuseCalls => "reuseCalls",
            Self::P95Us => "p95Us",
        }
    }

    /// The knob of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|knob| knob.as_str() == name)
    }

    /// Whether the engine may move it, rather than only say what might help.
    pub fn is_moved(self) -> bool {
        !matches!(self, Self::Workers | Self::P95Us)
    }

    /// What its number counts.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Workers => "threads",
            Self::LaneDepth | Self::ReuseCalls => "calls",
            Self::BatchSize => "answers",
            Self::DeadlineSlackUs | Self::P95Us => "µs",
        }
    }
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// More of it.
    Up,
    /// Less of it.
    Down,
}

/// What manifest and configuration say of a knob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnobSetting {
    /// The value a person chose.
    pub configured: u64,
    /// The least it may ever be.
    pub least: u64,
    /// The most it may ever be.
    pub most: u64,
}

impl KnobSetting {
    /// Between half and twice of what is configured, and at most `limit`: farther would be another configuration.
    pub fn around(configured: u64, limit: u64) -> Self {
        Self { configured, least: (configured / 2).max(1), most: (configured * 2).min(limit) }
    }

    /// What never moves.
    pub fn fixed(configured: u64) -> Self {
        Self { configured, least: configured, most: configured }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_knob_stays_between_half_and_twice_of_what_is_configured() {
        let bounds = |setting: KnobSetting| (setting.least, setting.most);
        assert_eq!(bounds(KnobSetting::around(10, 100)), (5, 20));
        assert_eq!(bounds(KnobSetting::around(1, 100)), (1, 2));
        assert_eq!(bounds(KnobSetting::around(90, 100)), (45, 100));
        assert_eq!(bounds(KnobSetting::fixed(3)), (3, 3));
    }

    #[test]
    fn every_knob_and_nothing_else_can_be_named() {
        assert!(KnobName::ALL.into_iter().all(|knob| KnobName::parse(knob.as_str()) == Some(knob)));
        assert_eq!(KnobName::parse(KnobName::P95Us.as_str()), None);
    }
}
