//! Decides what to try, what to keep and what to undo. A pure core: it takes the time as an argument and does no I/O.
//!
//! ```text
//!          advice, confident, allowed                     two good windows
//!  calm ───────────────────────────────► trial of one ───────────────────────► baseline ─► calm
//!    ▲                                   knob  │
//!    └──────── the value before it ◄───────────┘ the objective is broken, or nothing good in six windows
//! ```
//!
//! It remembers nothing of its own but the last windows: where the knobs stand is in the [`Ledger`]. So
//! [`Tuner::decide`] only proposes an entry, and [`Tuner::apply`] makes it true after it was written.

use std::collections::{BTreeMap, VecDeque};

use super::advice::advise;
use super::entry::{Entry, What};
use super::knob::{KnobName, KnobSetting};
use super::knob_state::{KnobState, OpenTrial};
use super::ledger::Ledger;
use super::settings::TuningSettings;
use super::slo::{Slo, SloFinder};
use super::window::WindowSummary;

/// Windows that advice and confidence come from.
pub const RECENT: usize = 6;

/// Good windows after which a trial's value stays.
pub const GOOD_WINDOWS: usize = 2;

/// Windows after which a trial ends that has shown nothing.
pub const TRIAL_WINDOWS: usize = 6;

/// Calls with which confidence is a half.
const HALF_SURE: f64 = 100.0;

/// See the module documentation.
pub struct Tuner {
    settings: TuningSettings,
    ledger: Ledger,
    seen: BTreeMap<String, Seen>,
}

/// The last windows of one tool.
struct Seen {
    slo: SloFinder,
    /// Since the last change of any knob of the tool, the newest last; at most [`RECENT`].
    windows: VecDeque<WindowSummary>,
    /// How bad it was at worst before the trial that runs.
    before: Option<WindowSummary>,
}

impl Tuner {
    /// A tuner that knows nothing yet.
    pub fn new(settings: TuningSettings) -> Self {
        Self { settings, ledger: Ledger::default(), seen: BTreeMap::new() }
    }

    /// Where the knobs stand.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Others have written: from now on the knobs stand as in `ledger`.
    pub fn replace(&mut self, ledger: Ledger) {
        for (tool, seen) in &mut self.seen {
            if ledger.objective(tool).is_none() && self.ledger.objective(tool).is_some() {
                seen.slo = SloFinder::new(self.settings.slo);
            }
            // What was seen with other values says nothing about these.
            if !ledger.knobs(tool).eq(self.ledger.knobs(tool)) {
                seen.windows.clear();
            }
        }
        self.ledger = ledger;
    }

    /// What has to be written before `tool` is served with these knobs: what is configured, if it was not so before, and
    /// the end of a trial whose server is gone.
    pub fn configure(&self, now_ms: u64, tool: &str, knobs: &[(KnobName, KnobSetting)]) -> Vec<Entry> {
        if !self.settings.enabled {
            return Vec::new();
        }
        let mut entries = Vec::new();
        for (knob, setting) in knobs {
            let entry = |what, from, value, setting, why: &str| {
                let at_ms = self.ledger.clock(now_ms);
                Entry { at_ms, tool: tool.to_owned(), knob: *knob, what, from, value, setting, why: why.to_owned() }
            };
            match self.ledger.knob(tool, *knob) {
                Some(state) if state.setting == *setting => {
                    if let Some(OpenTrial { former, .. }) = state.trial {
                        let why = "the server that tried it is gone";
                        entries.push(entry(What::RolledBack, state.value, former, None, why));
                    }
                }
                known => {
                    let from = known.map_or(setting.configured, |state| state.value);
                    // A pinned value stays, unless it may not be any more.
                    let pinned = known.filter(|state| state.pinned).map(|state| state.value);
                    let allowed = pinned.filter(|value| (setting.least..=setting.most).contains(value));
                    let why = "as manifest and configuration say";
                    if pinned.is_some() && allowed.is_none() {
                        entries.push(entry(What::Unpinned, from, from, None, "it is outside what is configured now"));
                    }
                    let value = allowed.unwrap_or(setting.configured);
                    entries.push(entry(What::Configured, from, value, Some(*setting), why));
                }
            }
        }
        entries
    }

    /// A window of `tool` has ended.
    pub fn observe(&mut self, tool: &str, window: WindowSummary) {
        if !self.settings.enabled {
            return;
        }
        let targets = self.settings.slo;
        let seen = self.seen.entry(tool.to_owned()).or_insert_with(|| Seen {
            slo: SloFinder::new(targets),
            windows: VecDeque::new(),
            before: None,
        });
        seen.slo.see(&window);
        if seen.windows.len() == RECENT {
            seen.windows.pop_front();
        }
        seen.windows.push_back(window);
    }

