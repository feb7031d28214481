//! Where entries are kept.

use std::io;

use super::entry::Entry;

/// Why an entry was not written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else has written since it was last read.
    #[error("somebody else has written to the history; read it again")]
    Moved,
    /// The system's word.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The entries, in the order in which they were written. Several processes may read and write them.
pub trait History {
    /// Every entry, if there is one that was not read before; `None` if nothing has changed.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&mut self) -> io::Result<Option<Vec<Entry>>>;

    /// Adds `entries`, all or none.
    ///
    /// # Errors
    /// See [`AppendError`].
    fn append(&mut self, entries: &[Entry]) -> Result<(), AppendError>;
}
