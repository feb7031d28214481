//! What `{{file}}` stands for: paths from a list, or of the files that a pattern matches.

use std::path::{Path, PathBuf};

/// Bytes of a list, at most: some hundred thousand paths.
const LIST_BYTES: u64 = 32 << 20;

/// The paths that `source` names: the lines of a text file, or, with a `*` in its last part, the files of that folder
/// whose names fit, in the order of their names.
///
/// # Errors
/// A sentence for the person who wrote it.
pub fn files(source: &str) -> Result<Vec<String>, String> {
    let name = Path::new(source).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let found = match name.split_once('*') {
        Some((start, end)) if !end.contains('*') => matching(source, name, start, end)?,
        Some(_) => return Err(format!("{source:?} has more than one *; write one, as in 'data/*.txt'")),
        None => listed(source)?,
    };
    if found.is_empty() {
        return Err(format!("there are no files in {source:?}; name a list of paths, or a pattern like 'data/*.txt'"));
    }
    Ok(found)
}

fn listed(source: &str) -> Result<Vec<String>, String> {
    let wrong = |what: &str| {
        format!(
            "cannot read the list {source:?}: {what}; name a text file with one path per line, or a pattern like 'data/*.txt'"
        )
    };
    let size = std::fs::metadata(source).map_err(|error| wrong(&error.to_string()))?.len();
    if size > LIST_BYTES {
        return Err(wrong("it has more than 32 MiB"));
    }
    let text = std::fs::read_to_string(source).map_err(|error| wrong(&error.to_string()))?;
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

fn matching(source: &str, name: &str, start: &str, end: &str) -> Result<Vec<String>, String> {
    let folder = &source[..source.len() - name.len()];
    let wrong = |error: std::io::Error| format!("cannot look into the folder of {source:?}: {error}");
    let entries = std::fs::read_dir(if folder.is_empty() { "." } else { folder }).map_err(wrong)?;
    let mut found = Vec::new();
    for entry in entries {
        let path: PathBuf = entry.map_err(wrong)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let fits = name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end);
        if fits && path.is_file() {
            found.push(format!("{folder}{name}"));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_finds_files_and_a_list_names_them() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.txt", "a.txt", "c.md", ".txt"] {
            std::fs::write(folder.path().join(name), "one\n\ntwo words \n").unwrap();
        }
        std::fs::create_dir(folder.path().join("d.txt")).unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        assert_eq!(files(&at("*.txt")).unwrap(), [at(".txt"), at("a.txt"), at("b.txt")]);
        assert_eq!(files(&at("a*.txt")).unwrap(), [at("a.txt")]);
        assert_eq!(files(&at("c.md")).unwrap(), ["one", "two words "]);
    }

    #[test]
    fn where_nothing_is_found_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("empty"), "\n").unwrap();
        for (source, part) in
            [("no-such", "one path per line"), ("x*", "no files"), ("*a*", "more than one"), ("empty", "no files")]
        {
            let error = files(&at(source)).unwrap_err();
            assert!(error.contains(part), "{source}: {error}");
        }
        assert!(files("/no/such/folder/*").unwrap_err().contains("folder"));
    }
}
