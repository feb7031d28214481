//! A JSON value without what must not leave: strings are replaced, and what a secret name holds.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Redactor;
use super::finding::Kind;
use super::name;

/// Redacts `value` in place; whether anything was found. Numbers stay: a count is no card.
pub fn redact(redactor: &Redactor, value: &mut Value) -> bool {
    match value {
        Value::String(text) => match redactor.text(text) {
            Cow::Borrowed(_) => false,
            Cow::Owned(clean) => {
                *text = clean;
                true
            }
        },
        // Every item, also after the first finding.
        Value::Array(items) => items.iter_mut().filter_map(|item| redact(redactor, item).then_some(())).count() > 0,
        Value::Object(map) => redact_members(redactor, map),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn redact_members(redactor: &Redactor, map: &mut Map<String, Value>) -> bool {
    let mut found = false;
    for (key, mut value) in std::mem::take(map) {
        let holds_something = !matches!(&value, Value::Null | Value::Bool(_)) && value != "";
        if name::is_secret(key.as_bytes()) && holds_something {
            value = Value::from(Kind::Secret.replacement());
            found = true;
        } else {
            found |= redact(redactor, &mut value);
        }
        let clean = redactor.text(&key).into_owned();
        found |= clean != key;
        map.insert(clean, value);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_json_whatever_is_found_in_it() {
        let mut redactor = Redactor::default();
        redactor.secrets().add("S", b"quo\"ted secret");
        let clean = |line: &str| String::from_utf8(redactor.json_line(line.as_bytes()).into_owned()).unwrap();
        for (line, expected) in [
            (r#"{"b":"\nann@example.org","a":1}"#, r#"{"a":1,"b":"\n[redacted:email]"}"#),
            (r#"{"n":4111111111111111,"b":"a"}"#, r#"{"n":4111111111111111,"b":"a"}"#),
            (
                r#"{"password":1234,"x":["quo\"ted secret"]}"#,
                r#"{"password":"[redacted:secret]","x":["[redacted:secret S]"]}"#,
            ),
            (r#"{"secret":{"a":"hunter2"},"token":null}"#, r#"{"secret":"[redacted:secret]","token":null}"#),
            (r#"{"ann@example.org":"b"}"#, r#"{"[redacted:email]":"b"}"#),
            (r#"{"password":"hunter2"#, r#"{"password":"[redacted:secret]"#),
            ("{\"z\":\"plain\",\"a\":\"line\"}\n", "{\"z\":\"plain\",\"a\":\"line\"}\n"),
        ] {
            assert_eq!(clean(line), expected);
        }
        assert_eq!(clean("{\"a\":\"x@y.zz\"}\n"), "{\"a\":\"[redacted:email]\"}\n");
    }
}
