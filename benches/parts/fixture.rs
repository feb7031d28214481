//! What the benches work on: the guests as they are shipped, and a folder with files of 1 KiB, 64 KiB and 1 MiB.

use std::path::{Path, PathBuf};

/// The arguments of a call that reads the file.
pub const ARGUMENTS: &str = r#"{"path":"file.txt"}"#;

/// The larger files: how many times the text is in them.
#[allow(dead_code, reason = "not every bench reads them")]
pub const LARGER: [(&str, usize); 2] = [("64k.txt", 64), ("1m.txt", 1024)];

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
        for (name, times) in [("file.txt", 1)].iter().chain(&LARGER) {
            std::fs::write(root.path().join(name), text().repeat(*times)).expect("the folder can be written");
        }
        Self { root }
    }

    /// Its canonical path, which is the one name guests see it under.
    pub fn path(&self) -> PathBuf {
        self.root.path().canonicalize().expect("the folder exists")
    }
}
