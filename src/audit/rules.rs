//! The rules of the log, checked line by line. Memory grows with boots that have not ended and their children, not with
//! lines.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::entry::Entry;
use super::life::{Life, Wrong, is_of_a_life};
use super::read::{LogReader, What};
use super::verdict::{Break, Verdict};

/// The parts of the end, in their order.
const PHASES: [&str; 3] = ["drain", "interrupt", "stop"];

/// Reads one entry after the other.
#[derive(Default)]
pub struct Checker {
    verdict: Verdict,
    running: BTreeMap<String, Boot>,
    ended: BTreeSet<String>,
    file: String,
    line: u64,
    /// Lines before these were rotated away.
    older_are_gone: bool,
}

/// A boot that has not ended.
#[derive(Default)]
struct Boot {
    next_seq: u64,
    mono_us: u64,
    lives: BTreeMap<String, Life>,
    tools: BTreeMap<String, Tool>,
    /// How many of [`PHASES`] are behind it.
    phases: usize,
    /// Children that were given up, until their supervisor or the process ends.
    escalated: BTreeSet<String>,
    /// Lines are missing, so that what is not known may still be.
    incomplete: bool,
}

/// What holds for a tool as a whole.
#[derive(Default)]
struct Tool {
    /// `open`, `half_open` or `closed`; `None` when lines are missing.
    breaker: Option<&'static str>,
    /// One of its workers was quarantined and it is not readmitted.
    quarantined: bool,
}

/// Checks the log at `path` with the files that were put aside.
///
/// # Errors
/// When it cannot be read.
pub fn check(path: &Path) -> io::Result<Verdict> {
    let mut reader = LogReader::open(path)?;
    let (mut checker, mut file, mut first) = (Checker::new(), usize::MAX, true);
    while let Some((place, what)) = reader.next_line()? {
        if place.file != file {
            checker.begin_file(reader.name(&place), false);
            file = place.file;
        }
        checker.line = place.line;
        match what {
            What::Torn { at_end } => checker.see_torn(at_end),
            What::Entry(entry) => {
                if first {
                    // Only then may boots begin in the middle: there were older files, and they are gone.
                    checker.older_are_gone = entry.event == "log_rotated" || (reader.oldest_is_aged() && entry.seq > 0);
                    first = false;
                }
                checker.check(&entry);
            }
        }
    }
    Ok(checker.finish())
}

impl Checker {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What comes now stands in `name`; with `older_are_gone` the lines before it were rotated away.
    pub fn begin_file(&mut self, name: String, older_are_gone: bool) {
        (self.file, self.line, self.older_are_gone) = (name, 0, older_are_gone);
    }

    /// Takes the next entry.
    pub fn see(&mut self, entry: &Entry) {
        self.line += 1;
        self.check(entry);
    }

    /// Takes a line that was cut off.
    pub fn see_torn(&mut self, at_end: bool) {
        if at_end {
            let text = format!("{}: the last line is cut off; its writer was killed or is writing", self.place());
            self.verdict.note(text);
        } else {
            self.broken("", 0, ("torn", "this line is cut off or is no record".to_owned()));
        }
    }

    /// What became of it.
    pub fn finish(mut self) -> Verdict {
        for (name, boot) in std::mem::take(&mut self.running) {
            let last = boot.next_seq.saturating_sub(1);
            for path in &boot.escalated {
                let text = format!("{path} was given up, and no end of its supervisor or of the process followed");
                self.broken(&name, last, ("escalated", text));
            }
            let exits = boot.lives.iter().filter(|(_, life)| life.owes_a_consequence()).map(|(path, _)| path.as_str());
            let exits: Vec<&str> = exits.collect();
            let owed = match exits.is_empty() {
                true => String::new(),
                false => format!(", between the exit of {} and what follows it", exits.join(", ")),
            };
            self.verdict.note(format!("boot {name} has no end: it runs or was killed{owed}"));
        }
        self.verdict
    }

    fn place(&self) -> String {
        if self.file.is_empty() { format!("record {}", self.line) } else { format!("{}:{}", self.file, self.line) }
    }

    fn broken(&mut self, boot: &str, seq: u64, (rule, text): Wrong) {
        let place = self.place();
        self.verdict.broken(Break { place, boot: boot.to_owned(), seq, rule, text });
    }

    fn check(&mut self, entry: &Entry) {
        self.verdict.counts.records += 1;
        if self.ended.contains(&entry.boot) {
            let text = format!("{} after the boot has stopped", entry.event);
            return self.broken(&entry.boot, entry.seq, ("ended", text));
        }
        let mut wrong = Vec::new();
        let mut boot = match self.running.remove(&entry.boot) {
            Some(boot) => boot,
            None => self.begin_boot(entry, &mut wrong),
        };
        wrong.extend(super::fields::check(entry));
        boot.check_numbers(entry, &mut wrong);
        self.count(entry);
        if is_of_a_life(&entry.event) {
            wrong.extend(boot.check_life(entry));
        } else {
            wrong.extend(boot.check_rest(entry));
        }
        if entry.event == "stopped" {
            wrong.extend(boot.check_end());
            self.ended.insert(entry.boot.clone());
        } else {
            self.running.insert(entry.boot.clone(), boot);
        }
        for wrong in wrong {
            self.broken(&entry.boot, entry.seq, wrong);
        }
    }

