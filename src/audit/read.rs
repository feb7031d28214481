//! The lines of a log: the files that were put aside, oldest first, then the current one.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::entry::Entry;

/// Bytes of one line. Ours stay below a few KiB; a longer one is no line of a supervision log.
const LINE_BYTES: u64 = 1 << 20;

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which of the files, from the oldest.
    pub file: usize,
    /// Counted from 1.
    pub line: u64,
}

/// What stands there.
#[derive(Debug)]
pub enum What {
    /// A record.
    Entry(Box<Entry>),
    /// The beginning of a line, cut off; `at_end` if nothing follows it.
    Torn {
        /// It is the last of the last file: its writer was killed, or is writing it now.
        at_end: bool,
    },
}

/// A log that is being read. Bounded in memory, however long it is.
pub struct LogReader {
    files: Vec<(PathBuf, BufReader<File>)>,
    place: Place,
    ready: VecDeque<(Place, What)>,
    oldest_is_aged: bool,
}

impl LogReader {
    /// Opens `path` and the files that were put aside: `path.1`, `path.2` and so on.
    ///
    /// # Errors
    /// When none of them can be read, or one that is there cannot.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut paths: Vec<PathBuf> = aged(path)?.into_iter().rev().map(|(_, path)| path).collect();
        let oldest_is_aged = !paths.is_empty();
        // Missing for a moment while it is put aside.
        if paths.is_empty() || path.exists() {
            paths.push(path.to_owned());
        }
        let mut files = Vec::new();
        for path in paths {
            let file = File::open(&path)?;
            if file.metadata()?.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            files.push((path, BufReader::new(file)));
        }
        Ok(Self { files, place: Place { file: 0, line: 0 }, ready: VecDeque::new(), oldest_is_aged })
    }

    /// Whether the oldest file is one that was put aside.
    pub fn oldest_is_aged(&self) -> bool {
        self.oldest_is_aged
    }

    /// The name of a file, for a person.
    pub fn name(&self, place: &Place) -> String {
        self.files.get(place.file).map_or(String::new(), |(path, _)| path.display().to_string())
    }

    /// The next line that is not empty.
    ///
    /// # Errors
    /// When the file cannot be read on.
    pub fn next_line(&mut self) -> io::Result<Option<(Place, What)>> {
        while self.ready.is_empty() {
            let Some((_, file)) = self.files.get_mut(self.place.file) else { return Ok(None) };
            let mut line = Vec::new();
            if file.take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
                self.place = Place { file: self.place.file + 1, line: 0 };
                continue;
            }
            self.place.line += 1;
            let cut = line.len() as u64 == LINE_BYTES && line.last() != Some(&b'\n');
            let whole = if cut { skip_line(file)? } else { line.last() == Some(&b'\n') };
            self.take(line.trim_ascii(), whole);
        }
        Ok(self.ready.pop_front())
    }

    fn take(&mut self, line: &[u8], whole: bool) {
        let place = self.place.clone();
        if line.is_empty() {
            return;
        }
        if let Ok(entry) = serde_json::from_slice(line) {
            return self.ready.push_back((place, What::Entry(entry)));
        }
        let at_end = !whole && self.place.file + 1 == self.files.len();
        self.ready.push_back((place.clone(), What::Torn { at_end }));
        // Another process may have appended behind the torn beginning.
        if let Some(entry) = behind(line).and_then(|rest| serde_json::from_slice(rest).ok()) {
            self.ready.push_back((place, What::Entry(entry)));
        }
    }
}

/// The files put aside, youngest first.
fn aged(path: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(Vec::new()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let file = entry.file_name();
        let age = file.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('.')?.parse::<u32>().ok());
        if let Some(age) = age.filter(|age| *age > 0) {
            found.push((age, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// What begins like a record of ours, after the beginning.
fn behind(line: &[u8]) -> Option<&[u8]> {
    const BEGIN: &[u8] = br#"{"v":"#;
    let at = line.windows(BEGIN.len()).rposition(|window| window == BEGIN)?;
    (at > 0).then(|| &line[at..])
}

/// Reads up to the end of the line; whether it has one.
fn skip_line(file: &mut BufReader<File>) -> io::Result<bool> {
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            return Ok(false);
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(bytes.len(), |end| end + 1);
        file.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64) -> String {
        format!(r#"{{"v":1,"seq":{seq},"boot":"b","ts":"","mono_us":0,"event":"e","path":"p","from":"later"}}"#)
    }

    fn read(path: &Path) -> Vec<String> {
        let mut reader = LogReader::open(path).unwrap();
        let mut found = Vec::new();
        while let Some((place, what)) = reader.next_line().unwrap() {
            let what = match what {
                What::Entry(entry) => format!("{}", entry.seq),
                What::Torn { at_end } => format!("torn {at_end}"),
            };
            found.push(format!("{}:{} {what}", place.file, place.line));
        }
        found
    }

    #[test]
    fn files_are_read_from_the_oldest_whatever_their_number_of_digits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (name, seq) in [("log.10", 0), ("log.9", 1), ("log.1", 2), ("log", 3), ("log.old", 9), ("log.0", 9)] {
            std::fs::write(folder.path().join(name), line(seq) + "\n").unwrap();
        }
        assert_eq!(read(&path), ["0:1 0", "1:1 1", "2:1 2", "3:1 3"]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read(&path).len(), 3, "the current one is missing while it is put aside");
    }

    #[test]
    fn a_torn_line_costs_itself_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let torn = &line(9)[..20];
        std::fs::write(&path, format!("{}\n{torn}\n\n{torn}{}\n{}\n{torn}", line(0), line(1), line(2))).unwrap();
        assert_eq!(read(&path), ["0:1 0", "0:2 torn false", "0:4 torn false", "0:4 1", "0:5 2", "0:6 torn true"]);
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        std::fs::write(&path, line(3)).unwrap();
        assert_eq!(read(&path)[5..], ["0:6 torn false", "1:1 3"], "the end of a file put aside is not the end");
    }

    #[test]
    fn a_line_without_end_is_torn_and_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let endless = "x".repeat(3 * LINE_BYTES as usize);
        std::fs::write(&path, format!("{endless}\n{}\n", line(0))).unwrap();
        assert_eq!(read(&path), ["0:1 torn false", "0:2 0"]);
    }

    #[test]
    fn what_is_no_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(LogReader::open(folder.path()).is_err());
        assert!(LogReader::open(&folder.path().join("none")).is_err());
    }
}
