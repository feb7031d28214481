//! What happened, boot by boot and child by child: what the timeline and the picture show.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::entry::Entry;
use super::read::{LogReader, What};

/// Records kept of a whole log, so that memory is bounded; more are counted.
const KEPT: usize = 100_000;

/// A whole log.
#[derive(Default)]
pub struct History {
    /// In the order in which they began.
    pub boots: Vec<Boot>,
    /// Records beyond what is kept. They are in the sums, and not in the lanes.
    pub not_shown: u64,
    /// Lines that are no records.
    pub torn: u64,
    kept: usize,
    by_name: BTreeMap<String, usize>,
}

/// One run of a process.
#[derive(Default)]
pub struct Boot {
    /// Its name.
    pub name: String,
    /// When it began, as far as the log goes back.
    pub began: String,
    /// The last moment that is known, in microseconds since the boot.
    pub end_us: u64,
    /// Whether its end was recorded.
    pub has_ended: bool,
    /// What happened at each path, in order.
    pub lanes: BTreeMap<String, Vec<Entry>>,
    /// What it comes to.
    pub sums: Sums,
}

/// What a boot comes to.
#[derive(Default)]
pub struct Sums {
    /// Exits that were no part of the end.
    pub exits: u64,
    /// How long nobody stood in the place of a child that came back, in microseconds.
    pub downtimes_us: Vec<u64>,
    /// Calls that met a fault, by its code.
    pub faults: BTreeMap<String, u64>,
    /// How long tools were in quarantine, together, in microseconds.
    pub quarantined_us: u64,
    /// Since when a tool is in quarantine.
    quarantined: BTreeMap<String, u64>,
}

/// Reads the log at `path` with the files that were put aside.
///
/// # Errors
/// When it cannot be read.
pub fn gather(path: &Path) -> io::Result<History> {
    let mut reader = LogReader::open(path)?;
    let mut history = History::default();
    while let Some((_, what)) = reader.next_line()? {
        match what {
            What::Entry(entry) => history.add(*entry),
            What::Torn { .. } => history.torn += 1,
        }
    }
    history.boots.iter_mut().for_each(Boot::finish);
    Ok(history)
}

impl History {
    fn add(&mut self, entry: Entry) {
        let next = self.boots.len();
        let at = *self.by_name.entry(entry.boot.clone()).or_insert(next);
        if at == next {
            self.boots.push(Boot { name: entry.boot.clone(), began: entry.ts.clone(), ..Boot::default() });
        }
        let boot = &mut self.boots[at];
        boot.end_us = boot.end_us.max(entry.mono_us);
        boot.has_ended |= entry.event == "stopped";
        boot.sums.add(&entry);
        if self.kept == KEPT {
            self.not_shown += 1;
            return;
        }
        self.kept += 1;
        boot.lanes.entry(entry.path.clone()).or_default().push(entry);
    }
}

impl Boot {
    /// A quarantine that nobody ended lasts to the end.
    fn finish(&mut self) {
        for since in std::mem::take(&mut self.sums.quarantined).into_values() {
            self.sums.quarantined_us += self.end_us.saturating_sub(since);
        }
    }
}

impl Sums {
    fn add(&mut self, entry: &Entry) {
        match entry.event.as_str() {
            "restart_scheduled" | "escalated" => self.exits += 1,
            "quarantined" => {
                self.exits += 1;
                let tool = entry.tool().unwrap_or_default().to_owned();
                self.quarantined.entry(tool).or_insert(entry.mono_us);
            }
            "readmitted" => {
                let since = self.quarantined.remove(entry.tool().unwrap_or_default());
                self.quarantined_us += since.map_or(0, |since| entry.mono_us.saturating_sub(since));
            }
            "restart_ok" => self.downtimes_us.extend(entry.downtime_us),
            "call_faulted" => {
                let code = entry.reason_kind().unwrap_or("unknown").to_owned();
                *self.faults.entry(code).or_default() += entry.count.unwrap_or(1);
            }
            _ => {}
        }
    }

    /// The middle and the longest of the downtimes.
    pub fn downtime_us(&self) -> Option<(u64, u64)> {
        let mut sorted = self.downtimes_us.clone();
        sorted.sort_unstable();
        Some((*sorted.get(sorted.len().checked_sub(1)? / 2)?, *sorted.last()?))
    }
}
