//! The tuner against a naive model that knows nothing but the entries, over random lives: windows, pauses, restarts, and
//! people who pin, release and restore.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::cap::{ChangeCap, DAY_MS};
use super::entry::{Entry, What};
use super::knob::{KnobName, KnobSetting};
use super::ledger::{Ledger, compacted};
use super::settings::TuningSettings;
use super::tuner::Tuner;
use super::window::WindowSummary;

const TOOLS: [&str; 2] = ["fs_read", "fs_write"];
const CAP_PCT: u64 = 10;
const STEPS: usize = 1000;

type Key = (String, KnobName);

fn on() -> TuningSettings {
    TuningSettings { enabled: true, ..TuningSettings::default() }
}

fn knobs() -> Vec<(KnobName, KnobSetting)> {
    let setting = |configured| KnobSetting { configured, least: 1, most: 1 << 20 };
    [
        (KnobName::Workers, setting(2)),
        (KnobName::LaneDepth, setting(1024)),
        (KnobName::BatchSize, KnobSetting { configured: 16, least: 14, most: 19 }),
        (KnobName::DeadlineSlackUs, setting(50_000)),
        (KnobName::ReuseCalls, setting(10_000)),
    ]
    .to_vec()
}

/// Everything that was ever in force, as the entries say it.
#[derive(Default)]
struct Oracle {
    /// Each knob's values, since when, and whether a person chose it.
    values: BTreeMap<Key, Vec<(u64, u64, bool)>>,
    /// For each tool with a trial: the values before it, of all its knobs.
    before: BTreeMap<String, BTreeMap<KnobName, u64>>,
    trials: usize,
    kept: usize,
    undone: usize,
    proposed: usize,
}

impl Oracle {
    fn current(&self, tool: &str) -> BTreeMap<KnobName, u64> {
        let own = self.values.iter().filter(|((owner, _), _)| owner == tool);
        own.map(|((_, knob), values)| (*knob, values.last().unwrap().1)).collect()
    }

    /// The engine's change must be within the cap of everything within a day, back to what a person wanted.
    fn within_cap(&self, entry: &Entry) {
        let values = &self.values[&(entry.tool.clone(), entry.knob)];
        let mut until = u64::MAX;
        for (since, value, persons) in values.iter().rev() {
            if until < entry.at_ms.saturating_sub(DAY_MS) {
                break;
            }
            assert!(entry.value.abs_diff(*value) * 100 <= CAP_PCT * value, "{entry:?} is too far from {value}");
            until = *since;
            if *persons {
                break;
            }
        }
    }

    /// The definition: every value is within the cap of the one that was in force 24 hours before.
    fn keeps_to_yesterday(&self, now_ms: u64) {
        let Some(yesterday) = now_ms.checked_sub(DAY_MS) else { return };
        for (key, values) in &self.values {
            let Some(then) = values.iter().rposition(|(since, _, _)| *since <= yesterday) else { continue };
            if values[then + 1..].iter().all(|(_, _, persons)| !persons) {
                let (then, now) = (values[then].1, values.last().unwrap().1);
                assert!(now.abs_diff(then) * 100 <= CAP_PCT * then, "{key:?} was {then} yesterday and is {now}");
            }
        }
    }

    fn see(&mut self, entry: &Entry) {
        let key = (entry.tool.clone(), entry.knob);
        match entry.what {
            What::Trial => {
                self.within_cap(entry);
                let before = self.current(&entry.tool);
                assert!(self.before.insert(entry.tool.clone(), before).is_none(), "a second trial: {entry:?}");
                assert!(entry.knob.is_moved(), "{entry:?}");
                self.trials += 1;
            }
            What::RolledBack => {
                self.within_cap(entry);
                let mut now = self.current(&entry.tool);
                now.insert(entry.knob, entry.value);
                assert_eq!(self.before.remove(&entry.tool), Some(now), "not as it was before: {entry:?}");
                self.undone += 1;
            }
            What::Baseline => {
                assert!(self.before.remove(&entry.tool).is_some());
                assert_eq!(self.current(&entry.tool)[&entry.knob], entry.value);
                self.kept += 1;
                return;
            }
            What::Unpinned | What::Objective => return,
            What::Proposed => {
                assert_eq!((entry.knob, entry.value), (KnobName::Workers, entry.from), "{entry:?}");
                self.proposed += 1;
                return;
            }
            What::Configured | What::Pinned | What::Restored => {
                // A person who moves the knob on trial ends the trial; of another knob, it is as if it had been so before.
                if let Some(before) = self.before.get_mut(&entry.tool) {
                    let on_trial = self.values[&key].last().unwrap().1 != before[&entry.knob];
                    before.insert(entry.knob, entry.value);
                    if on_trial {
                        self.before.remove(&entry.tool);
                    }
                }
            }
        }
        self.values.entry(key).or_default().push((entry.at_ms, entry.value, entry.what.is_a_persons()));
    }
}

