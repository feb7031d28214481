//! Where a path lies: which granted directory it belongs to and the rest of the way from there.
//!
//! Directories match by whole components, so `/a/b` grants nothing in `/a/bc`. The guest does this itself because libc
//! compares otherwise and knows a "." directory that we never grant.

use crate::fault::{Access, Fault};

/// The longest path taken, in bytes; that of Linux.
pub const PATH_LIMIT: usize = 4096;

/// A path below a granted directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index in the list of granted directories.
    pub preopen: usize,
    /// The way from there: not empty, without `.`, but with every `..` as given, which only the host can judge.
    pub path: String,
}

impl Place {
    /// Splits off the last component: the directory with its slash (or nothing) and the name.
    pub fn split(&self) -> (&str, &str) {
        match self.path.rfind('/') {
            Some(at) => self.path.split_at(at + 1),
            None => ("", &self.path),
        }
    }
}

/// Finds the directory that `path` belongs to among `preopens`, the names the guest sees. The longest match wins, and a
/// relative path starts at the first one. The path must be able to name a file.
pub fn locate<S: AsRef<str>>(preopens: &[S], path: &str, access: Access) -> Result<Place, Fault> {
    check(path)?;
    if preopens.is_empty() {
        return Err(Fault::nothing_allowed(access));
    }
    if names_directory(path) {
        return Err(Fault::directory(path));
    }
    if !path.starts_with('/') {
        return Ok(Place { preopen: 0, path: join(components(path)) });
    }
    let mut best: Option<(usize, usize)> = None;
    for (index, preopen) in preopens.iter().enumerate() {
        if let Some(depth) = depth_inside(preopen.as_ref(), path) {
            if best.is_none_or(|(_, deepest)| depth > deepest) {
                best = Some((index, depth));
            }
        }
    }
    let (preopen, depth) = best.ok_or_else(|| Fault::outside(path, access))?;
    let rest = join(components(path).skip(depth));
    if rest.is_empty() {
        return Err(Fault::directory(path));
    }
    Ok(Place { preopen, path: rest })
}

fn check(path: &str) -> Result<(), Fault> {
    if path.is_empty() {
        return Err(Fault::invalid("the path is empty; name a file"));
    }
    if path.len() > PATH_LIMIT {
        let message = format!("the path has {} bytes, more than {PATH_LIMIT}; use a shorter one", path.len());
        return Err(Fault::invalid(message));
    }
    if path.contains('\0') {
        return Err(Fault::invalid(format!("the path {path:?} contains a NUL byte; remove it")));
    }
    Ok(())
}

/// Whether the spelling alone says directory.
fn names_directory(path: &str) -> bool {
    matches!(path.rsplit('/').next(), Some("" | "." | ".."))
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

fn join<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut path = String::new();
    for part in parts {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
    }
    path
}

/// The number of components of `preopen` when the absolute `path` lies inside it.
fn depth_inside(preopen: &str, path: &str) -> Option<usize> {
    if !preopen.starts_with('/') {
        return None;
    }
    let mut parts = components(path);
    let mut depth = 0;
    for wanted in components(preopen) {
        if parts.next() != Some(wanted) {
            return None;
        }
        depth += 1;
    }
    Some(depth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;

    const GRANTED: [&str; 4] = ["/home/u/p", "/a/b", "/a/b/deep/", "/srv//x/./y"];

    fn at(path: &str) -> (usize, String) {
        let place = locate(&GRANTED, path, Access::Read).unwrap();
        (place.preopen, place.path)
    }

    fn refused(path: &str) -> Fault {
        locate(&GRANTED, path, Access::Read).unwrap_err()
    }

    #[test]
    fn directories_match_by_whole_components() {
        assert_eq!(at("/a/b/c"), (1, "c".into()));
        assert_eq!(refused("/a/bc").kind, Kind::PermissionDenied);
        assert_eq!(refused("/a/bc/d").kind, Kind::PermissionDenied);
        assert_eq!(refused("/a").kind, Kind::PermissionDenied);
    }

    #[test]
    fn the_longest_match_wins() {
        assert_eq!(at("/a/b/deep/x"), (2, "x".into()));
        assert_eq!(at("/a/b/deeper/x"), (1, "deeper/x".into()));
        assert_eq!(at("/srv/x/y/z"), (3, "z".into()));
    }

    #[test]
    fn a_root_grant_takes_everything_absolute() {
        assert_eq!(locate(&["/"], "/etc/x", Access::Read).unwrap(), Place { preopen: 0, path: "etc/x".into() });
    }

    #[test]
    fn a_relative_path_starts_at_the_first_directory() {
        assert_eq!(at("README.md"), (0, "README.md".into()));
        assert_eq!(at("./a//b/./c"), (0, "a/b/c".into()));
        assert_eq!(at("a/b/c"), (0, "a/b/c".into()), "not the directory /a/b");
    }

    #[test]
    fn dots_are_removed_but_parents_are_left_to_the_host() {
        assert_eq!(at("/a/./b/./c/../../x"), (1, "c/../../x".into()));
        assert_eq!(at("../x"), (0, "../x".into()));
        assert_eq!(refused("/a/../a/b/x").kind, Kind::PermissionDenied, "not resolved lexically");
    }

    #[test]
    fn a_path_that_can_only_be_a_directory_is_refused() {
        for path in ["/a/b", "/a/b/", "x/", "x/.", "x/..", ".", "..", "/a/b/."] {
            assert_eq!(refused(path).kind, Kind::InvalidArguments, "{path}");
            assert!(refused(path).message.contains("is a directory"), "{path}");
        }
    }

    #[test]
    fn impossible_paths_are_refused_with_a_reason() {
        assert!(refused("").message.contains("empty"));
        assert!(refused("a\0b").message.contains("NUL"));
        assert!(refused(&"x".repeat(4097)).message.contains("4097"));
        assert_eq!(at(&"x".repeat(4096)).0, 0);
    }

    #[test]
    fn without_a_grant_the_way_to_one_is_told() {
        let none: [&str; 0] = [];
        let fault = locate(&none, "x", Access::Read).unwrap_err();
        assert_eq!(fault.message, "no directory is allowed for reading; start the server with --allow DIR");
        assert_eq!(locate(&none, "", Access::Read).unwrap_err().kind, Kind::InvalidArguments);
    }

    #[test]
    fn a_place_splits_into_directory_and_name() {
        let place = |path: &str| Place { preopen: 0, path: path.into() };
        assert_eq!(place("a/b/c").split(), ("a/b/", "c"));
        assert_eq!(place("c").split(), ("", "c"));
    }
}
