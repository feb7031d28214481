//! Files that are no plain files: links, pipes, and a look at a whole folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Sandbox;

impl Sandbox {
    /// Makes a symbolic link; `target` is taken as it is.
    pub fn link(&self, name: &str, target: impl AsRef<Path>) -> PathBuf {
        let path = self.path(name);
        std::os::unix::fs::symlink(target, &path).unwrap();
        path
    }

    /// Makes a FIFO.
    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    /// What is in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Lets everyone go who waits for a writer of this FIFO.
pub fn release_fifo(fifo: &Path) {
    use rustix::fs::{Mode, OFlags, open};
    match open(fifo, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()) {
        // Opening was all they waited for; without a reader there is nobody to let go.
        Ok(_) | Err(rustix::io::Errno::NXIO) => {}
        Err(error) => panic!("{error}"),
    }
}
