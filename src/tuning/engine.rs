//! The tuner with a history: reads what others wrote, ends windows, writes what is decided.
//!
//! Rule: what could not be written does not happen; but going back happens either way. The history then still tells of
//! an open trial, which is undone by whoever reads it next.

use std::io;

use super::entry::{Entry, What};
use super::history::{AppendError, History};
use super::knob::{KnobName, KnobSetting};
use super::knob_state::OpenTrial;
use super::ledger::Ledger;
use super::settings::TuningSettings;
use super::tuner::Tuner;
use super::window::WindowSummary;

/// Times that something is decided anew because somebody else has written meanwhile.
const TRIES: usize = 3;

/// See the module documentation.
pub struct Engine<H> {
    settings: TuningSettings,
    tuner: Tuner,
    history: H,
    /// What happened and could not be written yet: knobs that went back.
    owed: Vec<Entry>,
}

impl<H: History> Engine<H> {
    /// An engine over `history`, which it has yet to read.
    pub fn new(settings: TuningSettings, history: H) -> Self {
        Self { tuner: Tuner::new(settings.clone()), settings, history, owed: Vec::new() }
    }

    /// Where the knobs stand.
    pub fn ledger(&self) -> &Ledger {
        self.tuner.ledger()
    }

    /// A tool is served with these knobs. Returns what was written because of that.
    ///
    /// # Errors
    /// When the history cannot be read or written; nothing may be tuned then.
    pub fn configure(
        &mut self,
        now_ms: u64,
        tool: &str,
        knobs: &[(KnobName, KnobSetting)],
    ) -> Result<Vec<Entry>, AppendError> {
        if !self.settings.enabled {
            return Ok(Vec::new());
        }
        self.write(|tuner| tuner.configure(now_ms, tool, knobs))
    }

    /// A window of `tool` has ended with `window`. Returns what was decided and written because of it. Going back is told
    /// to `going_back` first: it does not wait for the disk.
    ///
    /// # Errors
    /// When the history cannot be read or written. What was decided then did not happen, but for going back.
    pub fn window_ended(
        &mut self,
        now_ms: u64,
        tool: &str,
        window: WindowSummary,
        going_back: impl FnOnce(&Entry),
    ) -> Result<Vec<Entry>, AppendError> {
        if !self.settings.enabled {
            return Ok(Vec::new());
        }
        self.tuner.observe(tool, window);
        if let Some(back) = self.tuner.decide(now_ms, tool).filter(|entry| entry.what == What::RolledBack) {
            going_back(&back);
        }
        self.write(|tuner| tuner.decide(now_ms, tool).into_iter().collect())
    }

