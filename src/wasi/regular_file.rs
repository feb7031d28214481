//! Reads whole files of bounded size. A pipe or a device in a file's place would be waited for, or read, without end.

use std::io::Read;
use std::path::Path;

use super::error::LoadError;

/// The content of the regular file `path`, at most `most_bytes` of it.
///
/// # Errors
/// When it cannot be read, is something else than a regular file, or is larger.
pub fn read(path: &Path, most_bytes: usize) -> Result<Vec<u8>, LoadError> {
    let mut content = Vec::new();
    read_into(path, most_bytes, &mut content)?;
    Ok(content)
}

/// The same, in place of what is in `content`.
///
/// # Errors
/// As [`read`].
pub fn read_into(path: &Path, most_bytes: usize, content: &mut Vec<u8>) -> Result<(), LoadError> {
    let unreadable = |source: std::io::Error| LoadError::Read { path: path.to_owned(), source: source.into() };
    // Asked before it is opened: opening a pipe waits for its other end.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a regular file")));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    // One more than it has, so that its end is found without growing.
    content.clear();
    content.reserve(most_bytes.min(metadata.len() as usize) + 1);
    file.take(most_bytes as u64 + 1).read_to_end(content).map_err(unreadable)?;
    if content.len() > most_bytes {
        return Err(unreadable(std::io::Error::other(format!("it is larger than {most_bytes} bytes"))));
    }
    Ok(())
}
