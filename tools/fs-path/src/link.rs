//! Where a link leads. The guest follows it step by step through the granted directory, so that the file itself can be
//! replaced in its own directory.
//!
//! Only relative targets: WASI does not even tell an absolute one, which would show the guest how the host is laid out.

use crate::fault::Fault;
use crate::place::{PATH_LIMIT, Place};

/// As many as Linux follows.
const HOPS: usize = 40;

/// What lies at a place, a link not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Missing,
    File,
    Directory,
    /// A FIFO, a socket or a device.
    Special,
    /// A link and its target.
    Link(String),
}

/// The end of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub place: Place,
    /// Whether a regular file is there. When not, nothing is, and the directory may be missing too.
    pub exists: bool,
}

/// Follows `place` to a regular file or to nothing; anything else is refused. `look` tells what lies at a place; `path`
/// is the caller's spelling. A link to nothing is refused: creating its target would surprise.
pub fn resolve(
    place: Place,
    path: &str,
    mut look: impl FnMut(&Place) -> Result<Entry, Fault>,
) -> Result<Resolved, Fault> {
    let mut place = place;
    for hop in 0..=HOPS {
        match look(&place)? {
            Entry::File => return Ok(Resolved { place, exists: true }),
            Entry::Missing if hop == 0 => return Ok(Resolved { place, exists: false }),
            Entry::Missing => return Err(Fault::dangling(path)),
            Entry::Directory => return Err(Fault::directory(path)),
            Entry::Special => return Err(Fault::not_regular(path)),
            Entry::Link(target) => place = follow(&place, &target, path)?,
        }
    }
    Err(Fault::link_loop(path))
}

fn follow(place: &Place, target: &str, path: &str) -> Result<Place, Fault> {
    if target.starts_with('/') {
        return Err(Fault::absolute_link(path));
    }
    let (directory, _) = place.split();
    let joined = format!("{directory}{target}");
    if target.is_empty() || joined.len() > PATH_LIMIT {
        return Err(Fault::link_loop(path));
    }
    // Not reduced lexically: a component before `..` may be a link, and the host denies a way out.
    Ok(Place { preopen: place.preopen, path: joined })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;

    fn run(start: &str, entries: &[(&str, Entry)]) -> Result<Resolved, Fault> {
        resolve(Place { preopen: 2, path: start.into() }, start, |at| {
            let found = entries.iter().find(|(path, _)| *path == at.path);
            Ok(found.map_or(Entry::Missing, |(_, entry)| entry.clone()))
        })
    }

    fn link(target: &str) -> Entry {
        Entry::Link(target.into())
    }

    #[test]
    fn a_file_is_itself_and_a_missing_one_is_new() {
        assert!(run("a", &[("a", Entry::File)]).unwrap().exists);
        assert!(!run("a", &[]).unwrap().exists);
    }

    #[test]
    fn a_relative_target_starts_at_the_directory_of_the_link() {
        let end = run("d/l", &[("d/l", link("../e/f")), ("d/../e/f", Entry::File)]).unwrap();
        assert_eq!(end.place, Place { preopen: 2, path: "d/../e/f".into() });
    }

    #[test]
    fn an_absolute_target_is_refused_and_not_told() {
        let fault = run("l", &[("l", link("/etc/passwd"))]).unwrap_err();
        assert_eq!(fault.kind, Kind::PermissionDenied);
        assert!(!fault.message.contains("passwd"), "{}", fault.message);
    }

    #[test]
    fn a_dangling_link_a_loop_and_a_link_to_a_directory_are_refused() {
        assert_eq!(run("l", &[("l", link("gone"))]).unwrap_err().kind, Kind::NotFound);
        assert!(run("l", &[("l", link("l"))]).unwrap_err().message.contains("too many links"));
        assert!(run("l", &[("l", link("d")), ("d", Entry::Directory)]).unwrap_err().message.contains("directory"));
        assert!(run("l", &[("l", link("f")), ("f", Entry::Special)]).unwrap_err().message.contains("pipe"));
    }

    #[test]
    fn forty_links_are_followed_but_not_more() {
        let chain = |length: usize| -> Result<Resolved, Fault> {
            let place = Place { preopen: 0, path: "0".into() };
            resolve(place, "0", |at| {
                let number: usize = at.path.parse().unwrap();
                Ok(if number == length { Entry::File } else { Entry::Link((number + 1).to_string()) })
            })
        };
        assert!(chain(40).unwrap().exists);
        assert!(chain(41).is_err());
    }
}
