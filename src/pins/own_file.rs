//! Files that decide what is trusted: read without following a link, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Bytes of such a file; a lock of ten thousand tools has fewer.
const MOST_BYTES: u64 = 64 << 20;

/// Which rights are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// Anybody may read it; not anybody may write it.
    Public,
    /// Its owner alone may use it.
    Secret,
}

/// The text of `path`; `None` if there is nothing of that name.
///
/// # Errors
/// Why it cannot be read or trusted, and what to do.
pub(super) fn read(path: &Path, rights: Rights) -> Result<Option<String>, String> {
    let shown = path.display();
    let cannot = |error: &dyn std::fmt::Display| format!("{shown} cannot be read: {error}");
    // A pipe in its place is not waited for.
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(format!("{shown} is a symbolic link, which is not followed; put the file itself there"));
        }
        Err(error) => return Err(cannot(&error)),
    };
    let metadata = file.metadata().map_err(|error| cannot(&error))?;
    if !metadata.is_file() {
        return Err(cannot(&"it is not a regular file"));
    }
    match rights {
        Rights::Public if metadata.mode() & 0o002 != 0 => {
            return Err(format!("anybody may write to {shown}; forbid it with: chmod o-w {shown}"));
        }
        Rights::Secret if metadata.mode() & 0o077 != 0 => {
            return Err(format!("others may use {shown}; forbid it with: chmod go= {shown}"));
        }
        _ => {}
    }
    let mut text = String::new();
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| cannot(&error))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(cannot(&format!("it is larger than {MOST_BYTES} bytes")));
    }
    Ok(Some(text))
}

/// Puts `text` in the place of `path`, for its owner alone. Killed at any moment, the old or the new text is there.
///
/// # Errors
/// Why it cannot be written.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unfinished = folder.join(format!(".{}.unfinished", uuid::Uuid::now_v7()));
    let written = create(&unfinished, text).and_then(|()| fs::rename(&unfinished, path));
    // The name has to survive a loss of power as well.
    let written = written.and_then(|()| File::open(folder)?.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(&unfinished);
        format!("{} cannot be written: {error}", path.display())
    })
}

/// Writes `text` to `path`, which must not be there yet, for its owner alone.
///
/// # Errors
/// What the system says.
pub(super) fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        assert_eq!(read(&path, Rights::Secret), Ok(None));
        for text in ["one", "two"] {
            replace(&path, text).unwrap();
            assert_eq!(read(&path, Rights::Secret), Ok(Some(text.to_owned())));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");
        assert!(create(&path, "three").is_err());
    }

    #[test]
    fn what_cannot_be_trusted_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(&path, "text").unwrap();
        mode(0o666);
        assert!(read(&path, Rights::Public).unwrap_err().contains("chmod o-w"));
        mode(0o644);
        assert!(read(&path, Rights::Public).is_ok());
        assert!(read(&path, Rights::Secret).unwrap_err().contains("chmod go="));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read(&link, Rights::Public).unwrap_err().contains("symbolic link"));
        assert!(read(folder.path(), Rights::Public).unwrap_err().contains("not a regular file"));
        fs::write(&path, b"\xff").unwrap();
        assert!(read(&path, Rights::Public).is_err());
    }
}
