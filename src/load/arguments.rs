//! A call's arguments as text with places that are filled in anew for each call. Cut apart once, so that filling them in
//! is copying.

use std::io::Write;

use serde_json::{Map, Value};

/// The largest number after `%` and `random`.
const MAX_NUMBER: u64 = 1_000_000_000_000;

/// See the module documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `{{i}}`
    Number,
    /// `{{i%N}}`
    Remainder(u64),
    /// `{{file}}`
    File,
    /// `{{random N}}`
    Random(u64),
}

/// What places are filled with.
pub(super) struct Filling<'a> {
    /// The number of the call.
    pub(super) number: u64,
    /// What is taken in turn, as the inside of JSON strings.
    pub(super) files: &'a [String],
    /// Where random numbers come from.
    pub(super) random: &'a mut fastrand::Rng,
}

impl Arguments {
    /// Arguments without places, whatever they contain.
    pub fn fixed(arguments: &Map<String, Value>) -> Self {
        let text = serde_json::to_string(arguments).expect("JSON is serialisable");
        Self { pieces: vec![Piece::Text(text)] }
    }

    /// Reads a JSON object in which `{{i}}`, `{{i%N}}`, `{{file}}` and `{{random N}}` may stand, in strings or alone.
    ///
    /// # Errors
    /// A sentence for the person who wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        // JSON itself never has two braces there: a brace is followed by a name or by its closing one.
        while let Some((before, after)) = rest.split_once("{{") {
            let (place, after) = after.split_once("}}").ok_or_else(|| wrong_place(after))?;
            pieces.extend([Piece::text(before), parse_place(place)?]);
            rest = after;
        }
        pieces.push(Piece::text(rest));
        let arguments = Self { pieces };
        let mut sample = Vec::new();
        let filling = Filling { number: 0, files: &["x".to_owned()], random: &mut fastrand::Rng::with_seed(0) };
        arguments.fill(filling, &mut sample);
        match serde_json::from_slice(&sample) {
            Ok(Value::Object(_)) => Ok(arguments),
            Ok(_) => Err("must be a JSON object, for example '{\"path\":\"README.md\"}'".to_owned()),
            Err(error) => {
                Err(format!("is not JSON: {error}; write an object, for example '{{\"path\":\"README.md\"}}'"))
            }
        }
    }

    /// Whether `{{file}}` is among them.
    pub fn need_files(&self) -> bool {
        self.pieces.contains(&Piece::File)
    }

    /// Appends them, filled in.
    pub(super) fn fill(&self, filling: Filling<'_>, into: &mut Vec<u8>) {
        for piece in &self.pieces {
            let number = match piece {
                Piece::Text(text) => {
                    into.extend_from_slice(text.as_bytes());
                    continue;
                }
                Piece::File => {
                    let turn = filling.number % (filling.files.len() as u64).max(1);
                    into.extend_from_slice(filling.files.get(turn as usize).map_or(b"", |file| file.as_bytes()));
                    continue;
                }
                Piece::Number => filling.number,
                Piece::Remainder(of) => filling.number % of,
                Piece::Random(below) => filling.random.u64(..below),
            };
            write!(into, "{number}").expect("writing to memory does not fail");
        }
    }

    /// Bytes they take, at most.
    pub(super) fn len(&self, files: &[String]) -> usize {
        let longest = files.iter().map(String::len).max().unwrap_or(0);
        let len = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::File => longest,
            _ => 20, // digits of the largest number
        };
        self.pieces.iter().map(len).sum()
    }
}

impl Piece {
    /// JSON may have newlines between its parts; a message may not.
    fn text(text: &str) -> Self {
        Self::Text(text.replace(['\n', '\r'], " "))
    }
}

/// `text` as the inside of a JSON string.
pub fn json_inside(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn parse_place(place: &str) -> Result<Piece, String> {
    let number = |text: &str| match text.trim().parse() {
        Ok(number @ 1..=MAX_NUMBER) => Ok(number),
        _ => Err(wrong_place(place)),
    };
    match place.trim() {
        "i" => Ok(Piece::Number),
        "file" => Ok(Piece::File),
        trimmed => match (trimmed.strip_prefix("random "), trimmed.split_once('%')) {
            (Some(below), _) => Ok(Piece::Random(number(below)?)),
            (None, Some((i, of))) if i.trim() == "i" => Ok(Piece::Remainder(number(of)?)),
            _ => Err(wrong_place(place)),
        },
    }
}

fn wrong_place(place: &str) -> String {
    let place: String = place.chars().take(30).collect();
    format!(
        "has a place {{{{{place}}}}} that is not known; write {{{{i}}}}, {{{{i%100}}}}, {{{{file}}}} or {{{{random 100}}}}"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn filled(arguments: &Arguments, number: u64) -> Value {
        let files = [json_inside("a \"b\".txt"), json_inside("c\\d")];
        let mut into = Vec::new();
        arguments.fill(Filling { number, files: &files, random: &mut fastrand::Rng::with_seed(1) }, &mut into);
        assert!(into.len() <= arguments.len(&files) && !into.contains(&b'\n'));
        serde_json::from_slice(&into).unwrap()
    }

    #[test]
    fn places_are_filled_in_and_outside_of_strings() {
        let text = "{\"path\":\"a-{{i}}.txt\",\n\"n\":{{ i % 10 }},\"of\":{\"file\":\"{{file}}\"}}";
        let arguments = Arguments::parse(text).unwrap();
        assert!(arguments.need_files());
        assert_eq!(filled(&arguments, 12), json!({"path": "a-12.txt", "n": 2, "of": {"file": "a \"b\".txt"}}));
        assert_eq!(filled(&arguments, 7)["of"]["file"], "c\\d");
    }

    #[test]
    fn random_numbers_stay_below_their_bound() {
        let arguments = Arguments::parse(r#"{"n":{{random 3}}}"#).unwrap();
        assert!((0..100).all(|number| filled(&arguments, number)["n"].as_u64().unwrap() < 3));
    }

    #[test]
    fn a_typo_is_told_with_what_may_stand_there() {
        for text in [
            r#"{"a":"{{j}}"}"#,
            r#"{"a":"{{i"}"#,
            r#"{"a":"{{}}"}"#,
            r#"{"a":"{{i%0}}"}"#,
            r#"{"a":"{{random}}"}"#,
            r#"{"a":"{{random x}}"}"#,
            r#"{"a":"{{j%2}}"}"#,
        ] {
            assert!(Arguments::parse(text).unwrap_err().contains("{{i%100}}"), "{text}");
        }
        assert!(Arguments::parse("[{{i}}]").unwrap_err().contains("JSON object"));
        assert!(Arguments::parse("{\"a\":{{file}}}").unwrap_err().contains("is not JSON"), "a path needs its quotes");
    }

    proptest! {
        #[test]
        fn what_has_no_places_stays_as_it_is(
            arguments in prop::collection::hash_map("[a-z]{1,4}", ".{0,12}", 0..5),
        ) {
            let value = json!(arguments);
            let fixed = Arguments::fixed(value.as_object().unwrap());
            prop_assert_eq!(&filled(&fixed, 3), &value);
            if !value.to_string().contains("{{") {
                prop_assert_eq!(filled(&Arguments::parse(&value.to_string()).unwrap(), 3), value);
            }
        }
    }
}
