//! Bytes on their way to and from JSON: text when they are valid UTF-8, base64 when not.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::arguments::Encoding;
use crate::fault::Fault;

/// Writes padding, and takes base64 with or without it: models forget it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The content of a file as a result shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Text(String),
    Blob(Vec<u8>),
}

impl Payload {
    /// Decides; a part that begins or ends inside a character is not text.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Blob(error.into_bytes()), Self::Text)
    }

    /// How many bytes of the output limit it takes.
    pub fn cost(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Blob(bytes) => encoded_length(bytes.len() as u64),
        }
    }
}

/// The length of `bytes` bytes in base64.
pub fn encoded_length(bytes: u64) -> u64 {
    bytes.div_ceil(3).saturating_mul(4)
}

pub fn encode_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// The bytes that a caller's `content` means.
pub(crate) fn decode(content: String, encoding: Encoding) -> Result<Vec<u8>, Fault> {
    match encoding {
        Encoding::Utf8 => Ok(content.into_bytes()),
        Encoding::Base64 => BASE64.decode(content).map_err(|error| {
            Fault::invalid(format!("content is not valid base64 ({}); encode it again", lower(&error)))
        }),
    }
}

fn lower(error: &base64::DecodeError) -> String {
    error.to_string().trim_end_matches('.').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_utf8_is_text_and_anything_else_is_not() {
        assert_eq!(Payload::from_bytes("grün\0".into()), Payload::Text("grün\0".into()));
        assert_eq!(Payload::from_bytes(vec![0xc3]), Payload::Blob(vec![0xc3]));
        assert_eq!(Payload::from_bytes(Vec::new()), Payload::Text(String::new()));
    }

    #[test]
    fn a_blob_costs_what_its_base64_costs() {
        for length in 0..8_usize {
            let bytes = vec![0xff; length];
            assert_eq!(encoded_length(length as u64), encode_base64(&bytes).len() as u64);
        }
        assert_eq!(Payload::Blob(vec![0xff; 4]).cost(), 8);
        assert_eq!(Payload::Text("grün".into()).cost(), 5);
    }

    #[test]
    fn base64_comes_back_with_or_without_padding() {
        for content in ["/wA=", "/wA"] {
            assert_eq!(decode(content.into(), Encoding::Base64).unwrap(), [0xff, 0]);
        }
        let fault = decode("no base64!".into(), Encoding::Base64).unwrap_err();
        assert!(fault.message.starts_with("content is not valid base64"), "{}", fault.message);
    }
}
