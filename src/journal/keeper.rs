//! Takes events from the bus and writes them down, on a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::FILE;
use super::file::JournalFile;
use crate::config::JournalPolicy;
use crate::events::{Batch, Class, Event, Subscription};
use crate::private_folder;

/// Batches that may wait to be written.
pub const WAITING: usize = 4096;

/// Events that one transaction writes, about.
const TOGETHER: usize = 4096;

/// How long events are gathered. A few transactions a second cost little; and by then a server that just starts has
/// served its first requests before the file is opened.
const GATHER: Duration = Duration::from_millis(20);

/// How long a file that refused is left alone.
const RETRY: Duration = Duration::from_millis(100);

/// The handle of the thread, which ends with its subscription.
#[derive(Debug)]
pub struct Journal {
    ended: Receiver<()>,
}

impl Journal {
    /// Writes what `events` tells to the journal in `folder`, until it tells no more. `boot` names this run of the server.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(folder: PathBuf, boot: String, policy: JournalPolicy, events: Subscription) -> std::io::Result<Self> {
        let (end, ended) = bounded(1);
        let keeper = Keeper {
            folder,
            boot,
            policy,
            events,
            file: None,
            pending: Vec::new(),
            written: 0,
            told: 0,
            refused: false,
        };
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
            keeper.run();
            let _ = end.send(());
        })?;
        Ok(Self { ended })
    }

    /// Waits, at most `patience`, until everything is written. The subscription must have been ended.
    pub fn finish(self, patience: Duration) {
        if self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the server ends before all events were written; the newest are missing in the journal");
        }
    }
}

struct Keeper {
    folder: PathBuf,
    boot: String,
    policy: JournalPolicy,
    events: Subscription,
    file: Option<JournalFile>,
    /// What has yet to be written.
    pending: Vec<Batch>,
    /// Events known to be in the file.
    written: i64,
    /// Lost events that are said in the journal, or will be with what is pending.
    told: u64,
    /// The file refuses, and that was said.
    refused: bool,
}

impl Keeper {
    fn run(mut self) {
        loop {
            let goes_on = match self.pending.is_empty() {
                true => {
                    let goes_on = self.gather();
                    self.note_lost();
                    goes_on
                }
                // What comes meanwhile waits in the queue, which has a bound.
                false => {
                    std::thread::sleep(RETRY);
                    true
                }
            };
            // A bug of ours must not be the end of the journal.
            let wrote = catch_unwind(AssertUnwindSafe(|| self.write()));
            match wrote.unwrap_or_else(|_| Err("the writer panicked".to_owned())) {
                Ok(()) => self.refused = false,
                Err(error) => self.fail(&error),
            }
            if !goes_on {
                return;
            }
        }
    }

    /// Takes the next events; whether there may be more after them.
    fn gather(&mut self) -> bool {
        let mut until = None;
        let mut events = 0;
        while events < TOGETHER {
            match self.events.next(until) {
                Ok(batch) => {
                    events += batch.len();
                    self.pending.push(batch);
                    until.get_or_insert_with(|| Instant::now() + GATHER);
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    /// What was lost on the way here stands in the journal, where it is missing.
    fn note_lost(&mut self) {
        let lost = self.events.lost();
        if lost > self.told {
            let event = Event::new("events_lost", "root/journal".into(), Class::Critical);
            let event = event.with_data(format!("{{\"count\":{}}}", lost - self.told));
            self.pending.push(Arc::new([Event { at_us: Utc::now().timestamp_micros(), ..event }]));
            self.told = lost;
        }
    }

    fn write(&mut self) -> Result<(), String> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let said = |error: rusqlite::Error| error.to_string();
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                private_folder::prepare(&self.folder, "state folder", "--state-dir")?;
                let path = self.folder.join(FILE);
                none.insert(JournalFile::open(&path, &self.boot, self.policy.fsync, self.policy.keep).map_err(said)?)
            }
        };
        // An error may have come after the commit.
        if file.next_seq() == self.written {
            let events = self.pending.iter().flat_map(|batch| batch.iter());
            file.append(events, Utc::now().timestamp_micros()).map_err(|error| error.to_string())?;
        }
        self.written = file.next_seq();
        self.pending.clear();
        Ok(())
    }

    fn fail(&mut self, error: &str) {
        self.file = None;
        if !std::mem::replace(&mut self.refused, true) {
            let file = shown(&self.folder);
            tracing::error!(
                "the journal {file} cannot be written: {error}; it is tried again, and what is lost is counted"
            );
        }
    }
}

fn shown(folder: &Path) -> String {
    folder.join(FILE).display().to_string()
}
