//! The file of the supervision log: appended to, put aside when it is full, and shared with other processes.
//!
//! Each line is one write. Before it, one look at the path says whether another process has put the file aside; then
//! this one follows. Who finds the file full takes its lock, looks again, and moves FILE to FILE.1 and so on. Nobody
//! waits for that lock: who does not get it appends a little beyond the limit.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::config::LogRotation;

/// The open file.
pub struct LogFile {
    path: PathBuf,
    file: File,
    /// Device and inode: whether the path still leads here.
    identity: (u64, u64),
    rotation: LogRotation,
    /// Size at which rotation is tried; grows when it cannot be done.
    rotate_at_bytes: u64,
    /// The last line here is not whole, so the next must begin with a newline.
    torn: bool,
}

impl LogFile {
    /// Opens `path` for appending, creating it if need be. Nothing is waited for: a pipe needs its reader already.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path, rotation: LogRotation) -> io::Result<Self> {
        let (file, identity) = open(path)?;
        let torn = ends_torn(path);
        let rotate_at_bytes = rotation.max_bytes;
        Ok(Self { path: path.to_owned(), file, identity, rotation, rotate_at_bytes, torn })
    }

    /// Makes sure that what is appended next goes where the path leads; whether this process has put a full file aside
    /// for that. Call it before each [`LogFile::append`].
    ///
    /// # Errors
    /// When the path leads nowhere and cannot be created.
    pub fn follow(&mut self, may_rotate: bool) -> io::Result<bool> {
        let found = self.look()?;
        let full = found.is_some_and(|found| found.is_file() && found.len() >= self.rotate_at_bytes);
        if !(full && may_rotate) || flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(false);
        }
        // Under the lock: another process may have done it between our look and now.
        if self.look()?.is_none() {
            return Ok(false);
        }
        match self.put_aside() {
            // The lock goes with the file.
            Ok(()) => self.reopen().map(|()| true),
            Err(error) => {
                let _ = flock(&self.file, FlockOperation::Unlock);
                self.rotate_at_bytes = self.rotate_at_bytes.saturating_add(self.rotation.max_bytes);
                let path = self.path.display();
                tracing::warn!(
                    "the supervision log {path} is full and cannot be put aside: {error}; it grows on. Let its folder \
                     be written to"
                );
                Ok(false)
            }
        }
    }

    /// Appends `line` in one write.
    ///
    /// # Errors
    /// When it is not there in full.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let bytes = if self.torn { &[b"\n", line].concat() } else { line };
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return Err(self.stopped_at(bytes, written, io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.stopped_at(bytes, written, error)),
            }
        }
        self.torn = false;
        Ok(())
    }

    fn stopped_at(&mut self, bytes: &[u8], written: usize, error: io::Error) -> io::Error {
        if let Some(last) = bytes[..written].last() {
            self.torn = *last != b'\n';
        }
        error
    }

    /// What the path leads to, if that is the file held; otherwise the new one is opened.
    fn look(&mut self) -> io::Result<Option<Metadata>> {
        match fs::metadata(&self.path) {
            Ok(found) if identity(&found) == self.identity => Ok(Some(found)),
            Ok(_) => self.reopen().map(|()| None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.reopen().map(|()| None),
            Err(error) => Err(error),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(&self.path, self.rotation)?;
        Ok(())
    }

    /// FILE becomes FILE.1, that FILE.2 and so on; the oldest goes.
    fn put_aside(&self) -> io::Result<()> {
        for age in (0..self.rotation.keep).rev() {
            match fs::rename(aged(&self.path, age), aged(&self.path, age + 1)) {
                Err(error) if age == 0 || error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The path of the file that was put aside `age` rotations ago.
fn aged(path: &Path, age: u32) -> PathBuf {
    if age == 0 {
        return path.to_owned();
    }
    let mut name = OsString::from(path);
    name.push(format!(".{age}"));
    name.into()
}

fn open(path: &Path) -> io::Result<(File, (u64, u64))> {
    // A reader of a pipe that does not read costs records, which are counted, and never makes the writer wait.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let file = OpenOptions::new().create(true).append(true).custom_flags(flags).open(path)?;
    let identity = identity(&file.metadata()?);
    Ok((file, identity))
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Whether the file's last line lacks its newline: its writer was killed, or the disk was full.
fn ends_torn(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        if !fs::metadata(path)?.is_file() {
            return Ok(b'\n');
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        Ok(last[0])
    };
    // An empty file has no last byte, which is an error too.
    last().is_ok_and(|last| last != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"0123456789\n";

    fn rotation(max_bytes: u64, keep: u32) -> LogRotation {
        LogRotation { max_bytes, keep }
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogFile::open(&path, rotation(20, 2)).unwrap();
        let mut rotations = Vec::new();
        for number in 0..10 {
            rotations.push(log.follow(true).unwrap());
            log.append(format!("line {number}...\n").as_bytes()).unwrap();
        }
        assert_eq!(rotations, [false, false, true, false, true, false, true, false, true, false]);
        assert_eq!(text(&path), "line 8...\nline 9...\n");
        assert_eq!(text(&aged(&path, 1)), "line 6...\nline 7...\n");
        assert_eq!(text(&aged(&path, 2)), "line 4...\nline 5...\n");
        assert!(!aged(&path, 3).exists(), "two are kept");
    }

    #[test]
    fn who_did_not_rotate_follows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut one = LogFile::open(&path, rotation(10, 3)).unwrap();
        let mut other = LogFile::open(&path, rotation(10, 3)).unwrap();
        one.append(LINE).unwrap();
        assert!(one.follow(true).unwrap());
        one.append(b"by one\n").unwrap();
        assert!(!other.follow(true).unwrap(), "it is not full any more");
        other.append(b"by other\n").unwrap();
        assert_eq!(text(&path), "by one\nby other\n");
    }

    #[test]
    fn nobody_waits_for_who_rotates_or_has_removed_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogFile::open(&path, rotation(10, 3)).unwrap();
        let other = LogFile::open(&path, rotation(10, 3)).unwrap();
        log.append(LINE).unwrap();
        flock(&other.file, FlockOperation::LockExclusive).unwrap();
        assert!(!log.follow(true).unwrap());
        log.append(LINE).unwrap();
        assert_eq!(text(&path).lines().count(), 2);
        fs::remove_file(&path).unwrap();
        assert!(!log.follow(true).unwrap());
        log.append(LINE).unwrap();
        assert_eq!(text(&path).lines().count(), 1);
    }

    #[test]
    fn a_line_after_a_torn_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "whole\ntorn").unwrap();
        let mut log = LogFile::open(&path, rotation(100, 3)).unwrap();
        log.append(LINE).unwrap();
        log.append(LINE).unwrap();
        assert_eq!(text(&path), "whole\ntorn\n0123456789\n0123456789\n");
        log.stopped_at(LINE, 4, io::ErrorKind::StorageFull.into());
        assert!(log.torn);
        log.stopped_at(LINE, 0, io::ErrorKind::StorageFull.into());
        assert!(log.torn, "nothing was written since");
        log.stopped_at(b"\nabc", 1, io::ErrorKind::StorageFull.into());
        assert!(!log.torn);
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_grows_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        // A folder that is not empty cannot be replaced by a file.
        fs::create_dir_all(aged(&path, 1).join("in the way")).unwrap();
        let mut log = LogFile::open(&path, rotation(10, 1)).unwrap();
        for _ in 0..5 {
            assert!(!log.follow(true).unwrap());
            log.append(LINE).unwrap();
        }
        assert_eq!(text(&path).lines().count(), 5);
    }
}
