//! A progress bar for a person who waits; only on a terminal.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use nurones_mcp::load::{Phase, Progress};

/// Draws on standard error, if that is a terminal.
pub struct Bar(ProgressBar);

impl Bar {
    /// For a measurement of `duration`.
    pub fn new(duration: Duration) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{prefix:>10}  {bar:40} {msg}").expect("the template is well-formed");
        Self(ProgressBar::new(duration.as_millis() as u64).with_style(style))
    }

    /// Shows how far it is; says whether to go on.
    pub fn show(&self, progress: &Progress, stop: bool) -> ControlFlow<()> {
        self.0.set_prefix(match progress.phase {
            Phase::Starting => "starting",
            Phase::WarmUp => "warm-up",
            Phase::Measuring => "measuring",
            Phase::Draining => "draining",
        });
        self.0.set_position(progress.measured.as_millis() as u64);
        self.0.set_message(format!("{} of {} answered", progress.answered, progress.sent));
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Takes it off the screen.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}
