//! What of a tool can be moved while it serves, and where it stands.
//!
//! Whoever needs a value reads it when it is needed: a relaxed load. Only the context engine moves one; without it all
//! stay as they are configured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::tuning::knob::{KnobName, KnobSetting};
use crate::wasi::lazy_tool::LazyTool;
use crate::wasi::manifest::Manifest;

/// Answers sent together. At 10 µs a call the first waits for 150 µs; the sixteenth part of a system call and a wake-up
/// is little beside a call.
pub const BATCH_SIZE: usize = 16;

/// How long past its deadline a call is left to its worker, which is to say what became of it. One that still waits in
/// its lane then, behind a long call or for a worker that is not there, is answered without it.
pub const DEADLINE_SLACK: Duration = Duration::from_millis(50);

/// The most that a manifest may say of `queue_depth`.
const MOST_DEPTH: u64 = 65_536;

/// See the module documentation.
#[derive(Debug)]
pub struct Knobs {
    /// Calls that may wait; the lane's own.
    pub lane_depth: Arc<AtomicUsize>,
    batch_size: AtomicUsize,
    deadline_slack_us: AtomicU64,
    reuse_calls: AtomicU64,
}

impl Knobs {
    /// As `manifest` says.
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            lane_depth: Arc::new(AtomicUsize::new(manifest.queue_depth)),
            batch_size: AtomicUsize::new(BATCH_SIZE),
            deadline_slack_us: AtomicU64::new(DEADLINE_SLACK.as_micros() as u64),
            reuse_calls: AtomicU64::new(manifest.reuse.calls),
        }
    }

    /// The places that the lane of a tool must have, if its depth is moved.
    pub fn most_depth(manifest: &Manifest) -> usize {
        KnobSetting::around(manifest.queue_depth as u64, MOST_DEPTH).most as usize
    }

    /// What is configured for `tool`, and how far it may go; only what makes a difference to it.
    pub fn settings(tool: &LazyTool) -> Vec<(KnobName, KnobSetting)> {
        let manifest = &tool.manifest;
        let slack_us = DEADLINE_SLACK.as_micros() as u64;
        let mut settings = vec![
            (KnobName::Workers, KnobSetting::fixed(manifest.workers as u64)),
            (KnobName::LaneDepth, KnobSetting::around(manifest.queue_depth as u64, MOST_DEPTH)),
            (KnobName::BatchSize, KnobSetting::around(BATCH_SIZE as u64, u64::MAX)),
            (KnobName::DeadlineSlackUs, KnobSetting::around(slack_us, u64::MAX)),
        ];
        if tool.is_warm() {
            settings.push((KnobName::ReuseCalls, KnobSetting::around(manifest.reuse.calls, u64::MAX)));
        }
        settings
    }

    /// Moves one. Those that are only proposed stay.
    pub fn set(&self, knob: KnobName, value: u64) {
        match knob {
            KnobName::Workers | KnobName::P95Us => {}
            KnobName::LaneDepth => self.lane_depth.store(value as usize, Ordering::Relaxed),
            KnobName::BatchSize => self.batch_size.store(value as usize, Ordering::Relaxed),
            KnobName::DeadlineSlackUs => self.deadline_slack_us.store(value, Ordering::Relaxed),
            KnobName::ReuseCalls => self.reuse_calls.store(value, Ordering::Relaxed),
        }
    }

    /// Answers sent together.
    pub fn batch_size(&self) -> usize {
        self.batch_size.load(Ordering::Relaxed)
    }

    /// How long past its deadline a call is left to its worker.
    pub fn deadline_slack(&self) -> Duration {
        Duration::from_micros(self.deadline_slack_us.load(Ordering::Relaxed))
    }

    /// Calls an instance serves before it is built anew.
    pub fn reuse_calls(&self) -> u64 {
        self.reuse_calls.load(Ordering::Relaxed)
    }
}
