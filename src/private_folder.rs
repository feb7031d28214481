//! Folders whose content is trusted, because nobody else can write to them.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Makes `folder` if need be, and looks whether it is this user's alone to write to. `what` it is called in messages;
/// `instead` names how another is chosen.
///
/// # Errors
/// Why it cannot be used, and what to do.
pub fn prepare(folder: &Path, what: &str, instead: &str) -> Result<(), String> {
    let shown = folder.display();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| format!("the {what} {shown} cannot be created: {error}"))?;
    let metadata = fs::metadata(folder).map_err(|error| format!("the {what} {shown} cannot be read: {error}"))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(format!("the {what} {shown} belongs to somebody else; choose another with {instead}"));
    }
    if metadata.mode() & 0o022 != 0 {
        // Folders for everybody, like /tmp, are sticky, and must stay as they are.
        let is_shared = metadata.mode() & 0o1000 != 0;
        let forbid = if is_shared { String::new() } else { format!(", or forbid it with: chmod go-w {shown}") };
        return Err(format!("others may write to the {what} {shown}; choose another with {instead}{forbid}"));
    }
    Ok(())
}
