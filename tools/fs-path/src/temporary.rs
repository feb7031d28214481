//! The name of the file that is written first and then takes the place of the real one.

use crate::place::Place;

/// The longest name of most file systems, in bytes.
const NAME_LIMIT: usize = 255;

/// A place beside `place`: `.NAME.nurones-RANDOM.tmp`, hidden and recognisable should it ever be left behind.
pub fn temporary(place: &Place, random: u64) -> Place {
    let (directory, name) = place.split();
    let tail = format!(".nurones-{random:016x}.tmp");
    let room = NAME_LIMIT - 1 - tail.len();
    let mut end = name.len().min(room);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    Place { preopen: place.preopen, path: format!("{directory}.{}{tail}", &name[..end]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> String {
        temporary(&Place { preopen: 3, path: path.into() }, 0xab).path
    }

    #[test]
    fn it_lies_beside_the_file() {
        assert_eq!(path("a/b.txt"), "a/.b.txt.nurones-00000000000000ab.tmp");
        assert_eq!(path("b"), ".b.nurones-00000000000000ab.tmp");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        for name in ["x".repeat(255), "ü".repeat(127), format!("x{}", "ü".repeat(127))] {
            let cut = path(&name);
            assert!(cut.len() <= NAME_LIMIT, "{}", cut.len());
            assert!(cut.ends_with(".tmp"));
        }
    }
}
