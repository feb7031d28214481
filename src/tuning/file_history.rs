//! The history as a file: one JSON object a line, shared by processes.
//!
//! ```text
//!  tuning.jsonl   the entries; appended to, and now and then replaced by what of it is still needed
//!  tuning.lock    held while writing
//!  tuner.lock     held for as long as a process tunes; the others only follow. With a config file: tuner-SCOPE.lock
//! ```
//!
//! The system gives up the locks of a process that ends, however it ends. A line that is not whole, because the machine
//! stopped while it was written, is passed over and ended before the next is written.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::cap::DAY_MS;
use super::entry::Entry;
use super::history::{AppendError, History};
use super::ledger::compacted;

/// Bytes from which on the file is replaced by what of it is still needed: thousands of entries, a month of trials.
const COMPACT_BYTES: u64 = 1 << 20;

/// How long entries are kept that are not needed any more, so that people can look at them.
const KEEP_MS: u64 = 7 * DAY_MS;

/// The right to tune; given up when it is dropped.
#[derive(Debug)]
pub struct TunerLock {
    _file: File,
}

impl TunerLock {
    /// Takes it for the tools of `scope`, unless another process has it.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn try_take(folder: &Path, scope: &str) -> io::Result<Option<Self>> {
        let name = if scope.is_empty() { "tuner.lock".to_owned() } else { format!("tuner-{scope}.lock") };
        let file = lock_file(&folder.join(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Which file, and how much of it, was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Position {
    inode: u64,
    bytes: u64,
}

/// See the module documentation.
#[derive(Debug)]
pub struct FileHistory {
    folder: PathBuf,
    read: Option<Position>,
    compact_bytes: u64,
}

impl FileHistory {
    /// The history in `folder`, which exists.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), read: None, compact_bytes: COMPACT_BYTES }
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.join("tuning.jsonl")
    }

    fn position(&self) -> io::Result<Position> {
        match std::fs::metadata(self.path()) {
            Ok(metadata) => Ok(Position { inode: metadata.ino(), bytes: metadata.len() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Position::default()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file by what of it is still needed. The lock is held.
    fn compact(&self, now_ms: u64) -> io::Result<()> {
        let entries = entries(&std::fs::read(self.path())?);
        let week = lines(&compacted(&entries, now_ms.saturating_sub(KEEP_MS)));
        // What is of no use but to look at must not keep the file at its limit.
        let kept = if week.len() as u64 > self.compact_bytes / 2 {
            lines(&compacted(&entries, now_ms.saturating_sub(2 * DAY_MS)))
        } else {
            week
        };
        let fresh = self.folder.join("tuning.jsonl.new");
        let mut file = options().write(true).create(true).truncate(true).open(&fresh)?;
        file.write_all(&kept)?;
        file.sync_all()?;
        std::fs::rename(&fresh, self.path())
    }
}

impl History for FileHistory {
    fn read(&mut self) -> io::Result<Option<Vec<Entry>>> {
        if self.read == Some(self.position()?) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let inode = match File::open(self.path()) {
            Ok(mut file) => {
                file.read_to_end(&mut bytes)?;
                file.metadata()?.ino()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        self.read = Some(Position { inode, bytes: bytes.len() as u64 });
        Ok(Some(entries(&bytes)))
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), AppendError> {
        let lock = lock_file(&self.folder.join("tuning.lock"))?;
        lock.lock()?;
        let before = self.position()?;
        if self.read != Some(before) {
            return Err(AppendError::Moved);
        }
        let mut file = options().read(true).append(true).create(true).open(self.path())?;
        let mut bytes = if ends_whole(&file, before.bytes)? { Vec::new() } else { vec![b'\n'] };
        bytes.extend(lines(entries));
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_data()) {
            // All or none: what was written of it must not count.
            let _ = file.set_len(before.bytes);
            return Err(error.into());
        }
        let after = file.metadata()?;
        self.read = Some(Position { inode: after.ino(), bytes: after.len() });
        if after.len() > self.compact_bytes {
            // It works as well with a long file; the next entry tries again.
            let newest = entries.last().map_or(0, |entry| entry.at_ms);
            if self.compact(newest).is_ok() {
                self.read = Some(self.position()?);
            }
        }
        Ok(())
    }
}

fn ends_whole(file: &File, bytes: u64) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let mut last = [b'\n'];
    if bytes > 0 {
        file.read_exact_at(&mut last, bytes - 1)?;
    }
    Ok(last == [b'\n'])
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn lock_file(path: &Path) -> io::Result<File> {
    options().write(true).create(true).truncate(false).open(path)
}

fn lines(entries: &[Entry]) -> Vec<u8> {
    let line = |entry| serde_json::to_string(entry).expect("an entry is serialisable") + "\n";
    entries.iter().map(line).collect::<String>().into_bytes()
}

fn entries(bytes: &[u8]) -> Vec<Entry> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::entry::What;
    use super::super::knob::{KnobName, KnobSetting};
    use super::super::ledger::Ledger;
    use super::*;

    fn entry(at_ms: u64, what: What, value: u64) -> Entry {
        let setting = KnobSetting { configured: value, least: 1, most: 1_000_000 };
        Entry {
            at_ms,
            tool: "fs_read".to_owned(),
            knob: KnobName::LaneDepth,
            what,
            from: value,
            value,
            setting: (what == What::Configured).then_some(setting),
            why: "a test".to_owned(),
        }
    }

    #[test]
    fn what_one_process_writes_another_reads_and_neither_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut other) = (FileHistory::new(folder.path()), FileHistory::new(folder.path()));
        assert_eq!(one.read().unwrap(), Some(Vec::new()));
        assert_eq!(other.read().unwrap(), Some(Vec::new()));
        let (first, second) = (entry(1, What::Configured, 100), entry(2, What::Pinned, 120));
        one.append(std::slice::from_ref(&first)).unwrap();
        assert!(matches!(other.append(std::slice::from_ref(&second)), Err(AppendError::Moved)));
        assert_eq!(other.read().unwrap(), Some(vec![first.clone()]));
        other.append(std::slice::from_ref(&second)).unwrap();
        assert_eq!(other.read().unwrap(), None);
        assert_eq!(one.read().unwrap(), Some(vec![first, second]));
    }

    #[test]
    fn a_torn_line_is_passed_over_and_the_next_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = FileHistory::new(folder.path());
        history.read().unwrap();
        history.append(&[entry(1, What::Configured, 100)]).unwrap();
        let mut file = options().append(true).open(history.path()).unwrap();
        file.write_all(br#"{"atMs":2,"tool":"fs_re"#).unwrap();
        assert_eq!(history.read().unwrap().unwrap().len(), 1);
        history.append(&[entry(3, What::Pinned, 110)]).unwrap();
        let mut reader = FileHistory::new(folder.path());
        assert_eq!(reader.read().unwrap().unwrap()[1], entry(3, What::Pinned, 110));
    }

    #[test]
    fn a_long_file_is_replaced_by_what_is_needed_and_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = FileHistory { compact_bytes: 4096, ..FileHistory::new(folder.path()) };
        history.read().unwrap();
        history.append(&[entry(0, What::Configured, 1000)]).unwrap();
        let mut longest = 0;
        for day in 1..200 {
            let value = if day % 2 == 0 { 1000 } else { 1100 };
            history.append(&[entry(day * DAY_MS, What::Trial, value)]).unwrap();
            history.append(&[entry(day * DAY_MS + 1, What::Baseline, value)]).unwrap();
            longest = longest.max(std::fs::metadata(history.path()).unwrap().len());
        }
        assert!(longest < 8192, "it grew to {longest} bytes");
        let kept = FileHistory::new(folder.path()).read().unwrap().unwrap();
        let ledger = Ledger::of(&kept);
        let state = ledger.knob("fs_read", KnobName::LaneDepth).unwrap();
        assert_eq!((state.value, state.baseline, state.setting.configured), (1100, 1100, 1000));
    }

    #[test]
    fn only_one_tunes_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let take = |scope| TunerLock::try_take(folder.path(), scope).unwrap();
        let lock = take("");
        assert!(lock.is_some());
        assert!(take("").is_none());
        assert!(take("1a2b3c4d").is_some(), "another project's tools are others");
        drop(lock);
        assert!(take("").is_some());
    }
}
