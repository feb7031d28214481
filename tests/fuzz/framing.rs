//! Framing: the lines that come out are those of the bytes that went in, however these were cut.

use bytes::BytesMut;
use nurones_mcp::mcp::envelope::Envelope;
use nurones_mcp::mcp::framing::{Frame, Framer};

/// Limits under which every case is tried: small ones, so that short input reaches them.
const LIMITS: [Limits; 2] = [Limits { line: 24, endless: 90 }, Limits { line: 300, endless: 2000 }];

/// The two limits of a framer, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of a line.
    pub line: usize,
    /// Of a line that is still skipped.
    pub endless: usize,
}

/// Something that makes frames of chunks: the frames, and what was left at the end.
pub type Framing = fn(&[&[u8]], Limits) -> Result<(Vec<Frame>, BytesMut), String>;

/// The property, of our framer.
pub fn check(data: &[u8]) -> Result<(), String> {
    check_framing(data, ours)
}

/// The property, of any framer.
pub fn check_framing(data: &[u8], framing: Framing) -> Result<(), String> {
    for limits in LIMITS {
        let expected = naive(data, limits);
        for (cut, chunks) in cuts(data) {
            let seen = framing(&chunks, limits)?;
            if seen != expected {
                return Err(format!("{limits:?}, cut {cut}: {seen:?} instead of {expected:?}"));
            }
        }
    }
    valid_lines_come_through(data, framing)
}

/// Puts a good request after every line; all of them must arrive, in order, and be taken for requests.
fn valid_lines_come_through(data: &[u8], framing: Framing) -> Result<(), String> {
    let limits = LIMITS[1];
    let (mut stream, mut requests) = (Vec::new(), Vec::new());
    for junk in data.split(|byte| *byte == b'\n').filter(|junk| junk.len() <= limits.endless) {
        let request = format!(r#"{{"jsonrpc":"2.0","id":"good-{}","method":"ping"}}"#, requests.len());
        stream.extend_from_slice(&[junk, b"\n", request.as_bytes(), b"\n"].concat());
        requests.push(request);
    }
    let (frames, _) = framing(&cuts(&stream).pop().expect("there are several ways to cut").1, limits)?;
    let mut wanted = requests.iter();
    let mut next = wanted.next();
    for frame in frames {
        let Frame::Line(line) = frame else { continue };
        if next.is_some_and(|request| request.as_bytes() == line) {
            if !matches!(Envelope::of(&line), Envelope::Request { call: None, .. }) {
                return Err("a good request is refused".to_owned());
            }
            next = wanted.next();
        }
    }
    next.map_or(Ok(()), |lost| Err(format!("a good request between bad lines was lost: {lost}")))
}

/// Our framer, with its promise about memory.
pub fn ours(chunks: &[&[u8]], limits: Limits) -> Result<(Vec<Frame>, BytesMut), String> {
    let mut framer = Framer::new(limits.line, limits.endless);
    let mut frames = Vec::new();
    for chunk in chunks {
        framer.buffer().extend_from_slice(chunk);
        while let Some(frame) = framer.next_frame() {
            let last = frame == Frame::Endless;
            frames.push(frame);
            if last {
                return Ok((frames, BytesMut::new()));
            }
        }
        let kept = framer.buffer().len();
        if kept > limits.line {
            return Err(format!("{kept} bytes are kept of a line that may have {}", limits.line));
        }
    }
    Ok((frames, framer.rest()))
}

/// The same by splitting the whole input at its newlines.
fn naive(data: &[u8], limits: Limits) -> (Vec<Frame>, BytesMut) {
    let mut frames = Vec::new();
    let mut lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let rest = lines.pop().unwrap_or_default();
    for (line, ended) in lines.into_iter().map(|line| (line, true)).chain([(rest, false)]) {
        if line.len() > limits.line {
            frames.push(Frame::TooLong(line[..=limits.line].into()));
        } else if ended {
            frames.push(Frame::Line(line.into()));
        } else {
            return (frames, line.into());
        }
        if line.len() > limits.endless {
            frames.push(Frame::Endless);
            break;
        }
    }
    (frames, BytesMut::new())
}

/// Ways to cut `data`: whole, byte by byte if it is short, and at places that depend on nothing but the data.
fn cuts(data: &[u8]) -> Vec<(&'static str, Vec<&[u8]>)> {
    let mut ways = vec![("whole", vec![data])];
    if data.len() <= 1024 {
        ways.push(("byte by byte", data.chunks(1).collect()));
    }
    let mut rng = fastrand::Rng::with_seed(
        data.iter().fold(7, |hash: u64, byte| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte)),
    );
    let most = [3, 40, 1 + data.len() / 2][rng.usize(..3)];
    let (mut chunks, mut left) = (Vec::new(), data);
    while !left.is_empty() {
        let (chunk, more) = left.split_at(rng.usize(..=most).min(left.len()));
        chunks.push(chunk);
        left = more;
    }
    ways.push(("anywhere", chunks));
    ways
}
