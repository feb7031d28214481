//! The life of one child within a boot: which event may follow which.

use super::entry::Entry;

/// What is wrong, with the rule's name.
pub type Wrong = (&'static str, String);

/// Where the child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was said of it yet.
    Unseen,
    /// Lines are missing: it may be anywhere.
    Unknown,
    Up,
    Exited,
    Scheduled,
    Quarantined,
    Probing,
    Escalated,
    Stopped,
}

/// What is known of a child.
#[derive(Debug)]
pub struct Life {
    state: State,
    /// Of the life that runs, or ran last, if it is known.
    incarnation: Option<u64>,
    backoff_ms: u64,
}

/// Whether `event` is about a child's life.
pub fn is_of_a_life(event: &str) -> bool {
    follows_exit(event) || matches!(event, "child_started" | "child_exited" | "probe" | "restart_ok")
}

fn follows_exit(event: &str) -> bool {
    matches!(event, "restart_scheduled" | "quarantined" | "escalated" | "child_stopped")
}

impl Life {
    /// A child of which nothing was said, or of which something may have been said in lines that are `missing`.
    pub fn new(missing: bool) -> Self {
        let (state, incarnation) = if missing { (State::Unknown, None) } else { (State::Unseen, Some(0)) };
        Self { state, incarnation, backoff_ms: 0 }
    }

    /// Lines are missing: nothing is known any more.
    pub fn forget(&mut self) {
        *self = Self::new(true);
    }

    fn is_up_or_starting(&self) -> bool {
        matches!(self.state, State::Up | State::Unseen | State::Scheduled | State::Probing | State::Escalated)
    }

    /// Whether it exited and nobody has said what is done about it.
    pub fn owes_a_consequence(&self) -> bool {
        self.state == State::Exited
    }

    /// Takes the next event of this child.
    pub fn see(&mut self, entry: &Entry) -> Option<Wrong> {
        let due = self.incarnation_due(entry);
        let misplaced = if self.state == State::Unknown { None } else { self.judge(entry).err() };
        // What is wrong is said once: after a wrong number it is counted on from the right one, after an event that must
        // not be here from what it says.
        self.incarnation = if misplaced.is_some() { entry.incarnation.or(due) } else { due };
        let wrong = misplaced.or_else(|| expect_incarnation(entry, due).err());
        self.state = match entry.event.as_str() {
            "child_started" | "restart_ok" => State::Up,
            "child_exited" => State::Exited,
            "restart_scheduled" => State::Scheduled,
            "quarantined" => State::Quarantined,
            "escalated" => State::Escalated,
            "probe" => State::Probing,
            _ => State::Stopped,
        };
        self.backoff_ms = entry.backoff_ms().unwrap_or(self.backoff_ms);
        wrong
    }

    fn judge(&self, entry: &Entry) -> Result<(), Wrong> {
        let event = entry.event.as_str();
        if self.state == State::Stopped {
            return Err(("stopped", format!("{event} at {} after it was stopped", entry.path)));
        }
        if self.state == State::Exited && !follows_exit(event) {
            let known = "restart_scheduled, quarantined, escalated or child_stopped";
            return Err(("exit", format!("{event} at {} follows its exit, where {known} must", entry.path)));
        }
        match event {
            "child_started" if self.state != State::Unseen => {
                Err(("started", format!("{} starts for the second time in one boot", entry.path)))
            }
            "child_exited" if !self.is_up_or_starting() => {
                Err(("exit", format!("{} exits and was neither up nor starting", entry.path)))
            }
            "restart_scheduled" | "quarantined" | "escalated" => self.judge_consequence(entry),
            "probe" if self.state != State::Quarantined => {
                Err(("probe", format!("{} is probed and not in quarantine", entry.path)))
            }
            "restart_ok" => self.judge_restart(entry),
            _ => Ok(()),
        }
    }

    /// The incarnation that this event must have.
    fn incarnation_due(&self, entry: &Entry) -> Option<u64> {
        let Some(last) = self.incarnation else { return entry.incarnation };
        Some(match (entry.event.as_str(), self.state) {
            ("child_started", _) => 0,
            ("restart_ok", _) => last.saturating_add(1),
            // One that did not get up may count as a life or not.
            ("child_exited", State::Scheduled | State::Probing | State::Escalated)
                if entry.incarnation != Some(last) =>
            {
                last.saturating_add(1)
            }
            _ => last,
        })
    }

    fn judge_consequence(&self, entry: &Entry) -> Result<(), Wrong> {
        let (event, path) = (&entry.event, &entry.path);
        if self.state != State::Exited {
            return Err(("consequence", format!("{event} at {path} without an exit directly before it")));
        }
        Ok(())
    }

    fn judge_restart(&self, entry: &Entry) -> Result<(), Wrong> {
        let path = &entry.path;
        // One that was given up may come back with its supervisor's successor.
        if !matches!(self.state, State::Scheduled | State::Probing | State::Escalated) {
            return Err(("restart", format!("{path} is back and neither a restart nor a probe was announced")));
        }
        let (down_us, backoff_us) = (entry.downtime_us.unwrap_or(0), self.backoff_ms.saturating_mul(1000));
        if down_us < backoff_us {
            return Err(("downtime", format!("{path} is back after {down_us} µs and had to wait {backoff_us} µs")));
        }
        Ok(())
    }
}

/// Whether `entry` begins or ends the life that is `due`. What follows an exit may name either.
fn expect_incarnation(entry: &Entry, due: Option<u64>) -> Result<(), Wrong> {
    let (event, path) = (entry.event.as_str(), &entry.path);
    let counts = matches!(event, "child_started" | "child_exited" | "restart_ok");
    match (entry.incarnation, due) {
        (Some(said), Some(due)) if counts && said != due => {
            Err(("incarnation", format!("{event} at {path} has the incarnation {said}, where {due} is due")))
        }
        _ => Ok(()),
    }
}
