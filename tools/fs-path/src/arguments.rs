//! The arguments of the file tools. The host has checked them against the schema; a command checks them here alone.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::payload::decode;

/// What `fs.read` is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadArguments {
    pub path: String,
    /// In bytes, from the start of the file.
    #[serde(default, deserialize_with = "whole")]
    pub offset: u64,
    /// In bytes; to the end when absent.
    #[serde(default, deserialize_with = "some_whole")]
    pub length: Option<u64>,
}

/// What `fs.write` is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteArguments {
    pub path: String,
    pub content: String,
    #[serde(default)]
    pub mode: WriteMode,
    #[serde(default)]
    pub encoding: Encoding,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteMode {
    #[default]
    Create,
    Overwrite,
    Append,
}

/// How `content` is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Encoding {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "base64")]
    Base64,
}

impl ReadArguments {
    pub fn parse(json: &str) -> Result<Self, Fault> {
        let arguments: Self = serde_json::from_str(json).map_err(|error| unfit(&error))?;
        if arguments.length == Some(0) {
            return Err(Fault::invalid("length must be at least 1; leave it out to read to the end"));
        }
        Ok(arguments)
    }
}

impl WriteArguments {
    /// Parses and takes the bytes to write out of `content`.
    pub fn parse(json: &str) -> Result<(Self, Vec<u8>), Fault> {
        let mut arguments: Self = serde_json::from_str(json).map_err(|error| unfit(&error))?;
        let bytes = decode(std::mem::take(&mut arguments.content), arguments.encoding)?;
        Ok((arguments, bytes))
    }
}

fn unfit(error: &serde_json::Error) -> Fault {
    Fault::invalid(format!("the arguments do not fit the input schema: {error}"))
}

/// JSON Schema calls 2.0 an integer, serde does not.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    if let Some(number) = number.as_u64() {
        return Ok(number);
    }
    match number.as_f64() {
        Some(float) if float >= 0.0 && float.fract() == 0.0 && float < u64::MAX as f64 => Ok(float as u64),
        _ => Err(D::Error::custom(format!("{number} is not a whole number from 0 on"))),
    }
}

fn some_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    whole(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_is_needed_to_read() {
        let arguments = ReadArguments::parse(r#"{"path":"x"}"#).unwrap();
        assert_eq!((arguments.path.as_str(), arguments.offset, arguments.length), ("x", 0, None));
    }

    #[test]
    fn whole_numbers_are_taken_in_any_spelling() {
        let arguments = ReadArguments::parse(r#"{"path":"x","offset":2.0,"length":1e3}"#).unwrap();
        assert_eq!((arguments.offset, arguments.length), (2, Some(1000)));
        assert_eq!(ReadArguments::parse(r#"{"path":"x","offset":18446744073709551615}"#).unwrap().offset, u64::MAX);
    }

    #[test]
    fn other_numbers_are_refused() {
        for wrong in [
            r#""offset":-1"#,
            r#""offset":1.5"#,
            r#""length":0"#,
            r#""length":null"#,
            r#""offset":"1""#,
            r#""offset":1e30"#,
        ] {
            assert!(ReadArguments::parse(&format!(r#"{{"path":"x",{wrong}}}"#)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_argument_is_refused_by_name() {
        let fault = ReadArguments::parse(r#"{"path":"x","lenght":1}"#).unwrap_err();
        assert!(fault.message.contains("lenght"), "{}", fault.message);
    }

    #[test]
    fn writing_creates_text_unless_told_otherwise() {
        let (arguments, bytes) = WriteArguments::parse(r#"{"path":"x","content":"ü"}"#).unwrap();
        assert_eq!(
            (arguments.mode, arguments.encoding, bytes.as_slice()),
            (WriteMode::Create, Encoding::Utf8, "ü".as_bytes())
        );
        let (arguments, bytes) =
            WriteArguments::parse(r#"{"path":"x","content":"AAE=","mode":"append","encoding":"base64"}"#).unwrap();
        assert_eq!((arguments.mode, bytes.as_slice()), (WriteMode::Append, &[0_u8, 1][..]));
    }
}
