//! The context engine's way into the server: ends the tools' windows and hands them to the thread that decides.
//!
//! It outlives the Context actor, which calls it whenever a window is over. Files are read and written by the thread only;
//! while it waits for the disk, windows grow longer instead of piling up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::{Sender, TrySendError, bounded};
use parking_lot::Mutex;

use super::event_bus::EventBus;
use super::tool_table::ToolEntry;
use super::tuning_thread::{EndedWindow, TuningThread};
use crate::tuning::settings::TuningSettings;

/// See the module documentation.
pub struct Tuning {
    settings: TuningSettings,
    bus: EventBus,
    folder: PathBuf,
    tools: Vec<Arc<ToolEntry>>,
    thread: Mutex<Option<Sender<Vec<EndedWindow>>>>,
}

impl Tuning {
    /// For these tools, with a history in `folder`; nothing at all when the engine is off. Without a folder, nothing is
    /// tuned either: the cap has to outlive the server.
    pub fn new(
        settings: &TuningSettings,
        folder: Option<&Path>,
        tools: Vec<Arc<ToolEntry>>,
        bus: &EventBus,
    ) -> Option<Arc<Self>> {
        if !settings.enabled {
            return None;
        }
        let Some(folder) = folder else {
            tracing::warn!(
                "the context engine has no folder to keep changes in and stays off; name one with --state-dir"
            );
            return None;
        };
        let (settings, bus, folder) = (settings.clone(), bus.clone(), folder.to_owned());
        Some(Arc::new(Self { settings, bus, folder, tools, thread: Mutex::default() }))
    }

    /// What a person says about it.
    pub fn settings(&self) -> &TuningSettings {
        &self.settings
    }

    /// Starts the thread, unless it runs. It sets the knobs where an earlier life of the server has left them.
    pub fn start(&self) {
        let mut thread = self.thread.lock();
        if thread.is_none() {
            *thread = self.spawn();
        }
    }

    /// Ends the window of every tool that was ever called.
    pub fn end_windows(&self) {
        let mut thread = self.thread.lock();
        let awake = || self.tools.iter().filter(|tool| tool.is_awake());
        let Some(sender) = thread.as_ref().filter(|sender| !sender.is_full()) else { return };
        let ended: Vec<_> = awake().filter_map(EndedWindow::of).collect();
        if !ended.is_empty()
            && let Err(TrySendError::Disconnected(_)) = sender.try_send(ended)
        {
            tracing::error!("the thread of the context engine has died and is started anew; please report this");
            *thread = self.spawn();
        }
    }

    fn spawn(&self) -> Option<Sender<Vec<EndedWindow>>> {
        let (sender, receiver) = bounded(1);
        let body = TuningThread::new(self.settings.clone(), &self.folder, self.tools.clone(), self.bus.clone());
        match std::thread::Builder::new().name("tuning".to_owned()).spawn(move || body.live(receiver)) {
            Ok(_) => Some(sender),
            Err(error) => {
                tracing::warn!("cannot start the thread of the context engine: {error}; nothing is tuned");
                None
            }
        }
    }
}
