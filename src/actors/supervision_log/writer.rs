//! The handle that takes records, and the thread that writes them.
//!
//! Records go through a bounded queue to a thread of their own, never over the event bus and never on the path of a
//! call. What found the queue full or the disk refusing is counted and reported as `log_dropped`. Numbers are given
//! when a line is written, so they have no gaps.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::Level;

use super::Record;
use super::event;
use super::file::LogFile;
use super::joined_faults::JoinedFaults;
use super::line::{Stamp, render};
use super::words::{Words, tell};
use crate::actors::event_bus::EventBus;
use crate::config::LogRotation;
use crate::events::Event;
use crate::failpoint::points;
use crate::redact;

/// Records waiting to be written. A storm of restarts makes tens a second; more than this is lost and counted.
const QUEUE: usize = 4096;

enum Command {
    /// Boxed, as the queue's places are all there from the start.
    Record(Box<Record>),
    Flush(Sender<()>),
}

/// The handle; cheap to clone. The thread ends with the last of them.
#[derive(Clone)]
pub struct SupervisionLog {
    queue: Sender<Command>,
    dropped: Arc<AtomicU64>,
    bus: EventBus,
}

impl SupervisionLog {
    /// A log that says everything on standard error and appends it to `path`, if there is one. `boot` names this run of
    /// the process.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or the thread cannot be started.
    pub fn start(path: Option<&Path>, rotation: LogRotation, boot: String) -> io::Result<Self> {
        let file = path.map(|path| LogFile::open(path, rotation)).transpose()?;
        let (queue, receiver) = bounded(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer::new(file, boot, Arc::clone(&dropped));
        std::thread::Builder::new().name("supervision-log".to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self { queue, dropped, bus: EventBus::default() })
    }

    /// Says on `bus`, too, what is recorded from now on.
    #[must_use]
    pub fn announcing_on(self, bus: EventBus) -> Self {
        Self { bus, ..self }
    }

    /// Where it is said, too, what is recorded.
    pub fn bus(&self) -> &EventBus {
        &self.bus
    }

    /// Writes `record` soon, or counts it as dropped.
    pub fn record(&self, record: Record) {
        self.record_following(record, None);
    }

    /// As [`SupervisionLog::record`], of what followed from the event `cause`. Returns the event's id.
    pub fn record_following(&self, record: Record, cause: Option<u64>) -> Option<u64> {
        let wanted = self.bus.wants(event::class(&record));
        let id = wanted.then(|| self.bus.publish(Event { causation_id: cause, ..event::of(&record) })).flatten();
        self.write_soon(record);
        id
    }

    fn write_soon(&self, record: Record) {
        let _ = points::SLOW_RECORD.hit();
        if self.queue.try_send(Command::Record(Box::new(record))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits, at most `patience`, until everything recorded so far is written.
    pub fn flush(&self, patience: Duration) {
        let (done, wait) = bounded(1);
        if self.queue.send_timeout(Command::Flush(done), patience).is_ok() {
            let _ = wait.recv_timeout(patience);
        }
    }
}

struct Writer {
    file: Option<LogFile>,
    boot: String,
    seq: u64,
    start: Instant,
    faults: JoinedFaults,
    words: Words,
    /// Records that are lost and not reported yet.
    dropped: Arc<AtomicU64>,
    /// This process has begun a new file and not said so yet.
    rotated: bool,
    /// The file refuses, and that was said.
    refused: bool,
}

impl Writer {
    fn new(file: Option<LogFile>, boot: String, dropped: Arc<AtomicU64>) -> Self {
        Self {
            file,
            boot,
            seq: 0,
            start: Instant::now(),
            faults: JoinedFaults::default(),
            words: Words::default(),
            dropped,
            rotated: false,
            refused: false,
        }
    }

    fn run(mut self, queue: &Receiver<Command>) {
        loop {
            let next = match self.faults.next_due() {
                Some(due) => queue.recv_deadline(due),
                None => queue.recv().map_err(RecvTimeoutError::from),
            };
            match next {
                Ok(Command::Record(record)) => self.take(*record),
                Ok(Command::Flush(done)) => {
                    self.release_all();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {
                    let due = self.faults.release(Some(Instant::now()));
                    due.iter().for_each(|record| self.write(record));
                }
                Err(RecvTimeoutError::Disconnected) => return self.release_all(),
            }
        }
    }

    fn take(&mut self, record: Record) {
        for record in self.faults.take(record, Instant::now()) {
            self.write(&record);
        }
    }

    fn release_all(&mut self) {
        let held = self.faults.release(None);
        held.iter().for_each(|record| self.write(record));
        self.report_dropped();
        self.words.rest().iter().for_each(|(level, text)| tell(*level, text));
    }

    fn write(&mut self, record: &Record) {
        self.report_dropped();
        if !self.write_line(record) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.say(record);
    }

    fn report_dropped(&mut self) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped == 0 {
            return;
        }
        let notice = Record { count: Some(dropped), ..Record::new("log_dropped", "root".into()) };
        if self.write_line(&notice) {
            self.say(&notice);
        } else {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    fn say(&mut self, record: &Record) {
        if let Some((level, text)) = self.words.of(record) {
            tell(level, &text);
        }
    }

    /// Whether the line is in the file. Without a file nothing is lost.
    fn write_line(&mut self, record: &Record) -> bool {
        // A bug in the writer must not be the end of the log.
        let written = catch_unwind(AssertUnwindSafe(|| self.try_write_line(record)));
        match written.unwrap_or_else(|_| Err(io::Error::other("the writer panicked"))) {
            Ok(()) => {
                self.refused = false;
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.refused, true) {
                    let text = format!("the supervision log cannot be written: {error}; records are lost until it can");
                    tell(Level::ERROR, &text);
                }
                false
            }
        }
    }

    fn try_write_line(&mut self, record: &Record) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        // The first line of a boot is `boot`, so a full file waits for the second.
        self.rotated |= file.follow(self.seq > 0)?;
        if self.rotated {
            self.append(&Record::new("log_rotated", "root".into()))?;
            self.rotated = false;
        }
        self.append(record)
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let stamp = Stamp { boot: &self.boot, seq: self.seq, at: chrono::Utc::now(), since_boot: self.start.elapsed() };
        points::LOG_WRITE.hit()?;
        file.append(&redact::json_line(&render(record, &stamp)))?;
        self.seq += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const ROTATION: LogRotation = LogRotation { max_bytes: 1 << 20, keep: 3 };

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn seq_has_no_gaps_and_call_faults_are_joined() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let log = SupervisionLog::start(Some(&path), ROTATION, "b".to_owned()).unwrap();
        let fault = || Record { level: Some("L1"), ..Record::new("call_faulted", "root/tools/t/w0".into()) };
        log.record(Record::new("child_started", "root/tools/t/w0".into()));
        for _ in 0..10 {
            log.record(fault());
        }
        log.record(Record::new("child_exited", "root/tools/t/w0".into()));
        log.flush(Duration::from_secs(10));
        let lines = lines(&path);
        let seen: Vec<_> = lines.iter().map(|line| (line["event"].as_str().unwrap(), line["count"].as_u64())).collect();
        assert_eq!(
            seen,
            [("child_started", None), ("call_faulted", Some(1)), ("call_faulted", Some(9)), ("child_exited", None)]
        );
        assert!(lines.iter().enumerate().all(|(seq, line)| line["seq"] == seq as u64 && line["boot"] == "b"));
    }

    #[test]
    fn a_disk_that_refuses_is_reported_once_it_writes_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let good = LogFile::open(&path, ROTATION).unwrap();
        let full = LogFile::open(Path::new("/dev/full"), ROTATION).unwrap();
        let mut writer = Writer::new(Some(full), "b".to_owned(), Arc::default());
        writer.take(Record::new("child_started", "x".into()));
        writer.take(Record::new("child_started", "y".into()));
        writer.file = Some(good);
        writer.take(Record::new("child_started", "z".into()));
        let lines = lines(&path);
        assert_eq!(lines[0]["event"], "log_dropped");
        assert_eq!(lines[0]["count"], 2);
        assert_eq!((lines[1]["path"].as_str(), lines[1]["seq"].as_u64()), (Some("z"), Some(1)));
    }

    #[test]
    fn a_new_file_begins_by_saying_so_and_numbers_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let file = LogFile::open(&path, LogRotation { max_bytes: 300, keep: 100 }).unwrap();
        let mut writer = Writer::new(Some(file), "b".to_owned(), Arc::default());
        for _ in 0..20 {
            writer.take(Record::new("child_started", "x".into()));
        }
        let mut files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort_by_key(|path| lines(path)[0]["seq"].as_u64());
        assert!(files.len() > 5, "{files:?}");
        let all: Vec<Vec<Value>> = files.iter().map(|path| lines(path)).collect();
        assert!(all[1..].iter().all(|file| file[0]["event"] == "log_rotated"));
        assert!(all.iter().flatten().enumerate().all(|(seq, line)| line["seq"] == seq as u64));
        assert_eq!(all.iter().flatten().filter(|line| line["event"] == "child_started").count(), 20);
    }
}
