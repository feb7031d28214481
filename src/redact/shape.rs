//! What arguments and results look like, for a log that must not have them: types and sizes.

use std::fmt::Write;

use serde_json::Value;

use super::current::first_bytes;

/// How deep, how many members, and how much of a key is shown.
const DEPTH: usize = 4;
const MEMBERS: usize = 32;
const KEY_BYTES: usize = 64;

/// Where a shape ends, however much there is.
const SHAPE_BYTES: usize = 4096;

/// `{path: string(12), lines: array(3), n: number}`; sizes are bytes of strings and members of lists. What is too deep or
/// too much is counted; past 4 KiB there is nothing but `…`.
pub fn shape(value: &Value) -> String {
    let mut shape = String::new();
    write_shape(value, DEPTH, &mut shape);
    shape
}

fn write_shape(value: &Value, depth: usize, shape: &mut String) {
    if shape.len() > SHAPE_BYTES {
        shape.push('…');
        return;
    }
    // Writing to a string cannot fail.
    let _ = match value {
        Value::Null => write!(shape, "null"),
        Value::Bool(_) => write!(shape, "boolean"),
        Value::Number(_) => write!(shape, "number"),
        Value::String(text) => write!(shape, "string({})", text.len()),
        Value::Array(items) => write!(shape, "array({})", items.len()),
        Value::Object(members) if depth == 0 => write!(shape, "object({})", members.len()),
        Value::Object(members) => {
            shape.push('{');
            for (index, (key, member)) in members.iter().take(MEMBERS).enumerate() {
                if shape.len() > SHAPE_BYTES {
                    shape.push('…');
                    break;
                }
                let key = first_bytes(key.as_bytes(), KEY_BYTES);
                let _ = write!(shape, "{}{}: ", if index > 0 { ", " } else { "" }, String::from_utf8_lossy(&key));
                write_shape(member, depth - 1, shape);
            }
            if let Some(more @ 1..) = members.len().checked_sub(MEMBERS) {
                let _ = write!(shape, ", {more} more");
            }
            write!(shape, "}}")
        }
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shape_has_names_types_and_sizes_and_no_value() {
        let value = json!({"a": "secret", "b": [1, 2], "c": {"d": null, "e": true}, "f": 7});
        assert_eq!(shape(&value), "{a: string(6), b: array(2), c: {d: null, e: boolean}, f: number}");
        assert_eq!(shape(&json!({"x": {"x": {"x": {"x": {"y": 1}}}}})), "{x: {x: {x: {x: object(1)}}}}");
        let many: Value = (0..40).map(|n| (format!("{n:02}"), json!(n))).collect::<serde_json::Map<_, _>>().into();
        assert!(shape(&many).ends_with("31: number, 8 more}"));
        let wide = |inner: &Value| -> Value {
            (0..32).map(|n| (format!("{n:064}"), inner.clone())).collect::<serde_json::Map<_, _>>().into()
        };
        let much = shape(&wide(&wide(&wide(&json!(1)))));
        assert!(much.len() < SHAPE_BYTES + 1024 && much.contains('…'), "{}", much.len());
        assert_eq!(shape(&json!({"ann@example.org": 1})), "{[redacted:email]: number}");
    }
}
