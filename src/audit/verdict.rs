//! What became of a check: the breaks, what is odd but allowed, and how much was seen.

use std::fmt;

/// Breaks and notes kept; more are counted.
const KEPT: usize = 100;

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// Where, as the caller names it: `FILE:LINE`, or a running number.
    pub place: String,
    /// The boot concerned.
    pub boot: String,
    /// The number of the line in it.
    pub seq: u64,
    /// The rule, in one word.
    pub rule: &'static str,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, boot, seq, rule, text } = self;
        write!(f, "{place}: [{rule}] {text} (boot {boot}, seq {seq})")
    }
}

/// How much was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines.
    pub records: u64,
    /// Runs of a process.
    pub boots: u64,
    /// Exits of children, other than at an orderly end.
    pub exits: u64,
    /// Children that came back.
    pub restarts: u64,
    /// Workers put into quarantine, or back into it.
    pub quarantines: u64,
    /// Tools out of quarantine.
    pub readmissions: u64,
    /// Calls that met a fault.
    pub call_faults: u64,
    /// Times a breaker opened.
    pub breakers_opened: u64,
    /// Records that were lost.
    pub dropped: u64,
}

/// The outcome.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// What does not hold, in order; at most 100 of them.
    pub breaks: Vec<Break>,
    /// How many more there are.
    pub more_breaks: u64,
    /// What is odd and allowed; at most 100 of it.
    pub notes: Vec<String>,
    /// How many more there are.
    pub more_notes: u64,
    /// How much was seen.
    pub counts: Counts,
}

impl Verdict {
    /// Whether every rule holds.
    pub fn is_clean(&self) -> bool {
        self.breaks.is_empty()
    }

    /// Keeps or counts a break.
    pub fn broken(&mut self, found: Break) {
        if self.breaks.len() < KEPT {
            self.breaks.push(found);
        } else {
            self.more_breaks += 1;
        }
    }

    /// Keeps or counts a note.
    pub fn note(&mut self, note: String) {
        if self.notes.len() < KEPT {
            self.notes.push(note);
        } else {
            self.more_notes += 1;
        }
    }

    /// `812 records, 3 boots, 4 restarts, 1 quarantine: no rule broken`.
    pub fn summary(&self) -> String {
        let counts = &self.counts;
        let mut parts = vec![many(counts.records, "record"), many(counts.boots, "boot")];
        for (number, noun) in [
            (counts.exits, "exit"),
            (counts.restarts, "restart"),
            (counts.quarantines, "quarantine"),
            (counts.breakers_opened, "opened breaker"),
            (counts.call_faults, "call fault"),
        ] {
            if number > 0 {
                parts.push(many(number, noun));
            }
        }
        let broken = match self.breaks.len() as u64 + self.more_breaks {
            0 => "no rule broken".to_owned(),
            breaks => format!("{} of the rules", many(breaks, "break")),
        };
        format!("{}: {broken}", parts.join(", "))
    }
}

fn many(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_are_kept_up_to_a_bound_and_counted_beyond() {
        let mut verdict = Verdict::default();
        for seq in 0..150 {
            let found = Break { place: "1".into(), boot: "b".into(), seq, rule: "seq", text: "a gap".into() };
            verdict.broken(found);
        }
        assert_eq!((verdict.breaks.len(), verdict.more_breaks), (KEPT, 50));
        verdict.counts = Counts { records: 812, boots: 1, restarts: 4, ..Counts::default() };
        assert_eq!(verdict.summary(), "812 records, 1 boot, 4 restarts: 150 breaks of the rules");
        assert_eq!(verdict.breaks[7].to_string(), "1: [seq] a gap (boot b, seq 7)");
    }
}
