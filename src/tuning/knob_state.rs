//! Where one knob stands, and where it stood within the last day.

use std::ops::RangeInclusive;

use super::cap::{ChangeCap, DAY_MS};
use super::entry::{Entry, What};
use super::knob::{Direction, KnobSetting};

/// How long a direction that did no good is not tried again.
pub const RETRY_MS: u64 = 3600 * 1000;

/// A trial that has no end yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenTrial {
    /// When it began.
    pub since_ms: u64,
    /// What to go back to.
    pub former: u64,
}

/// See the module documentation. It is what the knob's entries come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnobState {
    /// What manifest and configuration say.
    pub setting: KnobSetting,
    /// The value in force.
    pub value: u64,
    /// The last value that was no trial.
    pub baseline: u64,
    /// A person chose the value.
    pub pinned: bool,
    /// The trial that runs.
    pub trial: Option<OpenTrial>,
    /// Values and since when, from the last thing a person did on.
    past: Vec<(u64, u64)>,
    /// When it was last said that another value might help.
    pub proposed_ms: Option<u64>,
    /// When a trial in either direction was last rolled back: up, down.
    failed_ms: [Option<u64>; 2],
}

impl KnobState {
    /// The state after the first entry of a knob; `None` if that does not say what is configured.
    pub fn first(entry: &Entry) -> Option<Self> {
        let setting = entry.setting.filter(|_| entry.what == What::Configured)?;
        Some(Self {
            setting,
            value: setting.configured,
            baseline: setting.configured,
            pinned: false,
            trial: None,
            past: vec![(entry.at_ms, setting.configured)],
            proposed_ms: None,
            failed_ms: [None; 2],
        })
    }

    /// The state after one more entry.
    pub fn apply(&mut self, entry: &Entry) {
        if let Some(setting) = entry.setting {
            self.setting = setting;
        }
        match entry.what {
            What::Configured if self.pinned => return,
            What::Unpinned => {
                self.pinned = false;
                return;
            }
            What::Proposed => {
                self.proposed_ms = Some(entry.at_ms);
                return;
            }
            What::Objective => return,
            What::Baseline => {
                self.baseline = entry.value;
                self.trial = None;
                return;
            }
            What::Trial => self.trial = Some(OpenTrial { since_ms: entry.at_ms, former: entry.from }),
            What::RolledBack => {
                self.failed_ms[index(direction(entry.value, entry.from))] = Some(entry.at_ms);
                self.trial = None;
            }
            What::Configured | What::Pinned | What::Restored => {
                self.pinned |= entry.what == What::Pinned;
                self.baseline = entry.value;
                self.trial = None;
                self.past.clear();
            }
        }
        self.value = entry.value;
        self.past.push((entry.at_ms, entry.value));
        self.forget(entry.at_ms);
    }

    /// The values the engine may choose from.
    pub fn room(&self, now_ms: u64, cap: ChangeCap) -> RangeInclusive<u64> {
        let day_ago = now_ms.saturating_sub(DAY_MS);
        let ends = self.past.iter().skip(1).map(|(since, _)| *since).chain([u64::MAX]);
        let within_day = self.past.iter().zip(ends).filter(|(_, end)| *end >= day_ago).map(|((_, value), _)| *value);
        let near = cap.near_all(within_day);
        *near.start().max(&self.setting.least)..=*near.end().min(&self.setting.most)
    }

    /// The farthest value in `direction` that may be tried now, if there is one.
    pub fn step(&self, now_ms: u64, cap: ChangeCap, direction: Direction) -> Option<u64> {
        let lately = |failed: u64| now_ms < failed.saturating_add(RETRY_MS);
        if self.pinned || self.trial.is_some() || self.failed_ms[index(direction)].is_some_and(lately) {
            return None;
        }
        let room = self.room(now_ms, cap);
        if room.is_empty() {
            // The cap was lowered: no value is near all that were in force, until the day is over.
            return None;
        }
        match direction {
            Direction::Up => Some(*room.end()).filter(|end| *end > self.value),
            Direction::Down => Some(*room.start()).filter(|start| *start < self.value),
        }
    }

    /// Whether it is time to say that another value might help: once a day is enough.
    pub fn may_be_proposed(&self, now_ms: u64) -> bool {
        self.proposed_ms.is_none_or(|proposed| now_ms >= proposed.saturating_add(DAY_MS))
    }

    /// Forgets values that were replaced more than a day ago.
    fn forget(&mut self, now_ms: u64) {
        let day_ago = now_ms.saturating_sub(DAY_MS);
        let old = self.past.iter().skip(1).take_while(|(since, _)| *since < day_ago).count();
        self.past.drain(..old);
    }
}

fn direction(from: u64, to: u64) -> Direction {
    if to > from { Direction::Up } else { Direction::Down }
}

fn index(direction: Direction) -> usize {
    match direction {
        Direction::Up => 0,
        Direction::Down => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::knob::KnobName;
    use super::*;

    #[test]
    fn nothing_moves_while_no_value_is_within_a_cap_that_was_lowered() {
        let entry = |at_ms, what, from, value| {
            let setting = (what == What::Configured).then_some(KnobSetting { configured: value, least: 1, most: 5000 });
            let (tool, why) = ("t".to_owned(), "a test".to_owned());
            Entry { at_ms, tool, knob: KnobName::LaneDepth, what, from, value, setting, why }
        };
        let mut state = KnobState::first(&entry(0, What::Configured, 1000, 1000)).expect("it is configured");
        state.apply(&entry(DAY_MS, What::Trial, 1000, 1100));
        state.apply(&entry(DAY_MS, What::Baseline, 1100, 1100));
        let lowered = ChangeCap::from_pct(4.0);
        assert_eq!(state.step(DAY_MS, lowered, Direction::Down), None);
        assert_eq!(state.step(DAY_MS, lowered, Direction::Up), None);
        assert_eq!(state.step(2 * DAY_MS + 1, lowered, Direction::Down), Some(1058));
    }
}
