//! How far it is and how it goes, for a person who waits; only on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use nurones_mcp::load::{Metric, Phase, Progress, Round};

/// Draws on standard error, if that is a terminal.
pub struct Bar(ProgressBar);

impl Bar {
    /// For measurements of `duration`.
    pub fn new(duration: Duration) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{prefix:>10}  {bar:30} {msg}").expect("the template is well-formed");
        Self(ProgressBar::new(duration.as_millis() as u64).with_style(style))
    }

    /// Shows how far it is, and how the last second went.
    pub fn show(&self, round: Option<&Round<'_>>, progress: &Progress) {
        let phase = match progress.phase {
            Phase::Starting => "starting",
            Phase::WarmUp => "warm-up",
            Phase::Measuring => "measuring",
            Phase::Draining => "draining",
        };
        let round = round.map(|round| format!("{} {}/{} ", round.name, round.number, round.of)).unwrap_or_default();
        self.0.set_prefix(format!("{round}{phase}"));
        self.0.set_position(progress.measured.as_millis() as u64);
        let latest = progress.latest.map(|second| {
            let p99 = second.p99_us.map_or("-".to_owned(), |us| Metric::P99.shown(us));
            let memory = second.rss_mb.map(|mb| format!(", {mb:.0} MB")).unwrap_or_default();
            let (good, shed, errors) = (second.good, second.shed, second.errors);
            format!("{good:.0} good/s, p99 {p99}, {shed:.0} shed/s, {errors:.0} errors/s{memory}")
        });
        self.0.set_message(latest.unwrap_or_else(|| format!("{} of {} answered", progress.answered, progress.sent)));
    }

    /// Takes it off the screen.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}
