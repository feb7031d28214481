//! Input made from other input: bytes flipped, pieces moved, tokens of JSON exchanged, everything too long and too deep.

use std::ops::Range;

use fastrand::Rng;

/// The longest mutant, unless one of the rare long ones was drawn.
const BYTES: usize = 16 << 10;
const RARE_BYTES: usize = 512 << 10;

/// What has surprised readers of JSON, of lines or of text before.
const SURPRISES: [&[u8]; 32] = [
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b"\x01",
    b"\x7f",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc3",
    "\u{2028}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{200d}".as_bytes(),
    "e\u{301}".as_bytes(),
    "\u{1f600}".as_bytes(),
    "\u{ff0e}\u{ff0e}\u{2215}".as_bytes(),
    br"\u0000",
    br"\ud800",
    br"\udfff\ud800",
    br#"\""#,
    br"\\",
    br"\x",
    b"//",
    b"/*",
    b"'",
    b"NaN",
    b"-",
    b".",
    b" ",
    b"\t",
];

const VALUES: [&str; 28] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "1.5",
    "-0.0",
    "1e3",
    "1e400",
    "-1e-400",
    "255",
    "256",
    "65535",
    "65536",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "\"\"",
    "[]",
    "{}",
    "\"auto\"",
];

/// Makes one mutant.
pub struct Mutator<'a> {
    rng: Rng,
    seeds: &'a [&'a [u8]],
    tokens: &'a [&'a str],
    limit: usize,
}

impl<'a> Mutator<'a> {
    pub fn new(seed: u64, seeds: &'a [&'a [u8]], tokens: &'a [&'a str]) -> Self {
        let mut rng = Rng::with_seed(seed);
        let limit = if rng.u32(..1000) == 0 { RARE_BYTES } else { BYTES };
        Self { rng, seeds, tokens, limit }
    }

    /// One of the seeds after one to eight mutations.
    pub fn mutant(mut self) -> Vec<u8> {
        let mut input = self.seeds[self.rng.usize(..self.seeds.len())].to_vec();
        for _ in 0..=self.rng.usize(..8).min(self.rng.usize(..8)) {
            self.mutate(&mut input);
            input.truncate(self.limit);
        }
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        match self.rng.u32(..16) {
            0 => self.flip(input),
            1 => self.overwrite(input),
            2 => self.cut(input),
            3 => self.duplicate(input),
            4 => self.splice(input),
            5 => self.insert_surprise(input),
            6 => self.insert_token(input),
            7 => self.repeat(input),
            8 => self.nest(input),
            9 | 10 => self.exchange_tokens(input),
            _ => self.replace_token(input),
        }
    }

    fn place(&mut self, input: &[u8]) -> usize {
        self.rng.usize(..=input.len())
    }

    fn stretch(&mut self, input: &[u8]) -> Range<usize> {
        let from = self.place(input);
        let most = if self.rng.bool() { 8 } else { input.len() };
        from..(from + self.rng.usize(..=most)).min(input.len())
    }

    fn flip(&mut self, input: &mut [u8]) {
        for _ in 0..=self.rng.usize(..3) {
            if !input.is_empty() {
                let at = self.rng.usize(..input.len());
                input[at] ^= 1 << self.rng.u32(..8);
            }
        }
    }

    fn overwrite(&mut self, input: &mut [u8]) {
        if !input.is_empty() {
            let at = self.rng.usize(..input.len());
            input[at] = self.rng.u8(..);
        }
    }

    fn cut(&mut self, input: &mut Vec<u8>) {
        let range = self.stretch(input);
        input.drain(range);
    }

    fn duplicate(&mut self, input: &mut Vec<u8>) {
        let piece = input[self.stretch(input)].to_vec();
        let at = self.place(input);
        input.splice(at..at, piece);
    }

    fn splice(&mut self, input: &mut Vec<u8>) {
        let other = self.seeds[self.rng.usize(..self.seeds.len())];
        let piece = &other[self.stretch(other)];
        let range = self.stretch(input);
        input.splice(range, piece.iter().copied());
    }

    fn insert_surprise(&mut self, input: &mut Vec<u8>) {
        let surprise = SURPRISES[self.rng.usize(..SURPRISES.len())];
        let at = self.place(input);
        input.splice(at..at, surprise.iter().copied());
    }

    fn insert_token(&mut self, input: &mut Vec<u8>) {
        let token = self.token();
        let at = self.place(input);
        input.splice(at..at, token);
    }

    /// A stretch again and again: long names, long numbers, long lists.
    fn repeat(&mut self, input: &mut Vec<u8>) {
        let range = self.stretch(input);
        let room = self.limit.saturating_sub(input.len()) / range.len().max(1);
        let times = [2, 3, 64, 65, 256, 257, 1024, 1025, 4096][self.rng.usize(..9)].min(room);
        let piece = input[range.clone()].repeat(times);
        input.splice(range, piece);
    }

    /// A token, or a place, inside many brackets.
    fn nest(&mut self, input: &mut Vec<u8>) {
        let tokens = json_tokens(input);
        let at = self.place(input);
        let range = if tokens.is_empty() { at..at } else { tokens[self.rng.usize(..tokens.len())].clone() };
        let levels = [1, 2, 61, 62, 63, 64, 65, 126, 127, 128, 129, 1000, self.limit / 8][self.rng.usize(..13)];
        let (open, close) = if self.rng.bool() { ("[", "]") } else { (r#"{"a":"#, "}") };
        let mut nested = open.repeat(levels).into_bytes();
        nested.extend_from_slice(&input[range.clone()]);
        nested.extend(close.repeat(levels).bytes());
        input.splice(range, nested);
    }

    fn exchange_tokens(&mut self, input: &mut Vec<u8>) {
        let tokens = json_tokens(input);
        if tokens.is_empty() {
            return;
        }
        let (one, other) = (&tokens[self.rng.usize(..tokens.len())], &tokens[self.rng.usize(..tokens.len())]);
        let piece = input[other.clone()].to_vec();
        input.splice(one.clone(), piece);
    }

    fn replace_token(&mut self, input: &mut Vec<u8>) {
        let tokens = json_tokens(input);
        if tokens.is_empty() {
            return;
        }
        let range = tokens[self.rng.usize(..tokens.len())].clone();
        let token = self.token();
        input.splice(range, token);
    }

    fn token(&mut self) -> Vec<u8> {
        let from = if self.rng.bool() { self.tokens } else { &VALUES };
        from[self.rng.usize(..from.len())].into()
    }
}

/// Where strings, numbers, words and brackets stand in something like JSON.
fn json_tokens(input: &[u8]) -> Vec<Range<usize>> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < input.len() {
        let from = at;
        at += 1;
        match input[from] {
            b'"' => {
                while at < input.len() && input[at] != b'"' {
                    at += if input[at] == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(input.len());
            }
            byte if byte.is_ascii_whitespace() => continue,
            byte if byte.is_ascii_alphanumeric() || byte == b'-' => {
                while at < input.len() && (input[at].is_ascii_alphanumeric() || b"+-.".contains(&input[at])) {
                    at += 1;
                }
            }
            _ => {}
        }
        tokens.push(from..at);
    }
    tokens
}
