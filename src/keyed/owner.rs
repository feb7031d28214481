//! Which servers are alive, as far as those that share a state folder can tell.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// This server's sign of life: a locked file, which nobody else can lock until this process has ended.
#[derive(Debug)]
pub struct Owner {
    folder: PathBuf,
    id: String,
    /// Closing it would end the lock.
    _locked: File,
}

impl Owner {
    /// Signs on in `folder`, which is made if need be.
    ///
    /// # Errors
    /// What the system says.
    pub fn sign_on(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let id = uuid::Uuid::now_v7().to_string();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(&id))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { folder: folder.to_owned(), id, _locked: file })
    }

    /// Its name in the ledger.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the server of this name still runs. One that cannot be asked after is taken to be alive: a call is rather
    /// waited for than made twice.
    pub fn is_alive(&self, id: &str) -> bool {
        if id == self.id {
            return true;
        }
        let path = self.folder.join(id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => return error.kind() != io::ErrorKind::NotFound,
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                // Nobody asks after it twice: what it left is settled in the ledger by whoever has asked.
                let _ = std::fs::remove_file(&path);
                false
            }
            Err(error) => error == Errno::WOULDBLOCK || error != Errno::NOENT,
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.folder.join(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_alive_until_it_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Owner::sign_on(folder.path()).unwrap(), Owner::sign_on(folder.path()).unwrap());
        assert!(one.is_alive(one.id()) && one.is_alive(other.id()) && other.is_alive(one.id()));
        let id = other.id().to_owned();
        drop(other);
        assert!(!one.is_alive(&id) && !one.is_alive("never heard of"));
    }

    #[test]
    fn a_file_that_a_killed_server_left_behind_is_no_sign_of_life() {
        let folder = tempfile::tempdir().unwrap();
        let one = Owner::sign_on(folder.path()).unwrap();
        std::fs::write(folder.path().join("killed"), "").unwrap();
        assert!(!one.is_alive("killed"));
        assert!(!folder.path().join("killed").exists());
    }
}