/// One life of a server, and of the history that outlives it.
struct Life {
    rng: fastrand::Rng,
    settings: TuningSettings,
    tuner: Tuner,
    written: Vec<Entry>,
    oracle: Oracle,
    now_ms: u64,
    /// How the tools do at the moment, which lasts for a while.
    mood: WindowSummary,
}

impl Life {
    fn new(seed: u64, settings: TuningSettings) -> Self {
        let mut life = Self {
            rng: fastrand::Rng::with_seed(seed),
            tuner: Tuner::new(settings.clone()),
            settings,
            written: Vec::new(),
            oracle: Oracle::default(),
            now_ms: 1_000_000_000_000,
            mood: WindowSummary {
                calls: 1000,
                p95_us: 100,
                queue_wait_p95_us: 10,
                error_pct: 0.0,
                shed_pct: 0.0,
                tunable: true,
            },
        };
        life.configure();
        life
    }

    fn configure(&mut self) {
        for tool in TOOLS {
            for entry in self.tuner.configure(self.now_ms, tool, &knobs()) {
                self.write(entry);
            }
        }
    }

    fn write(&mut self, entry: Entry) {
        self.oracle.see(&entry);
        self.tuner.apply(&entry);
        self.written.push(entry);
    }

    fn step(&mut self) {
        match self.rng.u32(0..1000) {
            0..20 => self.now_ms += self.rng.u64(0..30 * 3600 * 1000),
            20..23 => self.now_ms -= self.rng.u64(0..3600 * 1000),
            23..28 => self.restart(),
            28..34 => self.person(),
            34..134 => self.change_mood(),
            _ => {
                self.now_ms += self.rng.u64(1..11_000);
                self.window();
            }
        }
        self.oracle.keeps_to_yesterday(self.tuner.ledger().clock(self.now_ms));
    }

    fn window(&mut self) {
        let tool = TOOLS[self.rng.usize(0..TOOLS.len())];
        self.tuner.observe(tool, self.mood);
        if let Some(entry) = self.tuner.decide(self.now_ms, tool) {
            self.write(entry);
        }
    }

    fn change_mood(&mut self) {
        let rng = &mut self.rng;
        let pick = |rng: &mut fastrand::Rng, of: &[f64]| of[rng.usize(0..of.len())];
        let doublings = rng.u32(4..20);
        let p95_us = rng.u64(1..1 << doublings);
        self.mood = WindowSummary {
            calls: if rng.u32(0..8) == 0 { rng.u64(0..30) } else { rng.u64(100..10_000) },
            p95_us,
            queue_wait_p95_us: (p95_us as f64 * pick(rng, &[0.0, 0.1, 0.6, 0.95])) as u64,
            error_pct: pick(rng, &[0.0, 0.0, 1.0, 50.0]),
            shed_pct: pick(rng, &[0.0, 0.0, 0.5, 20.0]),
            tunable: rng.u32(0..16) > 0,
        };
    }

    fn restart(&mut self) {
        if self.rng.bool() {
            // Not the entries but the state: the oracle knows all of them.
            self.written = compacted(&self.written, self.now_ms.saturating_sub(2 * DAY_MS));
        }
        self.tuner = Tuner::new(self.settings.clone());
        self.tuner.replace(Ledger::of(&self.written));
        self.configure();
    }

