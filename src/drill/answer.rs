//! One line of the server's output, taken strictly: the second invariant is that each is one JSON-RPC 2.0 message.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::history::{Heard, Outcome};

/// Different codes that are kept once; a server that makes up more costs memory for each.
const WORDS: usize = 1000;

/// Codes seen so far, each stored once.
#[derive(Debug, Default)]
pub struct Words(HashSet<Arc<str>>);

impl Words {
    fn of(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.0.get(word) {
            return Arc::clone(known);
        }
        let new: Arc<str> = word.into();
        if self.0.len() < WORDS {
            self.0.insert(Arc::clone(&new));
        }
        new
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    result: Option<ResultHead<'a>>,
    error: Option<ErrorHead>,
}

#[derive(Deserialize)]
struct ResultHead<'a> {
    #[serde(rename = "isError", default)]
    is_error: bool,
    #[serde(rename = "_meta", borrow)]
    meta: Option<MetaHead<'a>>,
}

#[derive(Deserialize)]
struct MetaHead<'a> {
    #[serde(rename = "io.nurones/fault", borrow)]
    fault: Option<FaultHead<'a>>,
}

#[derive(Deserialize)]
struct FaultHead<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ErrorHead {
    code: i64,
    #[serde(rename = "message")]
    _message: String,
    #[serde(default)]
    data: Value,
}

/// Says what `line` is.
pub fn hear(line: &[u8], words: &mut Words) -> Heard {
    if line.first() != Some(&b'{') {
        return Heard::Unreadable("it is no JSON object");
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope>(line) else {
        return Heard::Unreadable("it is no JSON-RPC message");
    };
    if envelope.jsonrpc.as_deref() != Some("2.0") {
        return Heard::Unreadable("it does not say jsonrpc 2.0");
    }
    let id = envelope.id.and_then(|id| id.get().parse().ok());
    match (envelope.method, envelope.result, envelope.error) {
        (Some(_), None, None) => Heard::Other,
        (None, Some(_), None) if envelope.id.is_none() => Heard::Unreadable("it is a result without an id"),
        (None, Some(result), None) => Heard::Answer(id, outcome(&result, words)),
        (None, None, Some(error)) => {
            let reason = words.of(error.data["reason"].as_str().unwrap_or_default());
            let retry_after_ms = error.data["retryAfterMs"].as_u64();
            Heard::Answer(id, Outcome::Error { code: error.code, reason, retry_after_ms })
        }
        _ => Heard::Unreadable("it is not one of request, result and error"),
    }
}

fn outcome(result: &ResultHead<'_>, words: &mut Words) -> Outcome {
    if !result.is_error {
        return Outcome::Good;
    }
    let fault = result.meta.as_ref().and_then(|meta| meta.fault.as_ref());
    Outcome::ToolError(words.of(fault.map_or("", |fault| &fault.code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(line: &str) -> Heard {
        hear(line.as_bytes(), &mut Words::default())
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(heard(r#"{"jsonrpc":"2.0","id":3,"result":{"content":[]}}"#), Heard::Answer(Some(3), Outcome::Good));
        let fault = r#"{"jsonrpc":"2.0","id":3,"result":{"isError":true,"_meta":{"io.nurones/fault":{"code":"tool_trapped"}}}}"#;
        assert_eq!(heard(fault), Heard::Answer(Some(3), Outcome::ToolError("tool_trapped".into())));
        let refused = r#"{"jsonrpc":"2.0","id":4,"error":{"code":-31503,"message":"m","data":{"reason":"inflight","retryAfterMs":7}}}"#;
        let outcome = Outcome::Error { code: -31503, reason: "inflight".into(), retry_after_ms: Some(7) };
        assert_eq!(heard(refused), Heard::Answer(Some(4), outcome));
        let unnamed = r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"m"}}"#;
        assert!(matches!(heard(unnamed), Heard::Answer(None, Outcome::Error { code: -32700, .. })));
        assert_eq!(heard(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#), Heard::Other);
    }

    #[test]
    fn what_is_no_message_is_unreadable() {
        for line in [
            "",
            "thread 'main' panicked",
            "[]",
            "{}",
            r#"{"id":1,"result":{}}"#,
            r#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}{"#,
        ] {
            assert!(matches!(heard(line), Heard::Unreadable(_)), "{line}");
        }
    }
}
