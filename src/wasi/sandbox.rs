//! Which directories a guest sees, and how.
//!
//! The [`Policy`] is what the user allowed on the command line or in the config. A call's capability set is the tool's
//! manifest permissions minus whatever the ContextFrame takes away; [`Policy::mount`] turns the two into preopens.
//! A directory is opened once, when the policy is built: replacing it on disk later does not move the grant.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::manifest::Permissions;

/// One allowed directory.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The directory's canonical path.
    pub canonical: PathBuf,
    /// The names under which guests see it: the path as it was given, made absolute, and the canonical path.
    pub guest_names: Vec<String>,
    /// Whether tools with the write permission may change it.
    pub writable: bool,
    directory: Arc<File>,
}

impl Grant {
    /// Opens `path`, which may be relative to `base`.
    ///
    /// # Errors
    /// When it is no directory, cannot be opened, or its name is not UTF-8.
    pub fn open(path: &Path, base: &Path, writable: bool) -> io::Result<Self> {
        let given = base.join(path);
        // The kernel says where a path leads; `link/..` is not where its name suggests.
        let canonical = given.canonicalize()?;
        let given = lexically_normal(&given);
        let directory = File::open(&canonical)?;
        if !directory.metadata()?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
        }
        let mut guest_names = Vec::with_capacity(2);
        for name in [&given, &canonical] {
            let name = name
                .to_str()
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"))?
                .to_owned();
            let leads_here = Path::new(&name).canonicalize().is_ok_and(|path| path == canonical);
            if leads_here && !guest_names.contains(&name) {
                guest_names.push(name);
            }
        }
        Ok(Self { canonical, guest_names, writable, directory: Arc::new(directory) })
    }

    /// A directory that guests see where they would see this one.
    ///
    /// # Errors
    /// As [`Grant::open`].
    pub fn with_content_of(&self, directory: &Path) -> io::Result<Self> {
        let other = Self::open(directory, Path::new("/"), self.writable)?;
        Ok(Self { guest_names: self.guest_names.clone(), ..other })
    }

    /// A path that reaches the opened directory whatever happens to its name.
    #[cfg(target_os = "linux")]
    fn host_path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        PathBuf::from(format!("/proc/self/fd/{}", self.directory.as_raw_fd()))
    }

    /// Elsewhere the name has to do.
    #[cfg(not(target_os = "linux"))]
    fn host_path(&self) -> PathBuf {
        let _held_open = &self.directory;
        self.canonical.clone()
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.canonical.display(), if self.writable { "read, write" } else { "read" })
    }
}

/// Removes `.` and resolves `..` by name only, as a shell shows a path.
fn lexically_normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// Everything the user allowed. Without a grant nothing is readable.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    grants: Vec<Grant>,
}

impl Policy {
    /// A policy of these grants; the first is where relative paths start.
    pub fn new(grants: Vec<Grant>) -> Self {
        Self { grants }
    }

    /// The grants, in the order given.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The grants a guest with `permissions` sees, and how. WASI knows no write-only directory, so `write` implies `read`.
    /// A tool that may do anything sees all of them, so that a relative path means the same directory to every tool.
    fn mounts(&self, permissions: Permissions) -> impl Iterator<Item = (&Grant, FsPerms)> {
        self.grants.iter().filter_map(move |grant| {
            let writable = grant.writable && permissions.write;
            let perms = if writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            (!permissions.is_none()).then_some((grant, perms))
        })
    }

    /// Adds the preopens for `permissions` to a WASI context under construction.
    ///
    /// # Errors
    /// When a directory cannot be opened again, for example because the process is out of file descriptors.
    pub fn mount(&self, wasi: &mut WasiCtxBuilder, permissions: Permissions) -> wasmtime::Result<()> {
        for (grant, perms) in self.mounts(permissions) {
            for name in &grant.guest_names {
                wasi.preopened_dir(grant.host_path(), name, perms)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> (tempfile::TempDir, Policy) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("ro")).unwrap();
        std::fs::create_dir(root.path().join("rw")).unwrap();
        let grant = |name: &str, writable| Grant::open(Path::new(name), root.path(), writable).unwrap();
        let policy = Policy::new(vec![grant("ro", false), grant("rw", true)]);
        (root, policy)
    }

    fn seen(policy: &Policy, read: bool, write: bool) -> Vec<(bool, FsPerms)> {
        policy.mounts(Permissions { read, write }).map(|(grant, perms)| (grant.writable, perms)).collect()
    }

    #[test]
    fn permissions_decide_what_is_mounted_and_how() {
        let (_root, policy) = policy();
        assert_eq!(seen(&policy, false, false), []);
        assert_eq!(seen(&policy, true, false), [(false, FsPerms::ReadOnly), (true, FsPerms::ReadOnly)]);
        assert_eq!(seen(&policy, false, true), [(false, FsPerms::ReadOnly), (true, FsPerms::ReadWrite)]);
        assert_eq!(seen(&policy, true, true), [(false, FsPerms::ReadOnly), (true, FsPerms::ReadWrite)]);
    }

    #[test]
    fn a_directory_is_seen_as_given_and_as_it_really_is() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        std::fs::create_dir(root.path().join("x")).unwrap();
        std::os::unix::fs::symlink(&real, root.path().join("link")).unwrap();
        let grant = Grant::open(Path::new("./x/../link"), root.path(), false).unwrap();
        assert_eq!(
            grant.guest_names,
            [root.path().join("link").to_str().unwrap(), real.to_str().unwrap()].map(str::to_owned)
        );
    }

    #[test]
    fn a_path_leads_where_the_system_says_and_not_where_its_name_suggests() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(folder.join("far/away")).unwrap();
        std::fs::create_dir(folder.join("x")).unwrap();
        std::fs::create_dir(folder.join("far/x")).unwrap();
        std::os::unix::fs::symlink(folder.join("far/away"), folder.join("link")).unwrap();
        let grant = Grant::open(Path::new("link/../x"), &folder, false).unwrap();
        assert_eq!(grant.canonical, folder.join("far/x"));
        assert_eq!(grant.guest_names, [folder.join("far/x").to_str().unwrap()]);
    }

    #[test]
    fn a_file_is_not_a_directory_to_allow() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Grant::open(file.path(), Path::new("/"), false).is_err());
    }
}
