//! Each entry is hashed together with the hash of the one before it (Haber and Stornetta, "How to Time-Stamp a Digital
//! Document", 1991). Pure.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// What sets these hashes apart from all others, and one version of them from the next.
const DOMAIN: &[u8] = b"nurones-mcp audit 1\0";

/// A place in the chain: everything up to it is what it was when somebody has noted this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// The number of the last entry; the first has 1.
    pub seq: i64,
    /// The hash of that entry and of all before it.
    pub hash: [u8; 32],
}

impl Head {
    /// The head once `entry` is added.
    pub fn with(&self, entry: &str) -> Self {
        let seq = self.seq + 1;
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(seq.to_be_bytes());
        hash.update(self.hash);
        hash.update(entry);
        Self { seq, hash: hash.finalize().into() }
    }
}

/// `SEQ:HASH`, the hash in hexadecimal.
impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.seq)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (seq, hex) = text.split_once(':')?;
            let mut hash = [0; 32];
            if hex.len() != 64 || !hex.is_ascii() {
                return None;
            }
            for (index, byte) in hash.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
            }
            Some(Self { seq: seq.parse().ok()?, hash })
        };
        read().ok_or_else(|| "must be SEQ:HASH, as `audit head` prints it".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_depends_on_every_entry_and_their_order() {
        let of = |entries: &[&str]| entries.iter().fold(Head::default(), |head, entry| head.with(entry));
        let head = of(&["a", "b", "c"]);
        assert_eq!(head.seq, 3);
        for other in [&["a", "b", "d"][..], &["b", "a", "c"], &["x", "b", "c"], &["ab", "", "c"], &["a", "b", "c", ""]]
        {
            assert_ne!(of(other).hash, head.hash, "{other:?}");
        }
    }

    #[test]
    fn a_head_is_read_as_it_is_written_and_nothing_else_is_read() {
        let head = Head::default().with("a");
        assert_eq!(head.to_string().parse(), Ok(head));
        for text in ["", "1", "1:ab", "x:00", &format!("1:{}", "g".repeat(64)), &format!("1:{}", "ü".repeat(32))] {
            assert!(text.parse::<Head>().is_err(), "{text}");
        }
    }
}
