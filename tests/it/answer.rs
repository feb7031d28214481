//! What a test reads out of the server's messages.

use serde_json::Value;

/// One line of standard output must be one JSON-RPC 2.0 message.
pub fn message(line: &str) -> Value {
    let message: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON on standard output: {line}"));
    assert_eq!(message["jsonrpc"], "2.0", "not JSON-RPC on standard output: {line}");
    message
}

/// The fault code and text of an answer that must be a tool error.
pub fn fault(answer: &Value) -> (String, String) {
    let result = &answer["result"];
    assert_eq!(result["isError"], true, "not a tool error: {answer}");
    let code = result["_meta"]["io.nurones/fault"]["code"].as_str().unwrap_or_else(|| panic!("no fault in {answer}"));
    (code.to_owned(), result["content"][0]["text"].as_str().unwrap().to_owned())
}

/// The first text block of an answer that must be a success.
pub fn text(answer: &Value) -> &str {
    let result = &answer["result"];
    assert_ne!(result["isError"], true, "{answer}");
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {answer}"))
}
