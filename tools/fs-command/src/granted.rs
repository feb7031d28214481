//! The directories that the host granted, asked of WASI itself: std does not tell them.

use fs_path::{Access, Fault, Place, locate};

/// The granted directories in the order of the host.
pub struct Granted {
    names: Vec<String>,
}

impl Granted {
    pub fn new() -> Self {
        Self { names: names() }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn locate(&self, path: &str, access: Access) -> Result<Place, Fault> {
        locate(&self.names, path, access)
    }

    /// The path for std. It begins with the name of the directory, so that libc comes to the same choice as we did.
    pub fn full(&self, place: &Place) -> String {
        format!("{}/{}", self.names[place.preopen].trim_end_matches('/'), place.path)
    }
}

impl Default for Granted {
    fn default() -> Self {
        Self::new()
    }
}

/// Granted directories are the descriptors from 3 on, up to the first that is none.
#[allow(unsafe_code)]
fn names() -> Vec<String> {
    let mut names = Vec::new();
    for descriptor in 3.. {
        // SAFETY: asking about a descriptor changes nothing, and one that does not exist is an error.
        let Ok(prestat) = (unsafe { wasi::fd_prestat_get(descriptor) }) else { break };
        // SAFETY: the tag says which member of the union is set.
        let length = if prestat.tag == wasi::PREOPENTYPE_DIR.raw() { unsafe { prestat.u.dir.pr_name_len } } else { 0 };
        let mut name = vec![0; length];
        // SAFETY: the host writes at most `length` bytes, and so many are there.
        if unsafe { wasi::fd_prestat_dir_name(descriptor, name.as_mut_ptr(), length) }.is_err() {
            break;
        }
        names.push(String::from_utf8_lossy(&name).into_owned());
    }
    names
}
