//! Lines out of a stream of bytes, as many as one read brought, without copying them.

use std::io::{self, Read};

/// Bytes asked for at once; what a pipe holds.
const READ_BYTES: usize = 64 << 10;

/// Cuts what `from` yields into lines of at most `limit` bytes.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    buffer: Vec<u8>,
    /// Where the bytes begin that no line was made of yet.
    start: usize,
    /// Where the bytes end.
    end: usize,
    /// Up to where no newline is known to be.
    scanned: usize,
    limit: usize,
}

impl<R: Read> Lines<R> {
    /// Nothing has been read yet.
    pub fn new(from: R, limit: usize) -> Self {
        Self { from, buffer: vec![0; READ_BYTES], start: 0, end: 0, scanned: 0, limit }
    }

    /// Waits for bytes; `false` at the end of the stream.
    ///
    /// # Errors
    /// Those of reading, and `InvalidData` when a line is longer than the limit.
    pub fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.scanned -= self.start;
        self.start = 0;
        if self.end > self.limit {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.from.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next whole line among what was read, without its newline.
    pub fn next_line(&mut self) -> Option<&[u8]> {
        let Some(position) = memchr::memchr(b'\n', &self.buffer[self.scanned..self.end]) else {
            self.scanned = self.end;
            return None;
        };
        let line = self.start..self.scanned + position;
        self.start = line.end + 1;
        self.scanned = self.start;
        Some(&self.buffer[line])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Yields its bytes in pieces of given sizes.
    struct Pieces<'a>(&'a [u8], std::iter::Cycle<std::vec::IntoIter<usize>>);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let size = self.1.next().unwrap().min(into.len()).min(self.0.len());
            let (piece, rest) = self.0.split_at(size);
            into[..size].copy_from_slice(piece);
            self.0 = rest;
            Ok(size)
        }
    }

    proptest! {
        #[test]
        fn however_the_bytes_come_the_lines_are_the_same(
            lines in prop::collection::vec("[a-z]{0,40}", 0..20),
            sizes in prop::collection::vec(1usize..70, 1..20),
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let mut reader = Lines::new(Pieces(text.as_bytes(), sizes.into_iter().cycle()), 1000);
            let mut seen = Vec::new();
            while reader.fill().unwrap() {
                while let Some(line) = reader.next_line() {
                    seen.push(String::from_utf8(line.to_vec()).unwrap());
                }
            }
            prop_assert_eq!(seen, lines);
        }
    }

    #[test]
    fn a_line_over_the_limit_is_an_error_and_a_long_one_is_not() {
        let long = [vec![b'a'; 300_000], b"\n".to_vec()].concat();
        let count = |limit| {
            let mut lines = Lines::new(&long[..], limit);
            let mut seen = 0;
            while lines.fill()? {
                while let Some(line) = lines.next_line() {
                    seen += line.len();
                }
            }
            io::Result::Ok(seen)
        };
        assert_eq!(count(1 << 20).unwrap(), 300_000);
        assert_eq!(count(100_000).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
