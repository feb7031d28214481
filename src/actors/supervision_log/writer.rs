//! The supervision log: what was started, what ended and why, what was done about it. One JSON object per line.
//!
//! Records go through a bounded queue to a thread of their own, never over the event bus and never on the path of a
//! call. `seq` is given when a line is written and has no gaps within one `boot`; records that found the queue full or
//! the disk refusing are counted and reported as `log_dropped`. The file is opened for appending and each line is one
//! write, so several processes may share it.
//!
//! Faults of single calls (level L1) are joined: the first of a worker is written at once, those of the following
//! second as one record with their count.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::Serialize;

use super::Record;

/// Records waiting to be written. A storm of restarts makes tens a second; more than this is lost and counted.
const QUEUE: usize = 4096;

/// Window in which the call faults of one worker become one record.
const JOIN_FAULTS: Duration = Duration::from_secs(1);

enum Command {
    /// Boxed, as the queue's places are all there from the start.
    Record(Box<Record>),
    Flush(Sender<()>),
}

/// The handle; cheap to clone. Without a file it swallows everything.
#[derive(Clone)]
pub struct SupervisionLog {
    queue: Option<Sender<Command>>,
    dropped: Arc<AtomicU64>,
}

impl SupervisionLog {
    /// A log that keeps nothing.
    pub fn off() -> Self {
        Self { queue: None, dropped: Arc::default() }
    }

    /// A log that appends to `path`. `boot` names this run of the process.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or the thread cannot be started.
    pub fn append_to(path: &Path, boot: String) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (sender, receiver) = bounded(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            file,
            boot,
            seq: 0,
            dropped: Arc::clone(&dropped),
            faults: BTreeMap::new(),
            start: Instant::now(),
        };
        std::thread::Builder::new().name("supervision-log".to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self { queue: Some(sender), dropped })
    }

    /// Writes `record` soon, or counts it as dropped.
    pub fn record(&self, record: Record) {
        if let Some(queue) = &self.queue
            && queue.try_send(Command::Record(Box::new(record))).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits, at most `patience`, until everything recorded so far is written.
    pub fn flush(&self, patience: Duration) {
        let Some(queue) = &self.queue else { return };
        let (done, wait) = bounded(1);
        if queue.send_timeout(Command::Flush(done), patience).is_ok() {
            let _ = wait.recv_timeout(patience);
        }
    }
}

struct Writer {
    file: File,
    boot: String,
    seq: u64,
    dropped: Arc<AtomicU64>,
    /// Call faults held back, by worker: when their second ends, and the last of them with the count.
    faults: BTreeMap<Arc<str>, HeldFaults>,
    start: Instant,
}

struct HeldFaults {
    until: Instant,
    held: Option<Record>,
}

#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    seq: u64,
    boot: &'a str,
    ts: String,
    mono_us: u64,
    #[serde(flatten)]
    record: &'a Record,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Command>) {
        loop {
            let next = match self.faults.values().map(|faults| faults.until).min() {
                Some(until) => queue.recv_deadline(until),
                None => queue.recv().map_err(RecvTimeoutError::from),
            };
            match next {
                Ok(Command::Record(record)) => self.take(*record),
                Ok(Command::Flush(done)) => {
                    self.release_faults(None);
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.release_faults(Some(Instant::now())),
                Err(RecvTimeoutError::Disconnected) => {
                    self.release_faults(None);
                    return;
                }
            }
        }
    }

    fn take(&mut self, record: Record) {
        if record.level != Some("L1") {
            // What was held back happened before: it is written first.
            if let Some(held) = self.faults.get_mut(&record.path).and_then(|faults| faults.held.take()) {
                self.write(&held);
            }
            self.write(&record);
            return;
        }
        let now = Instant::now();
        match self.faults.get_mut(&record.path) {
            Some(faults) if now < faults.until => {
                let count = faults.held.as_ref().and_then(|held| held.count).unwrap_or(0) + 1;
                faults.held = Some(Record { count: Some(count), ..record });
            }
            _ => {
                self.release_faults(Some(now));
                self.faults.insert(Arc::clone(&record.path), HeldFaults { until: now + JOIN_FAULTS, held: None });
                self.write(&Record { count: Some(1), ..record });
            }
        }
    }

    /// Writes what was held back and is due at `now`; everything when `None`.
    fn release_faults(&mut self, now: Option<Instant>) {
        let due: Vec<Arc<str>> = self
            .faults
            .iter()
            .filter(|(_, faults)| now.is_none_or(|now| now >= faults.until))
            .map(|(path, _)| Arc::clone(path))
            .collect();
        for path in due {
            if let Some(held) = self.faults.remove(&path).and_then(|faults| faults.held) {
                self.write(&held);
            }
        }
    }

    fn write(&mut self, record: &Record) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let notice = Record { count: Some(dropped), ..Record::new("log_dropped", "root".into()) };
            if !self.write_line(&notice) {
                self.dropped.fetch_add(dropped, Ordering::Relaxed);
            }
        }
        if !self.write_line(record) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write_line(&mut self, record: &Record) -> bool {
        let line = Line {
            v: 1,
            seq: self.seq,
            boot: &self.boot,
            ts: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            mono_us: self.start.elapsed().as_micros() as u64,
            record,
        };
        let Ok(mut bytes) = serde_json::to_vec(&line) else { return false };
        bytes.push(b'\n');
        let written = self.file.write_all(&bytes).is_ok();
        self.seq += u64::from(written);
        written
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn seq_has_no_gaps_and_call_faults_are_joined() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let log = SupervisionLog::append_to(&path, "b".to_owned()).unwrap();
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
        let good = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full");
        let Ok(full) = full else { return };
        let mut writer = Writer {
            file: full,
            boot: "b".to_owned(),
            seq: 0,
            dropped: Arc::default(),
            faults: BTreeMap::new(),
            start: Instant::now(),
        };
        writer.take(Record::new("child_started", "x".into()));
        writer.take(Record::new("child_started", "y".into()));
        writer.file = good;
        writer.take(Record::new("child_started", "z".into()));
        let lines = lines(&path);
        assert_eq!(lines[0]["event"], "log_dropped");
        assert_eq!(lines[0]["count"], 2);
        assert_eq!((lines[1]["path"].as_str(), lines[1]["seq"].as_u64()), (Some("z"), Some(1)));
    }
}
