//! Where every knob of every tool stands: what the history's entries come to.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Entry, What};
use super::knob::KnobName;
use super::knob_state::KnobState;

/// See the module documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    tools: BTreeMap<String, BTreeMap<KnobName, KnobState>>,
    /// The p95 that each tool must keep to, as far as it was taken from what the tool did.
    objectives: BTreeMap<String, u64>,
    last_ms: u64,
}

impl Ledger {
    /// The ledger of these entries.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut ledger = Self::default();
        entries.into_iter().for_each(|entry| ledger.apply(entry));
        ledger
    }

    /// One more entry. One about a knob of which nobody has said what is configured means nothing.
    pub fn apply(&mut self, entry: &Entry) {
        self.last_ms = self.last_ms.max(entry.at_ms);
        if entry.what == What::Objective {
            if entry.value == 0 {
                self.objectives.remove(&entry.tool);
            } else {
                self.objectives.insert(entry.tool.clone(), entry.value);
            }
            return;
        }
        match self.tools.get_mut(&entry.tool).and_then(|knobs| knobs.get_mut(&entry.knob)) {
            Some(state) => state.apply(entry),
            None => {
                if let Some(state) = KnobState::first(entry) {
                    self.tools.entry(entry.tool.clone()).or_default().insert(entry.knob, state);
                }
            }
        }
    }

    /// The time for an entry: `now_ms`, or that of the last entry when the clock was put back. A day then is longer,
    /// never shorter.
    pub fn clock(&self, now_ms: u64) -> u64 {
        now_ms.max(self.last_ms)
    }

    /// Every tool with its knobs.
    pub fn tools(&self) -> impl Iterator<Item = (&str, &BTreeMap<KnobName, KnobState>)> {
        self.tools.iter().map(|(tool, knobs)| (tool.as_str(), knobs))
    }

    /// The knobs of `tool`.
    pub fn knobs(&self, tool: &str) -> impl Iterator<Item = (KnobName, &KnobState)> {
        self.tools.get(tool).into_iter().flatten().map(|(knob, state)| (*knob, state))
    }

    /// The p95 in microseconds that `tool` must keep to, if it was taken from what the tool did.
    pub fn objective(&self, tool: &str) -> Option<u64> {
        self.objectives.get(tool).copied()
    }

    /// One knob.
    pub fn knob(&self, tool: &str, knob: KnobName) -> Option<&KnobState> {
        self.tools.get(tool)?.get(&knob)
    }
}

/// The entries that are still needed for the same ledger: those since `keep_from_ms`, and of the older ones each knob's
/// first configuration and its last of each kind. `keep_from_ms` is at least a day ago.
///
/// The last of the older ones count, not the last of all: those say what was in force when the newer ones began. Without
/// the first, a value that was pinned before the last configuration would have nothing to stand on.
pub fn compacted(entries: &[Entry], keep_from_ms: u64) -> Vec<Entry> {
    let (mut firsts, mut lasts) = (BTreeSet::new(), BTreeSet::new());
    let mut is_needed: Vec<bool> = entries
        .iter()
        .map(|entry| entry.what == What::Configured && firsts.insert((entry.tool.as_str(), entry.knob)))
        .collect();
    for (entry, is_needed) in entries.iter().zip(&mut is_needed).rev() {
        let is_new = entry.at_ms >= keep_from_ms;
        *is_needed |= is_new || lasts.insert((entry.tool.as_str(), entry.knob, entry.what));
    }
    entries.iter().zip(is_needed).filter(|(_, is_needed)| *is_needed).map(|(entry, _)| entry.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::cap::{ChangeCap, DAY_MS};
    use super::super::knob::KnobSetting;
    use super::*;

    const KNOB: KnobName = KnobName::LaneDepth;

    fn entry(at_ms: u64, what: What, from: u64, value: u64) -> Entry {
        let setting = (what == What::Configured).then_some(KnobSetting { configured: 1000, least: 1, most: 5000 });
        Entry { at_ms, tool: "t".to_owned(), knob: KNOB, what, from, value, setting, why: "a test".to_owned() }
    }

    /// Tuned to 1100 long ago, and moved once more within the week that is kept.
    fn tuned_again(to: u64) -> [Entry; 4] {
        [
            entry(0, What::Configured, 1000, 1000),
            entry(1, What::Trial, 1000, 1100),
            entry(2, What::Baseline, 1100, 1100),
            entry(10 * DAY_MS, What::Trial, 1100, to),
        ]
    }

    fn both(entries: &[Entry]) -> [KnobState; 2] {
        let kept = compacted(entries, 9 * DAY_MS);
        [Ledger::of(entries), Ledger::of(&kept)].map(|ledger| ledger.knob("t", KNOB).expect("it is there").clone())
    }

    #[test]
    fn a_compacted_trial_goes_back_to_the_value_before_it() {
        let states = both(&tuned_again(1210)).map(|state| state.trial.expect("it runs").former);
        assert_eq!(states, [1100, 1100]);
    }

    #[test]
    fn what_was_in_force_within_the_day_counts_after_compaction_too() {
        let cap = ChangeCap::from_pct(10.0);
        let rooms = both(&tuned_again(1000)).map(|state| state.room(10 * DAY_MS + 1, cap));
        assert_eq!(rooms, [1000..=1100, 1000..=1100]);
    }

    #[test]
    fn a_pin_survives_a_new_configuration_and_compaction() {
        let mut entries = [
            entry(0, What::Configured, 1000, 1000),
            entry(1, What::Pinned, 1000, 1200),
            entry(2, What::Configured, 1200, 1200),
        ];
        entries[2].setting = Some(KnobSetting { configured: 2000, least: 1, most: 5000 });
        assert_eq!(both(&entries).map(|state| (state.value, state.pinned)), [(1200, true), (1200, true)]);
    }
}
