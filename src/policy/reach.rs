//! Where a path leads to in a sandbox, step by step as the kernel would go below a granted directory.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::wasi::sandbox::{Grant, Policy};

/// Links on one way that are too many, as the kernel has it.
const LINKS: usize = 40;

/// See the module documentation.
#[derive(Debug)]
pub enum Reach<'a> {
    /// Into this directory, to this place.
    Inside(&'a Grant, PathBuf),
    /// It names no granted directory.
    Outside,
    /// It begins in a granted directory, and leads out of it by what is named.
    LeadsOut(&'a Grant, String),
}

impl<'a> Reach<'a> {
    /// Where `path` leads to. A relative one begins in the first directory, as the built-in tools have it.
    pub fn of(directories: &'a Policy, path: &Path) -> Self {
        let names =
            directories.grants().iter().flat_map(|grant| grant.guest_names.iter().map(move |name| (grant, name)));
        let begun = if path.is_relative() {
            directories.grants().first().map(|grant| (grant, path))
        } else {
            let fitting = names.filter_map(|(grant, name)| Some((grant, name.len(), path.strip_prefix(name).ok()?)));
            fitting.max_by_key(|(_, length, _)| *length).map(|(grant, _, below)| (grant, below))
        };
        let Some((grant, below)) = begun else { return Self::Outside };
        match walk(&grant.canonical, below) {
            Ok(place) => Self::Inside(grant, grant.canonical.join(place)),
            Err(way_out) => Self::LeadsOut(grant, way_out),
        }
    }
}

enum Part {
    Up,
    Down(OsString),
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = Part> {
    path.components().filter_map(|part| match part {
        Component::ParentDir => Some(Part::Up),
        Component::Normal(name) => Some(Part::Down(name.to_owned())),
        _ => None,
    })
}

/// The place below `root` that `path` leads to, which need not exist.
fn walk(root: &Path, path: &Path) -> Result<PathBuf, String> {
    let (mut todo, mut at, mut links): (VecDeque<Part>, _, _) = (parts(path).collect(), PathBuf::new(), 0);
    while let Some(part) = todo.pop_front() {
        let name = match part {
            Part::Down(name) => name,
            Part::Up if at.pop() => continue,
            Part::Up => return Err("`..` above the directory".to_owned()),
        };
        let here = root.join(&at).join(&name);
        match std::fs::read_link(&here) {
            Ok(target) if target.is_absolute() => {
                return Err(format!("the link {} to {}", here.display(), target.display()));
            }
            Ok(target) => {
                links += 1;
                if links > LINKS {
                    return Err(format!("more than {LINKS} links, the last of them {}", here.display()));
                }
                parts(&target).rev().for_each(|part| todo.push_front(part));
            }
            Err(_) => at.push(name),
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_followed_as_the_sandbox_would() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("in/sub")).unwrap();
        std::fs::write(root.join("secret"), "x").unwrap();
        for (link, target) in [("up", ".."), ("abs", "/etc"), ("self", "self"), ("fine", "sub/../sub")] {
            symlink(target, root.join("in").join(link)).unwrap();
        }
        let directories = Policy::new(vec![Grant::open(Path::new("in"), &root, true).unwrap()]);
        let shown = |path: &str| match Reach::of(&directories, Path::new(path)) {
            Reach::Inside(_, place) => place.strip_prefix(&root).unwrap().display().to_string(),
            Reach::Outside => "outside".to_owned(),
            Reach::LeadsOut(_, by) => format!("out by {by}"),
        };
        assert_eq!(shown("new/file.txt"), "in/new/file.txt");
        assert_eq!(shown(root.join("in/a").to_str().unwrap()), "in/a");
        assert_eq!(shown("fine/a"), "in/sub/a");
        assert_eq!(shown("/etc/passwd"), "outside");
        assert_eq!(shown(root.join("inside").to_str().unwrap()), "outside", "whole names, not beginnings of them");
        assert!(shown("../secret").starts_with("out by `..`"));
        assert!(shown("up/secret").starts_with("out by `..`"));
        assert!(shown("abs/passwd").contains("in/abs to /etc"));
        assert!(shown("self").contains("links"));
    }
}
