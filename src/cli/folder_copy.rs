//! Copies of allowed directories, in which a call can do its work and harm nothing, and what has changed in them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use thiserror::Error;

use crate::wasi::sandbox::Policy;

/// Files of all directories together.
const FILES: usize = 100_000;

/// An error that says which file it is about.
fn at(path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    move |source| CopyError::Io { path: path.to_owned(), source }
}

/// Why there is no copy.
#[derive(Debug, Error)]
pub enum CopyError {
    /// A file or folder cannot be copied.
    #[error("cannot copy {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is too much in them.
    #[error("the directories hold more than {FILES} files or {} MB; allow fewer of them, or say --copy-mb", bytes >> 20)]
    TooMuch {
        /// How much may be copied.
        bytes: u64,
    },
}

/// See the module documentation.
pub struct FolderCopy {
    folder: TempDir,
    /// Each copy with the directory it was made of.
    roots: Vec<(PathBuf, PathBuf)>,
    before: BTreeMap<PathBuf, [u8; 32]>,
    /// Pipes, sockets and devices, which were left out.
    pub left_out: Vec<PathBuf>,
    files: usize,
    bytes: u64,
    most_bytes: u64,
}

impl FolderCopy {
    /// Copies what `policy` allows, at most `most_bytes`, and says what allows the same in the copy.
    ///
    /// # Errors
    /// See [`CopyError`].
    pub fn of(policy: &Policy, most_bytes: u64) -> Result<(Self, Policy), CopyError> {
        let folder = tempfile::tempdir().map_err(at(&std::env::temp_dir()))?;
        let mut copy = Self {
            folder,
            roots: Vec::new(),
            before: BTreeMap::new(),
            left_out: Vec::new(),
            files: 0,
            bytes: 0,
            most_bytes,
        };
        let mut grants = Vec::new();
        for (index, grant) in policy.grants().iter().enumerate() {
            let root = copy.folder.path().join(index.to_string());
            copy.tree(&grant.canonical, &root)?;
            grants.push(grant.with_content_of(&root).map_err(at(&root))?);
            copy.roots.push((root, grant.canonical.clone()));
        }
        copy.before = copy.digests().map_err(at(copy.folder.path()))?;
        Ok((copy, Policy::new(grants)))
    }

    /// What was created, changed or removed since, under the names of the originals.
    ///
    /// # Errors
    /// What the system says.
    pub fn changes(&self) -> io::Result<Vec<String>> {
        let after = self.digests()?;
        let mut changes = Vec::new();
        for (path, digest) in &after {
            match self.before.get(path) {
                None => changes.push(format!("created {}", self.original(path).display())),
                Some(before) if before != digest => changes.push(format!("changed {}", self.original(path).display())),
                Some(_) => {}
            }
        }
        let removed = self.before.keys().filter(|path| !after.contains_key(*path));
        changes.extend(removed.map(|path| format!("removed {}", self.original(path).display())));
        Ok(changes)
    }

    fn original(&self, path: &Path) -> PathBuf {
        let of = |(root, original): &(PathBuf, PathBuf)| Some(original.join(path.strip_prefix(root).ok()?));
        self.roots.iter().find_map(of).unwrap_or_else(|| path.to_owned())
    }

    fn tree(&mut self, from: &Path, to: &Path) -> Result<(), CopyError> {
        fs::create_dir(to).map_err(at(to))?;
        for entry in fs::read_dir(from).map_err(at(from))? {
            let entry = entry.map_err(at(from))?;
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            let metadata = entry.metadata().map_err(at(&from))?;
            self.files += 1;
            self.bytes += if metadata.is_file() { metadata.len() } else { 0 };
            if self.files > FILES || self.bytes > self.most_bytes {
                return Err(CopyError::TooMuch { bytes: self.most_bytes });
            }
            if metadata.is_dir() {
                self.tree(&from, &to)?;
            } else if metadata.is_symlink() {
                let target = fs::read_link(&from).map_err(at(&from))?;
                symlink(target, &to).map_err(at(&to))?;
            } else if metadata.is_file() {
                fs::copy(&from, &to).map_err(at(&from))?;
            } else {
                self.left_out.push(from);
            }
        }
        // Last, as nothing could be put into a directory that is not writable.
        let permissions = fs::metadata(from).map_err(at(from))?.permissions();
        fs::set_permissions(to, permissions).map_err(at(to))
    }

    fn digests(&self) -> io::Result<BTreeMap<PathBuf, [u8; 32]>> {
        let mut digests = BTreeMap::new();
        let mut folders: Vec<PathBuf> = self.roots.iter().map(|(root, _)| root.clone()).collect();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_symlink() {
                    let target = fs::read_link(entry.path())?;
                    digests.insert(entry.path(), Sha256::digest(target.as_os_str().as_encoded_bytes()).into());
                } else {
                    digests.insert(entry.path(), Sha256::digest(fs::read(entry.path())?).into());
                }
            }
        }
        Ok(digests)
    }
}
