//! Reads whole files of bounded size. A pipe or a device in a file's place would be waited for, or read, without end.

use std::io::Read;
use std::path::Path;

use super::error::LoadError;

/// The content of the regular file `path`, at most `most_bytes` of it.
///
/// # Errors
/// When it cannot be read, is something else than a regular file, or is larger.
pub fn read(path: &Path, most_bytes: usize) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Read { path: path.to_owned(), source };
    // Asked before it is opened: opening a pipe waits for its other end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a regular file")));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut content = Vec::new();
    file.take(most_bytes as u64 + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() > most_bytes {
        return Err(unreadable(std::io::Error::other(format!("it is larger than {most_bytes} bytes"))));
    }
    Ok(content)
}
