//! One spelling for every JSON value, so that equal values have equal digests: keys in order of their bytes, no white
//! space, strings and numbers as serde_json writes them.

use serde_json::Value;

/// `value` in that spelling.
pub(super) fn text(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            // A map of serde_json's may keep another order, if some dependency wants that.
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    #[test]
    fn there_is_one_spelling() {
        let value = json!({"b": [1, 2.5, null, {"z": true, "a": "\u{1F}é\"\n"}], "a": {}, "": []});
        assert_eq!(text(&value), r#"{"":[],"a":{},"b":[1,2.5,null,{"a":"\u001fé\"\n","z":true}]}"#);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,3}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_the_same_value_and_different_for_another(one in values(), other in values()) {
            prop_assert_eq!(&serde_json::from_str::<Value>(&text(&one)).unwrap(), &one);
            prop_assert_eq!(text(&one) == text(&other), one == other);
        }
    }
}