    fn person(&mut self) {
        let tool = TOOLS[self.rng.usize(0..TOOLS.len())];
        let (knob, setting) = knobs()[self.rng.usize(0..knobs().len())];
        let Some(state) = self.tuner.ledger().knob(tool, knob) else { return };
        let (what, value) = match self.rng.u32(0..3) {
            0 => (What::Pinned, self.rng.u64(setting.least..=setting.configured * 2)),
            1 if state.pinned => (What::Unpinned, state.value),
            _ if state.pinned => return,
            _ => (What::Restored, setting.configured),
        };
        let (at_ms, from) = (self.tuner.ledger().clock(self.now_ms), state.value);
        let why = "a person".to_owned();
        self.write(Entry { at_ms, tool: tool.to_owned(), knob, what, from, value, setting: None, why });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// A thousand lives of a thousand steps: the oracle looks at each.
    #[test]
    fn no_life_breaks_the_cap_or_tries_two_things_or_fails_to_go_back(seed in any::<u64>()) {
        let mut life = Life::new(seed, on());
        (0..STEPS).for_each(|_| life.step());
        for tool in TOOLS {
            for (knob, value) in life.oracle.current(tool) {
                prop_assert_eq!(life.tuner.ledger().knob(tool, knob).unwrap().value, value);
            }
        }
    }

    #[test]
    fn off_observes_nothing_and_changes_nothing(seed in any::<u64>()) {
        let mut life = Life::new(seed, on());
        (0..100).for_each(|_| life.step());
        let mut off = Tuner::new(TuningSettings::default());
        off.replace(Ledger::of(&life.written));
        let before = off.ledger().clone();
        for step in 0..100 {
            prop_assert!(off.configure(life.now_ms, TOOLS[0], &[(KnobName::LaneDepth, knobs()[0].1)]).is_empty());
            off.observe(TOOLS[0], WindowSummary { shed_pct: 50.0, ..life.mood });
            prop_assert_eq!(off.decide(life.now_ms + step * 10_000, TOOLS[0]), None);
        }
        prop_assert_eq!(off.ledger(), &before);
    }

    #[test]
    fn a_compacted_history_says_the_same(seed in any::<u64>(), steps in 0_usize..STEPS) {
        let mut life = Life::new(seed, on());
        (0..steps).for_each(|_| life.step());
        let now_ms = life.tuner.ledger().clock(life.now_ms);
        let ledgers = [Ledger::of(&life.written), Ledger::of(&compacted(&life.written, now_ms - DAY_MS))];
        let told = ledgers.map(|ledger| {
            let told = ledger.tools().flat_map(|(_, knobs)| knobs.values().cloned().collect::<Vec<_>>());
            let cap = ChangeCap::from_pct(10.0);
            told.map(|knob| (knob.value, knob.baseline, knob.pinned, knob.trial, knob.room(now_ms, cap))).collect::<Vec<_>>()
        });
        prop_assert_eq!(&told[0], &told[1]);
    }
}

#[test]
fn lives_are_eventful() {
    let (mut trials, mut kept, mut undone, mut proposed) = (0, 0, 0, 0);
    for seed in 0..100 {
        let mut life = Life::new(seed, on());
        (0..STEPS).for_each(|_| life.step());
        trials += life.oracle.trials;
        kept += life.oracle.kept;
        undone += life.oracle.undone;
        proposed += life.oracle.proposed;
    }
    assert!(trials > 500 && kept > 50 && undone > 200, "{trials} trials, {kept} kept, {undone} undone");
    assert!(proposed > 50, "{proposed} proposed");
}

fn refusing() -> WindowSummary {
    WindowSummary { calls: 1000, p95_us: 100, queue_wait_p95_us: 10, error_pct: 0.0, shed_pct: 0.5, tunable: true }
}

/// A tuner that tries a deeper lane for the first tool.
fn on_trial() -> (Tuner, Entry) {
    let mut tuner = Tuner::new(on());
    tuner.configure(0, TOOLS[0], &knobs()).iter().for_each(|entry| tuner.apply(entry));
    let found = (0..20).find_map(|_| {
        tuner.observe(TOOLS[0], refusing());
        let entry = tuner.decide(0, TOOLS[0])?;
        if entry.what == What::Objective {
            tuner.apply(&entry);
        }
        (entry.what == What::Trial).then_some(entry)
    });
    let trial = found.expect("calls are refused, which a deeper lane may help");
    tuner.apply(&trial);
    (tuner, trial)
}

#[test]
fn an_objective_outlives_the_server_until_a_person_has_it_forgotten() {
    let (tuner, trial) = on_trial();
    let kept = tuner.ledger().objective(TOOLS[0]).unwrap();
    let mut next = Tuner::new(on());
    next.replace(tuner.ledger().clone());
    next.configure(1, TOOLS[0], &knobs()).iter().for_each(|entry| next.apply(entry));
    let objective_after_three_slow_windows = |next: &mut Tuner| {
        (0..3).find_map(|_| {
            next.observe(TOOLS[0], WindowSummary { p95_us: kept * 4, ..refusing() });
            next.decide(1, TOOLS[0]).filter(|entry| entry.what == What::Objective)
        })
    };
    assert_eq!(objective_after_three_slow_windows(&mut next), None);
    let mut ledger = next.ledger().clone();
    ledger.apply(&Entry { knob: KnobName::P95Us, what: What::Objective, value: 0, ..trial });
    next.replace(ledger);
    assert_eq!(objective_after_three_slow_windows(&mut next).unwrap().value, kept * 4 * 3 / 2);
}

#[test]
fn two_good_windows_make_a_trial_the_baseline() {
    let (mut tuner, trial) = on_trial();
    assert_eq!((trial.knob, trial.what, trial.from, trial.value), (KnobName::LaneDepth, What::Trial, 1024, 1126));
    tuner.observe(TOOLS[0], refusing());
    assert_eq!(tuner.decide(10_000, TOOLS[0]), None);
    tuner.observe(TOOLS[0], refusing());
    let kept = tuner.decide(20_000, TOOLS[0]).unwrap();
    assert_eq!((kept.what, kept.value), (What::Baseline, 1126));
}

#[test]
fn the_first_bad_window_undoes_a_trial() {
    let (mut tuner, _) = on_trial();
    tuner.observe(TOOLS[0], refusing());
    tuner.observe(TOOLS[0], WindowSummary { p95_us: 5000, ..refusing() });
    let undone = tuner.decide(20_000, TOOLS[0]).unwrap();
    assert_eq!((undone.what, undone.from, undone.value), (What::RolledBack, 1126, 1024));
    assert!(undone.why.contains("5000 µs"), "{}", undone.why);
}

#[test]
fn a_trial_without_calls_ends() {
    let (mut tuner, _) = on_trial();
    let quiet = WindowSummary { calls: 0, p95_us: 0, shed_pct: 0.0, ..refusing() };
    let undone = (0..6).find_map(|_| {
        tuner.observe(TOOLS[0], quiet);
        tuner.decide(60_000, TOOLS[0])
    });
    assert_eq!(undone.map(|entry| entry.what), Some(What::RolledBack));
}

#[test]
fn a_restart_undoes_a_trial() {
    let (tuner, _) = on_trial();
    let mut next = Tuner::new(on());
    next.replace(tuner.ledger().clone());
    let entries = next.configure(1, TOOLS[0], &knobs());
    assert_eq!(entries.iter().map(|entry| (entry.what, entry.value)).collect::<Vec<_>>(), [(What::RolledBack, 1024)]);
}

#[test]
fn nothing_is_tried_with_little_to_go_by_or_when_a_frame_forbids_it() {
    for window in [
        WindowSummary { calls: 21, ..refusing() },
        WindowSummary { tunable: false, ..refusing() },
        WindowSummary { shed_pct: 0.0, ..refusing() },
    ] {
        let mut tuner = Tuner::new(on());
        tuner.configure(0, TOOLS[0], &knobs()).iter().for_each(|entry| tuner.apply(entry));
        for _ in 0..30 {
            tuner.observe(TOOLS[0], window);
            let entry = tuner.decide(0, TOOLS[0]);
            assert!(entry.as_ref().is_none_or(|entry| entry.what == What::Objective), "{entry:?}");
            entry.iter().for_each(|entry| tuner.apply(entry));
        }
    }
}
