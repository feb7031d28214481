//! MCP's lines as far as a load generator has to know them: what is asked beside the calls, and answers, told apart by a
//! parse that looks at the top level and skips the rest.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// JSON-RPC error of a call refused for want of room: try again later.
const SHED: i64 = -31503;

/// JSON-RPC error for what a client does not offer.
const METHOD_NOT_FOUND: i64 = -32601;

/// Characters of an error's text that are kept.
const TEXT_CHARS: usize = 300;

/// A request other than the measured ones, as a line.
pub(super) fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    line(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
}

/// A notification, as a line.
pub(super) fn notification(method: &str) -> Vec<u8> {
    line(&json!({ "jsonrpc": "2.0", "method": method }))
}

/// The answer to a request of the server, as a line: a ping is answered, everything else declined.
pub(super) fn reply(id: &RawValue, method: &str) -> Vec<u8> {
    line(&match method {
        "ping" => json!({ "jsonrpc": "2.0", "id": id, "result": {} }),
        _ => {
            let message = format!("nurones-load offers no {method}");
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": METHOD_NOT_FOUND, "message": message } })
        }
    })
}

fn line(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A result that is no error.
    Good,
    /// Refused for want of room.
    Shed(String),
    /// A result with `isError`, a JSON-RPC error, or an answer that is neither.
    Error(String),
}

/// What a line is.
#[derive(Debug)]
pub(super) enum Message<'a> {
    /// To a request of ours, if it has an id that can be ours.
    Answer { id: Option<u64>, outcome: Outcome },
    /// A request to us.
    Request { id: &'a RawValue, method: Cow<'a, str> },
    /// Needs no answer.
    Notification,
    /// Not a JSON-RPC message.
    Unreadable,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    result: Option<ResultHead>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct ResultHead {
    #[serde(rename = "isError", default)]
    is_error: bool,
}

/// Says what `line` is. Good results, of which there are many, are read in one pass without allocating.
pub(super) fn classify(line: &[u8]) -> Message<'_> {
    match serde_json::from_slice::<Envelope>(line) {
        Ok(Envelope { id: Some(id), method: Some(method), .. }) => Message::Request { id, method },
        Ok(Envelope { id: None, method: Some(_), .. }) => Message::Notification,
        Ok(Envelope { id, result: Some(ResultHead { is_error: false }), error: None, .. }) => {
            Message::Answer { id: id.and_then(|id| id.get().parse().ok()), outcome: Outcome::Good }
        }
        _ => odd(line),
    }
}

/// Everything else, with the text a person needs to know what is wrong.
fn odd(line: &[u8]) -> Message<'_> {
    let Ok(Value::Object(message)) = serde_json::from_slice(line) else { return Message::Unreadable };
    let outcome = match (message.get("error"), message.get("result")) {
        (Some(error), None) if error["code"] == SHED => Outcome::Shed(short(error_text(error))),
        (Some(error), None) => Outcome::Error(short(error_text(error))),
        (None, Some(result)) if result["isError"] == true => Outcome::Error(short(result_text(result))),
        _ if !message.contains_key("id") => return Message::Unreadable,
        _ => Outcome::Error(short("the answer is neither a result object nor an error".to_owned())),
    };
    Message::Answer { id: message.get("id").and_then(Value::as_u64), outcome }
}

fn error_text(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("no message");
    match error["code"].as_i64() {
        Some(code) => format!("{message} ({code})"),
        None => message.to_owned(),
    }
}

fn result_text(result: &Value) -> String {
    let text = result["content"].as_array().and_then(|content| content.first()?["text"].as_str());
    text.unwrap_or("the result is an error without a text").to_owned()
}

/// One line of at most [`TEXT_CHARS`].
fn short(text: String) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = line.join(" ");
    match line.char_indices().nth(TEXT_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &str) -> (Option<u64>, Outcome) {
        match classify(line.as_bytes()) {
            Message::Answer { id, outcome } => (id, outcome),
            other => panic!("{line} is {other:?}"),
        }
    }

    #[test]
    fn answers_are_told_apart_in_any_order_of_keys() {
        let good = Outcome::Good;
        assert_eq!(answer(r#"{"jsonrpc":"2.0","id":3,"result":{"content":[]}}"#), (Some(3), good.clone()));
        let reversed = r#" {"result":{"content":[{"text":"\"isError\":true","id":9}],"isError":false},"id":3}"#;
        assert_eq!(answer(reversed), (Some(3), good.clone()));
        assert_eq!(answer("{\"id\":3,\"result\":{},\"more\":[1]}\r"), (Some(3), good.clone()));
        assert_eq!(answer(r#"{"id":"a","result":{}}"#), (None, good));
        assert_eq!(
            answer(r#"{"error":{"message":"full","code":-31503},"id":4}"#),
            (Some(4), Outcome::Shed("full (-31503)".to_owned()))
        );
        assert_eq!(
            answer(r#"{"error":{"code":-32603,"message":"a\nbug"},"id":null}"#),
            (None, Outcome::Error("a bug (-32603)".to_owned()))
        );
        assert_eq!(
            answer(r#"{"result":{"isError":true,"content":[{"type":"text","text":"no such file"}]},"id":4}"#),
            (Some(4), Outcome::Error("no such file".to_owned()))
        );
    }

    #[test]
    fn answers_that_are_neither_result_nor_error_are_errors() {
        for line in [
            r#"{"id":5}"#,
            r#"{"id":5,"result":null}"#,
            r#"{"id":5,"result":"text"}"#,
            r#"{"id":5,"result":{},"error":{"code":1}}"#,
        ] {
            let (id, outcome) = answer(line);
            assert_eq!(id, Some(5), "{line}");
            assert!(matches!(&outcome, Outcome::Error(text) if text.contains("neither")), "{line}: {outcome:?}");
        }
    }

    #[test]
    fn long_errors_are_cut_between_characters() {
        let line = json!({"id": 1, "error": {"code": 1, "message": "ä".repeat(5000)}}).to_string();
        let (_, Outcome::Error(text)) = answer(&line) else { panic!("{line}") };
        assert_eq!(text.chars().count(), TEXT_CHARS + 1);
    }

    #[test]
    fn what_the_server_asks_is_answered() {
        for (method, part) in
            [("ping", "\"result\":{}"), ("roots/list", "-32601"), ("sampling/createMessage", "-32601")]
        {
            let line = format!(r#"{{"jsonrpc":"2.0","method":"{method}","id":"x-1"}}"#);
            let Message::Request { id, method } = classify(line.as_bytes()) else { panic!("{line}") };
            let reply = String::from_utf8(reply(id, &method)).unwrap();
            assert!(reply.contains(part) && reply.contains("\"x-1\"") && reply.ends_with('\n'), "{reply}");
        }
        let note = br#"{"jsonrpc":"2.0","method":"notifications/message","params":{"id":1,"result":{}}}"#;
        assert!(matches!(classify(note), Message::Notification));
    }

    #[test]
    fn what_is_no_message_is_unreadable() {
        for line in ["", "hello", "[]", "1", "{", "{}", r#"{"jsonrpc":"2.0"}"#, "\u{1b}[31m"] {
            assert!(matches!(classify(line.as_bytes()), Message::Unreadable), "{line}");
        }
    }
}
