//! A JSON object read key by key, gathering every mistake instead of stopping at the first.
//!
//! Config files, manifests and ContextFrames are written by people; each of them is read through [`Fields`], so that
//! all its mistakes come back together, each naming its key and what would be right.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// One thing wrong with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Dotted path of the key, for example `performance.maxInflight`.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.key, self.problem)
    }
}

/// Reads the keys of one object; see the module documentation.
pub struct Fields<'a> {
    prefix: String,
    map: &'a Map<String, Value>,
    known: BTreeSet<&'static str>,
    mistakes: Vec<Mistake>,
}

impl<'a> Fields<'a> {
    /// Starts reading `map`; `prefix` is put before the keys in mistakes (empty for a whole file).
    pub fn new(prefix: &str, map: &'a Map<String, Value>) -> Self {
        Self { prefix: prefix.to_owned(), map, known: BTreeSet::new(), mistakes: Vec::new() }
    }

    /// Records a mistake about `key` found by the caller.
    pub fn mistake(&mut self, key: &str, problem: impl Into<String>) {
        let key = if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) };
        self.mistakes.push(Mistake { key, problem: problem.into() });
    }

    /// The raw value of `key`; `null` counts as absent.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.insert(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// A string.
    pub fn string(&mut self, key: &'static str) -> Option<&'a str> {
        let value = self.value(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.mistake(key, format!("must be a string, not {}", kind(value)));
        }
        text
    }

    /// A string that must be there and must not be empty.
    pub fn required_string(&mut self, key: &'static str) -> Option<&'a str> {
        match self.value(key) {
            None => {
                self.mistake(key, "is missing; it must be a string");
                None
            }
            Some(Value::String(text)) if text.is_empty() => {
                self.mistake(key, "must not be empty");
                None
            }
            Some(_) => self.string(key),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.mistake(key, format!("must be true or false, not {}", kind(value)));
        }
        flag
    }

    /// A whole number within `range`.
    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.value(key)?;
        match value.as_u64() {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                self.mistake(
                    key,
                    format!("must be a whole number from {} to {}, not {value}", range.start(), range.end()),
                );
                None
            }
        }
    }

    /// A number within `range`.
    pub fn number(&mut self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.value(key)?;
        match value.as_f64() {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                self.mistake(key, format!("must be a number from {} to {}, not {value}", range.start(), range.end()));
                None
            }
        }
    }

    /// A list of strings.
    pub fn strings(&mut self, key: &'static str) -> Option<Vec<&'a str>> {
        let value = self.value(key)?;
        let list = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        if list.is_none() {
            self.mistake(key, format!("must be a list of strings, not {}", kind(value)));
        }
        list
    }

    /// An object, to be read with its own [`Fields`].
    pub fn object(&mut self, key: &'static str) -> Option<&'a Map<String, Value>> {
        let value = self.value(key)?;
        let map = value.as_object();
        if map.is_none() {
            self.mistake(key, format!("must be an object, not {}", kind(value)));
        }
        map
    }

    /// Reads the object under `key` with `read`, keeping its mistakes.
    pub fn nested<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Fields<'a>) -> T) -> Option<T> {
        let map = self.object(key)?;
        let prefix = if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) };
        let mut inner = Fields::new(&prefix, map);
        let read = read(&mut inner);
        self.mistakes.append(&mut inner.mistakes);
        Some(read)
    }

    /// Reports every key that was never asked for: a misspelt key must not be a silent default.
    pub fn refuse_unknown(&mut self) {
        let unknown: Vec<&String> = self.map.keys().filter(|key| !self.known.contains(key.as_str())).collect();
        let known = self.known.iter().copied().collect::<Vec<_>>().join(", ");
        for key in unknown {
            self.mistake(key, format!("is not a known key; known here: {known}"));
        }
    }

    /// Ends the reading and returns what was wrong.
    pub fn finish(self) -> Vec<Mistake> {
        self.mistakes
    }
}

/// What a JSON value is, in words for a message.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_mistake_is_reported_with_its_key() {
        let value = json!({"port": "x", "inner": {"ratio": 3.5, "typo": 1}, "extra": 0});
        let mut fields = Fields::new("", value.as_object().unwrap());
        assert_eq!(fields.integer("port", 1..=9), None);
        assert_eq!(fields.required_string("name"), None);
        fields.nested("inner", |inner| {
            assert_eq!(inner.number("ratio", 0.0..=1.0), None);
            inner.refuse_unknown();
        });
        fields.refuse_unknown();
        let keys: Vec<_> = fields.finish().into_iter().map(|mistake| mistake.key).collect();
        assert_eq!(keys, ["port", "name", "inner.ratio", "inner.typo", "extra"]);
    }

    #[test]
    fn null_counts_as_absent() {
        let value = json!({"name": null});
        let mut fields = Fields::new("", value.as_object().unwrap());
        assert_eq!(fields.string("name"), None);
        assert!(fields.finish().is_empty());
    }
}
