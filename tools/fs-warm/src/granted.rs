//! The directories that the host granted.

use std::sync::OnceLock;

use fs_path::Place;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::Descriptor;

/// The granted directories in the order of the host.
pub struct Granted {
    names: Vec<String>,
    directories: Vec<Descriptor>,
}

/// Asked once: the grants of an instance never change, another set of grants is another instance.
pub fn granted() -> &'static Granted {
    static GRANTED: OnceLock<Granted> = OnceLock::new();
    GRANTED.get_or_init(|| {
        let (directories, names) = get_directories().into_iter().unzip();
        Granted { names, directories }
    })
}

impl Granted {
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The directory that `place` starts at.
    pub fn directory(&self, place: &Place) -> &Descriptor {
        &self.directories[place.preopen]
    }
}
