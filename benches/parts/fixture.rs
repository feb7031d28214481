//! What the benches work on: the guests as they are shipped, and a folder with one file of 1 KiB.

use std::path::{Path, PathBuf};

/// The arguments of a call that reads the file.
pub const ARGUMENTS: &str = r#"{"path":"file.txt"}"#;

/// A guest of `tools/prebuilt`, for example `fs-read`.
pub fn guest(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tools/prebuilt/{name}.wasm"));
    std::fs::read(path).expect("the prebuilt guests are in the repository")
}

/// What the file holds: 16 lines of 64 bytes.
pub fn text() -> String {
    format!("{}\n", "0123456789abcdef".repeat(4).split_at(63).0).repeat(16)
}

/// A temporary folder with the file.
pub struct Folder {
    root: tempfile::TempDir,
}

impl Folder {
    /// Makes the folder.
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::write(root.path().join("file.txt"), text()).expect("the folder can be written");
        Self { root }
    }

    /// Its canonical path, which is the one name guests see it under.
    pub fn path(&self) -> PathBuf {
        self.root.path().canonicalize().expect("the folder exists")
    }
}
