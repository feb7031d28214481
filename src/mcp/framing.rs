//! Bytes become lines. No I/O here: bytes are pushed in, frames come out.
//!
//! MCP over stdio is one JSON object per line. A line longer than the limit is given up as soon as that is known, and
//! skipped to its end; one that never ends is reported as such.

use bytes::{Buf, BytesMut};

/// Bytes of an overlong line that are kept to find its id.
const HEAD_BYTES: usize = 64 << 10;

/// What the framer found.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole line without its newline.
    Line(BytesMut),
    /// A line over the limit; its first bytes.
    TooLong(BytesMut),
    /// A line so long that the client cannot be meaning it.
    Endless,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    /// Bytes of `buffer` known to hold no newline.
    scanned: usize,
    /// Bytes skipped of an overlong line.
    skipped: Option<usize>,
    line_bytes: usize,
    endless_bytes: usize,
}

impl Framer {
    /// A framer for lines of at most `line_bytes` that gives up on a line of `endless_bytes`.
    pub fn new(line_bytes: usize, endless_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, skipped: None, line_bytes, endless_bytes }
    }

    /// Where new bytes go; append to it.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next frame among the bytes so far; `None` when more are needed. After [`Frame::Endless`] nothing follows.
    pub fn next_frame(&mut self) -> Option<Frame> {
        if let Some(skipped) = self.skipped {
            return self.skip(skipped);
        }
        let newline = memchr::memchr(b'\n', &self.buffer[self.scanned..]).map(|position| self.scanned + position);
        self.scanned = 0;
        if newline.unwrap_or(self.buffer.len()) > self.line_bytes {
            // As many bytes as there are at least when this is known, however they came.
            let head = self.buffer.split_to(HEAD_BYTES.min(self.line_bytes + 1));
            self.skipped = Some(head.len());
            return Some(Frame::TooLong(head));
        }
        let Some(end) = newline else {
            self.scanned = self.buffer.len();
            return None;
        };
        let mut line = self.buffer.split_to(end + 1);
        line.truncate(end);
        Some(Frame::Line(line))
    }

    /// What stands unterminated at the end of the input.
    pub fn rest(&mut self) -> BytesMut {
        self.scanned = 0;
        if self.skipped.take().is_some() { BytesMut::new() } else { self.buffer.split() }
    }

    fn skip(&mut self, skipped: usize) -> Option<Frame> {
        let newline = memchr::memchr(b'\n', &self.buffer);
        let skipped = skipped + newline.unwrap_or(self.buffer.len());
        if skipped > self.endless_bytes {
            return Some(Frame::Endless);
        }
        let Some(end) = newline else {
            self.buffer.clear();
            self.skipped = Some(skipped);
            return None;
        };
        self.buffer.advance(end + 1);
        self.skipped = None;
        self.next_frame()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(framer: &mut Framer, chunks: &[&[u8]]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for chunk in chunks {
            framer.buffer().extend_from_slice(chunk);
            while let Some(frame) = framer.next_frame() {
                let endless = frame == Frame::Endless;
                frames.push(frame);
                if endless {
                    return frames;
                }
            }
        }
        frames
    }

    #[test]
    fn an_overlong_line_is_reported_once_and_skipped_to_its_end() {
        let mut framer = Framer::new(4, 100);
        let seen = frames(&mut framer, &[b"abcdefg", b"hij", b"kl\nok\nabcde\nend\n"]);
        assert_eq!(
            seen,
            [
                Frame::TooLong(b"abcde"[..].into()),
                Frame::Line(b"ok"[..].into()),
                Frame::TooLong(b"abcde"[..].into()),
                Frame::Line(b"end"[..].into()),
            ]
        );
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut framer = Framer::new(4, 10);
        let seen = frames(&mut framer, &[b"aaaaaaaa", b"aaaa", b"a"]);
        assert_eq!(seen.last(), Some(&Frame::Endless));
        let whole = frames(&mut Framer::new(4, 10), &[b"aaaaaaaaaaa\nnot read any more\n"]);
        assert_eq!(whole, seen, "also when its end comes with it");
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_lines_are_the_same(
            lines in prop::collection::vec("[a-z{}\" ]{0,30}", 0..20),
            cuts in prop::collection::vec(1usize..17, 1..100),
        ) {
            let mut bytes: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
            bytes.extend_from_slice(b"rest");
            let mut framer = Framer::new(20, 1000);
            let mut chunks: Vec<&[u8]> = Vec::new();
            let (mut left, mut cuts) = (bytes.as_slice(), cuts.into_iter().cycle());
            while !left.is_empty() {
                let (chunk, more) = left.split_at(cuts.next().unwrap().min(left.len()));
                chunks.push(chunk);
                left = more;
            }
            let seen = frames(&mut framer, &chunks);
            prop_assert_eq!(seen.len(), lines.len());
            for (frame, line) in seen.iter().zip(&lines) {
                match frame {
                    Frame::Line(seen) => prop_assert_eq!(&seen[..], line.as_bytes()),
                    Frame::TooLong(head) => prop_assert!(line.len() > 20 && line.as_bytes().starts_with(head)),
                    Frame::Endless => prop_assert!(false),
                }
            }
            prop_assert_eq!(&framer.rest()[..], b"rest");
        }
    }
}