    fn begin_boot(&mut self, entry: &Entry, wrong: &mut Vec<Wrong>) -> Boot {
        self.verdict.counts.boots += 1;
        if entry.seq == 0 {
            if entry.event != "boot" {
                wrong.push(("boot", format!("{} is the first line of its boot, where boot must be", entry.event)));
            }
            return Boot::default();
        }
        if self.older_are_gone {
            self.verdict.note(format!("boot {} began in a file that was rotated away", entry.boot));
        } else {
            wrong.push(("seq", format!("the first line of this boot has the number {}", entry.seq)));
        }
        Boot { next_seq: entry.seq, incomplete: true, ..Boot::default() }
    }

    fn count(&mut self, entry: &Entry) {
        let counts = &mut self.verdict.counts;
        match entry.event.as_str() {
            "restart_scheduled" | "escalated" => counts.exits += 1,
            "quarantined" => (counts.exits, counts.quarantines) = (counts.exits + 1, counts.quarantines + 1),
            "restart_ok" => counts.restarts += 1,
            "readmitted" => counts.readmissions += 1,
            "call_faulted" => counts.call_faults += entry.count.unwrap_or(1),
            "breaker_open" => counts.breakers_opened += 1,
            "log_dropped" => counts.dropped += entry.count.unwrap_or(0),
            _ => {}
        }
    }
}

impl Boot {
    fn check_numbers(&mut self, entry: &Entry, wrong: &mut Vec<Wrong>) {
        if entry.seq != self.next_seq {
            wrong.push(("seq", format!("number {} where {} is due", entry.seq, self.next_seq)));
            self.forget();
        }
        self.next_seq = self.next_seq.max(entry.seq.saturating_add(1));
        if entry.mono_us < self.mono_us {
            wrong.push(("clock", format!("mono_us goes back from {} to {}", self.mono_us, entry.mono_us)));
        }
        self.mono_us = self.mono_us.max(entry.mono_us);
        if entry.event == "boot" && entry.seq != 0 {
            wrong.push(("boot", "a boot in the middle of a boot".to_owned()));
        }
    }

    /// Lines are missing: what is known of the children may not hold any more.
    fn forget(&mut self) {
        self.incomplete = true;
        self.lives.values_mut().for_each(Life::forget);
        self.tools.values_mut().for_each(|tool| (tool.breaker, tool.quarantined) = (None, true));
    }

    fn check_life(&mut self, entry: &Entry) -> Option<Wrong> {
        let (path, incomplete) = (&entry.path, self.incomplete);
        match entry.event.as_str() {
            "quarantined" => {
                let tool = entry.tool().unwrap_or_default().to_owned();
                self.tools.entry(tool).or_insert_with(|| Tool::new(incomplete)).quarantined = true;
            }
            "escalated" => {
                self.escalated.insert(path.clone());
            }
            // The supervisor of who was given up has ended too, and its own supervisor decides.
            "child_exited" => self.escalated.retain(|child| parent(child) != *path),
            _ => {}
        }
        self.lives.entry(path.clone()).or_insert_with(|| Life::new(incomplete)).see(entry)
    }

    fn check_rest(&mut self, entry: &Entry) -> Option<Wrong> {
        let incomplete = self.incomplete;
        match entry.event.as_str() {
            "shutdown_phase" => {
                self.escalated.clear();
                let phase = entry.phase.as_deref().unwrap_or_default();
                let at = PHASES.iter().position(|known| *known == phase)?;
                let (before, after) = (self.phases, at + 1);
                self.phases = before.max(after);
                (after <= before).then(|| ("phase", format!("the phase {phase} comes again or too late")))
            }
            "log_dropped" => {
                self.forget();
                Some(("dropped", format!("{} records were lost", entry.count.unwrap_or(0))))
            }
            "readmitted" | "breaker_open" | "breaker_half_open" | "breaker_closed" => {
                let name = entry.tool().unwrap_or_default().to_owned();
                self.tools.entry(name).or_insert_with(|| Tool::new(incomplete)).see(entry)
            }
            _ => None,
        }
    }

    fn check_end(&self) -> Vec<Wrong> {
        let owing = self.lives.iter().filter(|(_, life)| life.owes_a_consequence());
        owing.map(|(path, _)| ("exit", format!("{path} exited, and the boot ends without a word on it"))).collect()
    }
}

impl Tool {
    fn new(incomplete: bool) -> Self {
        Self { breaker: if incomplete { None } else { Some("closed") }, quarantined: incomplete }
    }

    fn see(&mut self, entry: &Entry) -> Option<Wrong> {
        let (event, path) = (entry.event.as_str(), &entry.path);
        let (before, after): (&[&str], _) = match event {
            "readmitted" => {
                let quarantined = std::mem::replace(&mut self.quarantined, false);
                let text = || format!("{path} is readmitted and none of its workers was quarantined");
                return (!quarantined).then(|| ("readmitted", text()));
            }
            "breaker_open" => (&["closed", "half_open"], "open"),
            "breaker_half_open" => (&["open"], "half_open"),
            _ => (&["half_open"], "closed"),
        };
        let known = self.breaker.replace(after);
        let wrong = known.filter(|known| !before.contains(known))?;
        Some(("breaker", format!("{event} at {path}, whose breaker is {wrong}")))
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
