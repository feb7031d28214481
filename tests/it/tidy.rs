//! Rules of the source itself: what every file says first, who may know whom, and what the documents name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under `folder` of the repository with one of `extensions`, as its path in the repository and its text.
fn files(folder: &str, extensions: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            if path.is_dir() && name != "target" && name != ".git" {
                folders.push(path);
            } else if extensions.iter().any(|extension| name.ends_with(extension)) {
                let shown = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((shown, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "there is nothing in {folder}");
    found
}

/// The lines of a file that are code, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(|(_, line)| {
        let line = line.trim_start();
        !line.starts_with("//")
    })
}

#[test]
fn every_file_begins_by_saying_what_it_is() {
    for (path, text) in files("src", &[".rs"]).into_iter().chain(files("tests", &[".rs"])) {
        assert!(text.starts_with("//! "), "{path} does not begin with //!");
    }
}

#[test]
fn imports_flow_one_way() {
    for (folder, forbidden) in [
        ("src/wasi", &["crate::mcp", "crate::actors", "crate::cli", "crate::runtime", "crate::server", "rmcp"][..]),
        ("src/actors", &["crate::mcp", "crate::cli", "crate::runtime", "crate::server", "rmcp"]),
        ("src/mcp", &["crate::cli"]),
        ("src/policy", &["crate::mcp", "crate::actors", "crate::cli", "crate::runtime", "crate::server", "rmcp"]),
        ("src/events", &["crate::mcp", "crate::actors", "crate::cli", "crate::runtime", "crate::wasi", "rmcp"]),
        ("src/journal", &["crate::mcp", "crate::actors", "crate::cli", "crate::runtime", "crate::wasi", "rmcp"]),
        (
            "src/pins",
            &["crate::mcp", "crate::actors", "crate::cli", "crate::runtime", "crate::wasi", "crate::policy", "rmcp"],
        ),
        ("src/load", &["crate::", "rmcp"]),
        // A client of the server's process, that must not know what is inside.
        ("src/drill", &["crate::mcp", "crate::actors", "crate::wasi", "crate::cli", "crate::runtime", "rmcp"]),
        ("src/audit", &["crate::", "rmcp"]),
        ("src/tuning", &["crate::", "rmcp"]),
    ] {
        for (path, text) in files(folder, &[".rs"]) {
            for (number, line) in code_lines(&text) {
                for name in forbidden {
                    assert!(!line.contains(name), "{path}:{number} mentions {name}: {line}");
                }
            }
        }
    }
}

#[test]
fn nothing_prints_past_the_connection() {
    for (path, text) in files("src", &[".rs"]) {
        for (number, line) in code_lines(&text) {
            for name in ["print!(", "println!(", "eprint!(", "eprintln!(", "dbg!("] {
                assert!(!line.contains(name), "{path}:{number} uses {name}: {line}");
            }
        }
    }
}

#[test]
fn no_file_is_too_long_to_read_at_once() {
    for (path, text) in files("src", &[".rs"]).into_iter().chain(files("tests", &[".rs"])) {
        let lines = text.lines().count();
        assert!(lines <= 450, "{path} has {lines} lines; split it by noun");
    }
}

#[test]
fn every_test_file_is_part_of_the_suite() {
    let main = std::fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    for (path, _) in files("tests/it", &[".rs"]) {
        let name = Path::new(&path).file_stem().unwrap().to_str().unwrap();
        assert!(name == "main" || main.contains(&format!("mod {name};\n")), "{path} is not in main.rs");
    }
}

/// What stands between backticks, line by line.
fn backticked(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The local targets of links like `[text](target)`.
fn linked(text: &str) -> Vec<&str> {
    let targets = text.match_indices("](").filter_map(|(at, _)| text[at + 2..].split(')').next());
    targets.filter(|target| !target.contains("://") && !target.starts_with('#')).collect()
}

/// Whether a document that says `word` means a file or folder of this repository.
fn names_a_file(word: &str) -> bool {
    const METHODS: [&str; 2] = ["tools/call", "tools/list"];
    const BUILT: [&str; 2] = ["target/", "tools/target/"];
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let known = ["src/", "tests/", "tools/", "docs/", "benches/", ".mcp/", ".ci/", ".vscode/"];
    plain
        && !METHODS.contains(&word)
        && !BUILT.iter().any(|built| word.starts_with(built))
        && (known.iter().any(|folder| word.starts_with(folder))
            || [".rs", ".wit"].iter().any(|extension| word.len() > extension.len() && word.ends_with(extension)))
}

/// Where a document may mean: from the repository, from its own folder, and from the sources.
fn places(document: &str, word: &str) -> [PathBuf; 4] {
    let own = root().join(document).parent().unwrap().to_owned();
    [root().join(word), own.join(word), root().join("src").join(word), root().join("tools/wit").join(word)]
}

#[test]
fn documents_name_only_files_that_exist() {
    let mut documents: Vec<_> = files("", &[".md"]);
    documents.retain(|(path, _)| !path.contains("node_modules"));
    documents.extend(files("src", &["lib.rs", "mod.rs"]));
    // A file named without its folder: the text around it says which folder is meant.
    let sources = files("src", &[".rs"]).into_iter().chain(files("tools", &[".rs", ".wit"]));
    let names: BTreeSet<String> = sources.filter_map(|(path, _)| Some(path.rsplit_once('/')?.1.to_owned())).collect();
    let mut checked = 0;
    for (document, text) in documents {
        let named = backticked(&text).into_iter().filter(|word| names_a_file(word));
        let linked = linked(&text).into_iter().filter(|_| document.ends_with(".md"));
        for word in named.chain(linked) {
            let word = word.split('#').next().unwrap();
            let by_name = || !word.contains('/') && names.contains(word);
            let exists = places(&document, word).iter().any(|place| place.exists()) || by_name();
            assert!(exists, "{document} names `{word}`, which does not exist");
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} names were found; the rule above no longer finds them");
}

/// The tests named `file::name` in a document.
fn named_tests(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c));
    let pairs = backticked(text).into_iter().filter_map(|word| word.split_once("::"));
    pairs.filter(move |(file, name)| plain(file) && plain(name))
}

#[test]
fn documents_name_only_tests_that_exist() {
    let mut checked = 0;
    for (document, text) in files("docs", &[".md"]).into_iter().chain(files("", &["SECURITY.md"])) {
        for (file, name) in named_tests(&text) {
            let path = root().join(format!("tests/it/{file}.rs"));
            let source = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                source.contains(&format!("#[test]\nfn {name}() {{")),
                "{document} names {file}::{name}, which is no test"
            );
            checked += 1;
        }
    }
    assert!(checked > 80, "only {checked} names were found; the rule above no longer finds them");
}

#[test]
fn every_row_about_bad_input_is_shown_by_a_test() {
    let text = std::fs::read_to_string(root().join("docs/bad-input.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| input |"));
    for row in rows {
        let shown = row.rsplit('|').nth(1).unwrap();
        assert!(named_tests(shown).next().is_some(), "no test shows this: {row}");
    }
}

#[test]
fn the_layout_in_the_library_page_is_the_one_on_disk() {
    let page = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for entry in std::fs::read_dir(root().join("src")).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_module = path.is_dir() && name != "bin" || path.extension().is_some_and(|extension| extension == "rs");
        if is_module && !["lib", "main", "telemetry"].contains(&name.as_str()) {
            assert!(page.contains(&format!("[`{name}`]")), "src/lib.rs does not say what {name} is");
        }
    }
}
