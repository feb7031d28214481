//! The three modes.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{Error, ErrorKind, Write};

use fs_command::{Granted, fault};
use fs_path::{Access, Entry, Fault, Kind, Place, Report, Resolved, WriteMode, resolve, temporary};

/// The file that a call means.
pub struct Target<'a> {
    pub granted: &'a Granted,
    pub place: Place,
    /// As the caller gave it: the only spelling that messages use.
    pub path: String,
}

impl Target<'_> {
    /// The file appears whole under a name that was free until then.
    pub fn create(self, bytes: &[u8]) -> Result<Report, Fault> {
        match self.look(&self.place)? {
            Entry::Missing => {}
            Entry::Directory => return Err(Fault::directory(&self.path)),
            Entry::Special => return Err(Fault::not_regular(&self.path)),
            Entry::File | Entry::Link(_) => return Err(Fault::exists(&self.path)),
        }
        let full = self.granted.full(&self.place);
        let first = self.granted.full(&temporary(&self.place, random()));
        let written = create_exclusively(&first, bytes);
        // A link, not a rename: a rename would replace a file that somebody else created since we looked.
        let linked = match written {
            Ok(()) => fs::hard_link(&first, &full),
            Err(error) => return Err(self.fault(&error)),
        };
        let _ = fs::remove_file(&first);
        match linked {
            Ok(()) => Ok(self.report(WriteMode::Create, bytes)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Fault::exists(&self.path)),
            // Some file systems have no links. The name is still taken exclusively.
            Err(_) => {
                create_exclusively(&full, bytes).map_err(|error| self.fault(&error))?;
                let note = "not atomically, the file system has no hard links".to_owned();
                Ok(Report { atomic: false, note: Some(note), ..self.report(WriteMode::Create, bytes) })
            }
        }
    }

    pub fn overwrite(self, bytes: &[u8]) -> Result<Report, Fault> {
        let (target, exists) = self.resolve()?;
        let full = target.granted.full(&target.place);
        if !exists {
            let first = target.granted.full(&temporary(&target.place, random()));
            create_exclusively(&first, bytes).map_err(|error| target.fault(&error))?;
            if let Err(error) = fs::rename(&first, &full) {
                let _ = fs::remove_file(&first);
                return Err(target.fault(&error));
            }
            return Ok(target.report(WriteMode::Overwrite, bytes));
        }
        let mut file = OpenOptions::new().write(true).open(&full).map_err(|error| target.fault(&error))?;
        let written = file.set_len(0).and_then(|()| file.write_all(bytes)).and_then(|()| file.sync_all());
        if let Err(error) = written {
            let message = format!(
                "overwriting {:?} in place failed half-way ({error}), so its content is incomplete; write it again",
                target.path
            );
            return Err(Fault::new(Kind::Failed, message));
        }
        let note = "in place and not atomically, a command cannot copy permission bits to a new file".to_owned();
        let report = target.report(WriteMode::Overwrite, bytes);
        Ok(Report { replaced: true, atomic: false, note: Some(note), ..report })
    }

    pub fn append(self, bytes: &[u8]) -> Result<Report, Fault> {
        let (target, exists) = self.resolve()?;
        let full = target.granted.full(&target.place);
        let mut file =
            OpenOptions::new().append(true).create(!exists).open(full).map_err(|error| target.fault(&error))?;
        file.write_all(bytes).map_err(|error| target.fault(&error))?;
        let note = (!exists).then(|| "the file is new".to_owned());
        Ok(Report { atomic: false, note, ..target.report(WriteMode::Append, bytes) })
    }

    /// The file at the end of all links, and whether there is one.
    fn resolve(self) -> Result<(Self, bool), Fault> {
        let end = resolve(self.place.clone(), &self.path, |place| self.look(place))?;
        let Resolved { place, exists } = end;
        Ok((Self { place, ..self }, exists))
    }

    /// What lies at `place`, a link not followed.
    fn look(&self, place: &Place) -> Result<Entry, Fault> {
        let full = self.granted.full(place);
        let kind = match fs::symlink_metadata(&full) {
            Ok(stat) => stat.file_type(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Entry::Missing),
            Err(error) => return Err(self.fault(&error)),
        };
        if kind.is_symlink() {
            return match fs::read_link(&full) {
                Ok(target) => Ok(Entry::Link(target.to_string_lossy().into_owned())),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Fault::absolute_link(&self.path)),
                Err(error) => Err(self.fault(&error)),
            };
        }
        Ok(match (kind.is_file(), kind.is_dir()) {
            (true, _) => Entry::File,
            (_, true) => Entry::Directory,
            _ => Entry::Special,
        })
    }

    fn fault(&self, error: &Error) -> Fault {
        fault(error, &self.path, Access::Write)
    }

    fn report(self, mode: WriteMode, bytes: &[u8]) -> Report {
        Report { bytes: bytes.len() as u64, path: self.path, mode, replaced: false, atomic: true, note: None }
    }
}

/// Creates a file that must not exist; one that cannot be written whole is removed.
fn create_exclusively(full: &str, bytes: &[u8]) -> Result<(), Error> {
    let written = File::create_new(full)?.write_all(bytes);
    if written.is_err() {
        let _ = fs::remove_file(full);
    }
    written
}

/// std seeds its hash maps from the host's randomness: enough for a name that is created exclusively.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}
