//! Misbehaviour while the component is instantiated, before any call: for drills of workers that cannot start.
//!
//! A file named `probe-start` in a granted directory says how. A tool that is only asked what it is, is granted no
//! directory, so it still answers; its workers fail until the file is removed.

use std::fs;
use std::time::Duration;

use wasip2::filesystem::preopens::get_directories;

use crate::hostile;

/// Where the word is looked for, in every granted directory.
const FILE: &str = "probe-start";

/// wit-component runs the export of this name as the last step of instantiating the component.
// The attribute is unsafe because two functions of one name would clash; nothing else here exports this one.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // What libc prepares for files; the generated exports do this too, but they come later.
    wit_bindgen::rt::run_ctors_once();
    for (_, directory) in get_directories() {
        if let Ok(word) = fs::read_to_string(format!("{directory}/{FILE}")) {
            misbehave(word.trim());
        }
    }
}

fn misbehave(word: &str) {
    match word {
        "trap" => hostile::trap(),
        "spin" => hostile::spin(),
        "sleep" => std::thread::sleep(Duration::from_secs(3600)),
        "alloc" => _ = hostile::alloc(None),
        other => panic!("{FILE} may say trap, spin, sleep or alloc, and says {other:?}"),
    }
}
