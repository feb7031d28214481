//! `DIR`, `DIR:ro` and `DIR:rw`: how a directory is allowed, on the command line, in `FS_ALLOWLIST` and in the config.

use std::path::{Path, PathBuf};

use crate::wasi::sandbox::Grant;

/// One entry of an allowlist, not yet opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedDir {
    /// The directory, as written.
    pub path: PathBuf,
    /// Whether it may be written.
    pub writable: bool,
}

impl AllowedDir {
    /// Parses one entry; a plain directory is read-only.
    ///
    /// # Errors
    /// When it is empty or its suffix is unknown.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (path, writable) = match text.rsplit_once(':') {
            Some((path, "rw")) => (path, true),
            Some((path, "ro")) => (path, false),
            Some((path, suffix)) if !suffix.contains('/') && !Path::new(text).exists() && Path::new(path).exists() => {
                return Err(format!("`:{suffix}` is no access mode; write DIR, DIR:ro or DIR:rw"));
            }
            _ => (text, false),
        };
        if path.is_empty() {
            return Err("an allowed directory must not be empty; write DIR or DIR:rw".to_owned());
        }
        Ok(Self { path: path.into(), writable })
    }

    /// Parses a comma-separated list; empty parts are skipped.
    ///
    /// # Errors
    /// As [`AllowedDir::parse`].
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Self::parse).collect()
    }

    /// Opens the directory; relative paths start at `base`.
    ///
    /// # Errors
    /// One sentence saying why it cannot be allowed.
    pub fn open(&self, base: &Path) -> Result<Grant, String> {
        Grant::open(&self.path, base, self.writable).map_err(|error| {
            let path = base.join(&self.path);
            format!("cannot allow the directory {}: {error}; create it or correct the path", path.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_directory_is_read_only() {
        let parse = |text| AllowedDir::parse(text).unwrap();
        assert_eq!(parse("/a/b"), AllowedDir { path: "/a/b".into(), writable: false });
        assert_eq!(parse("/a/b:ro"), AllowedDir { path: "/a/b".into(), writable: false });
        assert_eq!(parse("/a/b:rw"), AllowedDir { path: "/a/b".into(), writable: true });
        assert!(AllowedDir::parse(":rw").is_err());
        assert!(AllowedDir::parse("").is_err());
    }

    #[test]
    fn a_wrong_mode_is_named() {
        assert!(AllowedDir::parse("/:rwx").unwrap_err().contains(":rwx"));
    }

    #[test]
    fn a_list_has_one_entry_per_comma() {
        let list = AllowedDir::parse_list("/a, /b:rw,,").unwrap();
        assert_eq!(list.iter().map(|dir| dir.writable).collect::<Vec<_>>(), [false, true]);
    }
}
