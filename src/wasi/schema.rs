//! JSON Schemas of tool arguments: compiled for the first call that needs them, asked for every call.
//!
//! No `$ref` is ever fetched, and patterns run on a regex engine without backtracking, because the client chooses the
//! text they are matched against.

use std::sync::{Arc, OnceLock};

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

/// A schema that is compiled when it is first asked: most tools of a large catalogue are never called.
#[derive(Debug)]
pub struct LazyValidator {
    schema: Arc<Map<String, Value>>,
    compiled: OnceLock<Result<Validator, String>>,
}

impl LazyValidator {
    /// The validator of `schema`, which is known to be usable.
    pub fn new(schema: Arc<Map<String, Value>>) -> Self {
        Self { schema, compiled: OnceLock::new() }
    }

    /// Compiles it now, so that no call has to wait for that.
    pub fn prepare(&self) {
        let _ = self.compiled();
    }

    fn compiled(&self) -> Result<&Validator, String> {
        let compiled = self.compiled.get_or_init(|| compile(&self.schema));
        compiled.as_ref().map_err(|problem| format!("the tool's own schema is unusable: {problem}"))
    }
}

/// Compiles `schema` as JSON Schema 2020-12 unless it names another draft.
///
/// # Errors
/// One sentence saying why it is unusable.
pub fn compile(schema: &Map<String, Value>) -> Result<Validator, String> {
    jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .build(&Value::Object(schema.clone()))
        .map_err(|error| error.to_string())
}

/// The schema of a tool that does not say what it takes: any object.
pub fn any_object() -> Map<String, Value> {
    Map::from_iter([("type".to_owned(), Value::from("object"))])
}

/// Checks `arguments` and says, in one sentence, everything that is wrong with them.
pub fn check(validator: &LazyValidator, arguments: &Value) -> Result<(), String> {
    const MOST_MISTAKES: usize = 5;
    let validator = validator.compiled()?;
    if validator.is_valid(arguments) {
        return Ok(());
    }
    let mistakes: Vec<String> = validator
        .iter_errors(arguments)
        .take(MOST_MISTAKES)
        .map(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "the arguments".to_owned() } else { format!("`{}`", &place[1..]) };
            format!("{place}: {}", shortened(&error.to_string()))
        })
        .collect();
    Err(mistakes.join("; "))
}

/// A validator quotes the offending value; a 4 MiB value must not come back whole.
fn shortened(text: &str) -> String {
    const MOST_CHARS: usize = 200;
    if text.chars().count() <= MOST_CHARS {
        return text.to_owned();
    }
    let tail: String = text.chars().skip(text.chars().count() - MOST_CHARS / 2).collect();
    let head: String = text.chars().take(MOST_CHARS / 2).collect();
    format!("{head} … {tail}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn validator(schema: Value) -> LazyValidator {
        LazyValidator::new(Arc::new(schema.as_object().unwrap().clone()))
    }

    #[test]
    fn mistakes_name_the_place() {
        let validator = validator(json!({
            "type": "object", "required": ["path"], "additionalProperties": false,
            "properties": {"path": {"type": "string"}, "offset": {"type": "integer", "minimum": 0}}
        }));
        let text = check(&validator, &json!({"offset": -1, "x": 1})).unwrap_err();
        assert!(text.contains("`offset`") && text.contains("path") && text.contains('x'), "{text}");
        assert!(check(&validator, &json!({"path": "a"})).is_ok());
    }

    #[test]
    fn a_remote_reference_is_refused_not_fetched() {
        assert!(compile(json!({"$ref": "http://127.0.0.1:1/s.json"}).as_object().unwrap()).is_err());
    }
}
