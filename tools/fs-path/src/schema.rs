//! The JSON Schemas of the arguments, as the model sees them.

/// Arguments of `fs.read`.
pub const READ_SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "path": {
      "type": "string",
      "minLength": 1,
      "maxLength": 4096,
      "description": "The file. A relative path starts at the first allowed directory; an absolute path must lie inside an allowed one."
    },
    "offset": {
      "type": "integer",
      "minimum": 0,
      "default": 0,
      "description": "Where to start, in bytes. Past the end the answer is empty."
    },
    "length": {
      "type": "integer",
      "minimum": 1,
      "description": "How many bytes to read at most. Without it, to the end of the file."
    }
  },
  "required": ["path"],
  "additionalProperties": false
}"#;

/// Arguments of `fs.write`.
pub const WRITE_SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "path": {
      "type": "string",
      "minLength": 1,
      "maxLength": 4096,
      "description": "The file. A relative path starts at the first allowed directory; an absolute path must lie inside an allowed one. Its directory must exist."
    },
    "content": {
      "type": "string",
      "description": "What to write."
    },
    "mode": {
      "type": "string",
      "enum": ["create", "overwrite", "append"],
      "default": "create",
      "description": "create refuses a file that exists, overwrite replaces it as a whole, append adds at its end. All three create a missing file."
    },
    "encoding": {
      "type": "string",
      "enum": ["utf-8", "base64"],
      "default": "utf-8",
      "description": "How content is written down: utf-8 for text, base64 for other bytes."
    }
  },
  "required": ["path", "content"],
  "additionalProperties": false
}"#;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::arguments::{ReadArguments, WriteArguments};

    fn parsed(schema: &str) -> Value {
        serde_json::from_str(schema).unwrap()
    }

    #[test]
    fn a_schema_is_closed_and_requires_what_the_arguments_require() {
        for (schema, required) in [(READ_SCHEMA, vec!["path"]), (WRITE_SCHEMA, vec!["path", "content"])] {
            let schema = parsed(schema);
            assert_eq!(schema["type"], "object");
            assert_eq!(schema["additionalProperties"], false);
            assert_eq!(schema["required"], Value::from(required));
        }
    }

    #[test]
    fn every_property_is_an_argument() {
        let sample = |schema: &str| {
            let mut object = serde_json::Map::new();
            for (name, property) in parsed(schema)["properties"].as_object().unwrap() {
                let value = match (property["default"].clone(), property["type"].as_str().unwrap()) {
                    (Value::Null, "integer") => Value::from(1),
                    (Value::Null, _) => Value::from("x"),
                    (default, _) => default,
                };
                object.insert(name.clone(), value);
            }
            Value::Object(object).to_string()
        };
        ReadArguments::parse(&sample(READ_SCHEMA)).unwrap();
        WriteArguments::parse(&sample(WRITE_SCHEMA)).unwrap();
    }
}
