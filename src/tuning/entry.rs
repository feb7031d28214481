//! One line of the history: something that happened to one knob.

use serde::{Deserialize, Serialize};

use super::knob::{KnobName, KnobSetting};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    /// Manifest and configuration say a value that they did not say before; it is in force, unless one is pinned.
    Configured,
    /// The engine tries a value.
    Trial,
    /// The trial went well; its value stays.
    Baseline,
    /// The trial did not go well; the value before it is in force again.
    RolledBack,
    /// A person chose a value, and the engine leaves it alone.
    Pinned,
    /// The engine may move it again.
    Unpinned,
    /// A person went back to the configured value.
    Restored,
    /// The engine says that another value might help; nothing changes.
    Proposed,
    /// The tool's objective was taken from what it did at first; 0 when a person had it forgotten.
    Objective,
}

impl What {
    /// In words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Trial => "trial",
            Self::Baseline => "baseline",
            Self::RolledBack => "rolled back",
            Self::Pinned => "pinned",
            Self::Unpinned => "unpinned",
            Self::Restored => "restored",
            Self::Proposed => "proposed",
            Self::Objective => "objective",
        }
    }

    /// Whether a person did it: the cap counts from what they want.
    pub fn is_a_persons(self) -> bool {
        matches!(self, Self::Configured | Self::Pinned | Self::Restored)
    }
}

/// See the module documentation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The tool, see [`TuningSettings::key`](super::settings::TuningSettings::key).
    pub tool: String,
    /// Which knob.
    pub knob: KnobName,
    /// What happened to it.
    pub what: What,
    /// The value before.
    pub from: u64,
    /// The value that is in force now.
    pub value: u64,
    /// With `configured`: what is configured, and how far it may ever go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<KnobSetting>,
    /// Why, in words.
    pub why: String,
}