    /// Takes up what others have written.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn catch_up(&mut self) -> io::Result<()> {
        let Some(entries) = self.history.read()? else { return Ok(()) };
        let mut ledger = Ledger::of(&entries);
        // Somebody else may have ended the trial meanwhile. What they chose then stands.
        self.owed.retain(|back| {
            let state = ledger.knob(&back.tool, back.knob);
            state.is_some_and(|state| {
                let is_the_trial = |trial: OpenTrial| trial.former == back.value && trial.since_ms <= back.at_ms;
                state.value == back.from && state.trial.is_some_and(is_the_trial)
            })
        });
        for back in &mut self.owed {
            back.at_ms = ledger.clock(back.at_ms);
            ledger.apply(back);
        }
        self.tuner.replace(ledger);
        Ok(())
    }

    fn write(&mut self, decide: impl Fn(&Tuner) -> Vec<Entry>) -> Result<Vec<Entry>, AppendError> {
        let mut failed = AppendError::Moved;
        for _ in 0..TRIES {
            let caught_up = self.catch_up();
            let decided = decide(&self.tuner);
            let entries = [self.owed.as_slice(), decided.as_slice()].concat();
            if entries.is_empty() {
                return caught_up.map(|()| decided).map_err(AppendError::Io);
            }
            match caught_up.map_err(AppendError::Io).and_then(|()| self.history.append(&entries)) {
                Ok(()) => {
                    self.owed.clear();
                    decided.iter().for_each(|entry| self.tuner.apply(entry));
                    return Ok(decided);
                }
                Err(error) => failed = error,
            }
            if matches!(failed, AppendError::Io(_)) {
                break;
            }
        }
        let mut back = decide(&self.tuner);
        back.retain(|entry| entry.what == What::RolledBack);
        back.iter().for_each(|entry| self.tuner.apply(entry));
        self.owed.extend(back);
        Err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    const KNOB: KnobName = KnobName::LaneDepth;

    #[derive(Default)]
    struct Disk {
        entries: Vec<Entry>,
        is_full: bool,
    }

    struct OnDisk {
        disk: Rc<RefCell<Disk>>,
        read: Option<usize>,
    }

    impl History for OnDisk {
        fn read(&mut self) -> io::Result<Option<Vec<Entry>>> {
            let entries = &self.disk.borrow().entries;
            let is_new = self.read.replace(entries.len()) != Some(entries.len());
            Ok(is_new.then(|| entries.clone()))
        }

        fn append(&mut self, entries: &[Entry]) -> Result<(), AppendError> {
            let mut disk = self.disk.borrow_mut();
            if disk.is_full {
                return Err(io::Error::other("the disk is full").into());
            }
            if self.read != Some(disk.entries.len()) {
                return Err(AppendError::Moved);
            }
            disk.entries.extend_from_slice(entries);
            self.read = Some(disk.entries.len());
            Ok(())
        }
    }

    /// An engine whose trial went badly while nothing could be written.
    fn went_back_unwritten() -> (Engine<OnDisk>, Rc<RefCell<Disk>>) {
        let disk = Rc::<RefCell<Disk>>::default();
        let settings = TuningSettings { enabled: true, ..TuningSettings::default() };
        let mut engine = Engine::new(settings, OnDisk { disk: Rc::clone(&disk), read: None });
        engine.configure(0, "t", &[(KNOB, KnobSetting { configured: 1000, least: 1, most: 5000 })]).unwrap();
        let tries = |entries: Vec<Entry>| entries.iter().any(|entry| entry.what == What::Trial);
        let trial = (1..20).find(|window| tries(engine.window_ended(window * 10_000, "t", REFUSING, |_| ()).unwrap()));
        assert!(trial.is_some() && engine.ledger().knob("t", KNOB).unwrap().trial.is_some());
        disk.borrow_mut().is_full = true;
        let (mut back, slow) = (None, WindowSummary { p95_us: 9_000, ..REFUSING });
        engine.window_ended(300_000, "t", slow, |entry| back = Some(entry.value)).unwrap_err();
        assert_eq!(back, Some(1000));
        disk.borrow_mut().is_full = false;
        (engine, disk)
    }

    const REFUSING: WindowSummary =
        WindowSummary { calls: 1000, p95_us: 100, queue_wait_p95_us: 10, error_pct: 0.0, shed_pct: 0.5, tunable: true };

    #[test]
    fn going_back_needs_no_disk_and_is_written_when_there_is_one() {
        let (mut engine, disk) = went_back_unwritten();
        assert_eq!(engine.ledger().knob("t", KNOB).unwrap().value, 1000);
        engine.window_ended(400_000, "t", REFUSING, |_| ()).unwrap();
        let last = disk.borrow().entries.last().cloned().unwrap();
        assert_eq!((last.what, last.from, last.value), (What::RolledBack, 1100, 1000));
    }

    #[test]
    fn going_back_late_does_not_undo_what_a_person_chose_meanwhile() {
        let (mut engine, disk) = went_back_unwritten();
        let pinned = Entry {
            at_ms: 350_000,
            tool: "t".to_owned(),
            knob: KNOB,
            what: What::Pinned,
            from: 1100,
            value: 1234,
            setting: None,
            why: "a person".to_owned(),
        };
        disk.borrow_mut().entries.push(pinned.clone());
        engine.window_ended(400_000, "t", REFUSING, |_| ()).unwrap();
        let state = engine.ledger().knob("t", KNOB).unwrap();
        assert_eq!((state.value, state.pinned), (1234, true));
        assert_eq!(disk.borrow().entries.last(), Some(&pinned));
    }
}