    /// What should happen to `tool` now, if anything. Nothing has happened until [`Tuner::apply`] is called with it.
    pub fn decide(&self, now_ms: u64, tool: &str) -> Option<Entry> {
        // Off, nothing is ever seen.
        let seen = self.seen.get(tool)?;
        let slo = seen.slo.found(self.ledger.objective(tool));
        let now_ms = self.ledger.clock(now_ms);
        let new = |knob, what, from, value, why| {
            let tool = tool.to_owned();
            Entry { at_ms: now_ms, tool, knob, what, from, value, setting: None, why }
        };
        let entry = |knob, state: &KnobState, what, value, why| new(knob, what, state.value, value, why);
        let on_trial = self.ledger.knobs(tool).find_map(|(knob, state)| Some((knob, state, state.trial?)));
        if let Some((knob, state, trial)) = on_trial {
            return match seen.verdict(slo)? {
                Verdict::Keep => {
                    let why = format!("{GOOD_WINDOWS} good windows");
                    Some(entry(knob, state, What::Baseline, state.value, why))
                }
                Verdict::Undo(why) => Some(entry(knob, state, What::RolledBack, trial.former, why)),
            };
        }
        if let Some(p95_us) = seen.slo.derived_us().filter(|_| self.ledger.objective(tool).is_none()) {
            let why = "from its first good windows".to_owned();
            return Some(new(KnobName::P95Us, What::Objective, p95_us, p95_us, why));
        }
        let (recent, slo) = (seen.full()?, slo?);
        let confidence = confidence(&recent);
        if confidence < self.settings.min_confidence || recent.iter().any(|window| !window.tunable) {
            return None;
        }
        advise(&recent, &slo).into_iter().find_map(|advice| {
            let state = self.ledger.knob(tool, advice.knob)?;
            let why = format!("{} (confidence {confidence:.2})", advice.why);
            if !advice.knob.is_moved() {
                let is_due = state.may_be_proposed(now_ms);
                return is_due.then(|| entry(advice.knob, state, What::Proposed, state.value, why));
            }
            let value = state.step(now_ms, self.settings.cap, advice.direction)?;
            Some(entry(advice.knob, state, What::Trial, value, why))
        })
    }

    /// `entry` has been written: by this tuner, or by a person.
    pub fn apply(&mut self, entry: &Entry) {
        self.ledger.apply(entry);
        if matches!(entry.what, What::Proposed | What::Objective) {
            return;
        }
        // What was seen with other values says nothing about these.
        if let Some(seen) = self.seen.get_mut(&entry.tool) {
            if entry.what == What::Trial {
                seen.before = seen.worst();
            }
            seen.windows.clear();
        }
    }
}

/// What to do about a trial.
enum Verdict {
    Keep,
    Undo(String),
}

impl Seen {
    /// The last windows, if they are enough to conclude from.
    fn full(&self) -> Option<Vec<WindowSummary>> {
        (self.windows.len() == RECENT).then(|| self.windows.iter().copied().collect())
    }

    /// The worst of each number.
    fn worst(&self) -> Option<WindowSummary> {
        self.windows.iter().copied().reduce(|a, b| WindowSummary {
            calls: a.calls.min(b.calls),
            p95_us: a.p95_us.max(b.p95_us),
            queue_wait_p95_us: a.queue_wait_p95_us.max(b.queue_wait_p95_us),
            error_pct: a.error_pct.max(b.error_pct),
            shed_pct: a.shed_pct.max(b.shed_pct),
            tunable: a.tunable && b.tunable,
        })
    }

    fn verdict(&self, slo: Option<Slo>) -> Option<Verdict> {
        let Some(slo) = slo else {
            return Some(Verdict::Undo("nothing is known yet to judge it by".to_owned()));
        };
        if let Some(breach) = self.windows.iter().find_map(|window| slo.breach(window, self.before.as_ref())) {
            return Some(Verdict::Undo(breach));
        }
        if self.windows.iter().filter(|window| slo.is_good(window)).count() >= GOOD_WINDOWS {
            return Some(Verdict::Keep);
        }
        let in_vain = self.windows.len() >= TRIAL_WINDOWS;
        in_vain.then(|| Verdict::Undo(format!("less than {GOOD_WINDOWS} good windows in {TRIAL_WINDOWS}")))
    }
}

/// How sure one can be of what these windows say, from 0 to 1: with the number of calls it grows towards 1, and it
/// shrinks with how much the windows differ from each other (the coefficient of variation of their p95).
pub fn confidence(windows: &[WindowSummary]) -> f64 {
    let calls: u64 = windows.iter().map(|window| window.calls).sum();
    let count = windows.len().max(1) as f64;
    let mean = windows.iter().map(|window| window.p95_us as f64).sum::<f64>() / count;
    let variance = windows.iter().map(|window| (window.p95_us as f64 - mean).powi(2)).sum::<f64>() / count;
    let varies = if mean > 0.0 { variance.sqrt() / mean } else { 0.0 };
    let calls = calls as f64;
    calls / (calls + HALF_SURE) / (1.0 + varies)
}
