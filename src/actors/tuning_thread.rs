//! The thread of the context engine: reads and writes the history, decides, and moves the tools' knobs.
//!
//! One process tunes the tools of a project at a time; the others follow what it made the baseline, and take over when
//! it is gone. What cannot be read or written is said once, and nothing is tried meanwhile.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_channel::Receiver;
use serde_json::json;

use super::event_bus::EventBus;
use super::knobs::Knobs;
use super::tool_table::ToolEntry;
use crate::events::{Class, Event};
use crate::private_folder;
use crate::tuning::engine::Engine;
use crate::tuning::entry::Entry;
use crate::tuning::file_history::{FileHistory, TunerLock};
use crate::tuning::knob_state::KnobState;
use crate::tuning::settings::TuningSettings;
use crate::tuning::window::WindowSummary;

/// A window of a tool that is over.
pub struct EndedWindow {
    tool: Arc<ToolEntry>,
    summary: WindowSummary,
}

impl EndedWindow {
    /// Ends the window of `tool`, if calls are gathered there.
    pub fn of(tool: &Arc<ToolEntry>) -> Option<Self> {
        let summary = tool.meter.as_ref()?.end_window(&tool.sheds);
        Some(Self { tool: Arc::clone(tool), summary })
    }
}

/// See the module documentation.
pub struct TuningThread {
    settings: TuningSettings,
    bus: EventBus,
    folder: PathBuf,
    tools: Vec<Arc<ToolEntry>>,
    engine: Engine<FileHistory>,
    lock: Option<TunerLock>,
    /// Tools of which the history knows what is configured now.
    configured: BTreeSet<String>,
    /// What is wrong, as it was said last.
    said: Option<String>,
}

impl TuningThread {
    /// A thread's body; it has opened nothing yet.
    pub fn new(settings: TuningSettings, folder: &Path, tools: Vec<Arc<ToolEntry>>, bus: EventBus) -> Self {
        let engine = Engine::new(settings.clone(), FileHistory::new(folder));
        let folder = folder.to_owned();
        Self { settings, bus, folder, tools, engine, lock: None, configured: BTreeSet::new(), said: None }
    }

    /// Lives until nobody is left to send windows.
    pub fn live(mut self, windows: Receiver<Vec<EndedWindow>>) {
        self.round(Vec::new());
        windows.iter().for_each(|ended| self.round(ended));
    }

    fn round(&mut self, ended: Vec<EndedWindow>) {
        let result = self.tune(ended);
        // Also when something went wrong: what was to go back has gone back.
        self.tools.iter().for_each(|tool| self.set_knobs(tool));
        match result {
            Ok(()) => self.said = None,
            Err(problem) if self.said.as_ref() == Some(&problem) => {}
            Err(problem) => {
                tracing::warn!("the context engine tries nothing for now: {problem}");
                self.said = Some(problem);
            }
        }
    }

    /// Decides about every tool, if that is ours to do.
    ///
    /// # Errors
    /// What is wrong with the folder, in words.
    fn tune(&mut self, ended: Vec<EndedWindow>) -> Result<(), String> {
        let at = |error: &dyn std::fmt::Display| format!("{error}, in {}", self.folder.display());
        if self.lock.is_none() {
            private_folder::prepare(&self.folder, "state folder", "--state-dir")?;
            self.lock = TunerLock::try_take(&self.folder, &self.settings.scope).map_err(|error| at(&error))?;
        }
        self.engine.catch_up().map_err(|error| at(&error))?;
        if self.lock.is_none() {
            return Ok(());
        }
        let mut result = Ok(());
        for EndedWindow { tool, summary } in ended {
            // The others are not to suffer from it, least of all when they have to go back.
            result = self.decide(&tool, summary).and(result);
        }
        result
    }

    fn decide(&mut self, tool: &ToolEntry, summary: WindowSummary) -> Result<(), String> {
        let key = self.settings.key(&tool.published);
        let now_ms = now_ms();
        let unwritten = |error| format!("the history of {key} cannot be kept: {error}");
        if !self.configured.contains(&key) {
            let settings = Knobs::settings(&tool.loaded);
            let written = self.engine.configure(now_ms, &key, &settings).map_err(unwritten)?;
            written.iter().for_each(|entry| self.publish(entry));
            self.configured.insert(key.clone());
        }
        let going_back = |back: &Entry| tool.knobs.set(back.knob, back.value);
        let written = self.engine.window_ended(now_ms, &key, summary, going_back).map_err(unwritten)?;
        written.iter().for_each(|entry| self.publish(entry));
        Ok(())
    }

    /// Says what happened to a knob. The one place from which it goes out.
    fn publish(&self, entry: &Entry) {
        let Entry { tool, knob, what, from, value, why, .. } = entry;
        let (knob, what) = (knob.as_str(), what.words());
        tracing::info!(%tool, knob, what, from, value, why, "context engine");
        let data = json!({ "tool": tool, "knob": knob, "what": what, "from": from, "value": value, "why": why });
        self.bus.publish(Event::new("knob_set", "root/context".into(), Class::Critical).with_data(data.to_string()));
    }

    /// Sets the knobs of `tool` as the history says; a trial counts only for who made it.
    fn set_knobs(&self, tool: &ToolEntry) {
        let key = self.settings.key(&tool.published);
        let ours = self.lock.is_some() && self.configured.contains(&key);
        for (knob, setting) in Knobs::settings(&tool.loaded) {
            let is_allowed = |value: &u64| (setting.least..=setting.most).contains(value);
            let known = self.engine.ledger().knob(&key, knob);
            let value = known
                .filter(|state| state.pinned || state.setting == setting)
                .map(|state: &KnobState| if ours { state.value } else { state.baseline });
            tool.knobs.set(knob, value.filter(is_allowed).unwrap_or(setting.configured));
        }
    }
}

fn now_ms() -> u64 {
    // A clock before 1970 is as good as none; the history's own takes over.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
