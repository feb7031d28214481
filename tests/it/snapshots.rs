//! The wire, word for word. A change here is a change of what clients see; review it as such.

use serde_json::{Value, json};

use crate::cancel::begin_endless;
use crate::eras::{modern, sandbox};
use crate::support::{Client, Sandbox, ServerCommand};

/// Compiling the probe takes a while, so it is there only where it is called.
fn sandbox_with_probe() -> Sandbox {
    let sandbox = sandbox();
    sandbox.prebuilt_tool("probe", "probe", json!({"deadline_ms": 3_600_000, "workers": 1, "queue_depth": 1}));
    sandbox
}

/// What differs from run to run or from release to release is replaced.
fn settled(mut message: Value) -> Value {
    fn settle(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    match key.as_str() {
                        "reason_trace_id" if value.is_string() => *value = json!("[trace id]"),
                        "ts" if value.is_string() => *value = json!("[time]"),
                        "retryAfterMs" if value.is_u64() => *value = json!("[ms]"),
                        "version" if *value == env!("CARGO_PKG_VERSION") => *value = json!("[version]"),
                        _ => settle(value),
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(settle),
            _ => {}
        }
    }
    settle(&mut message);
    message
}

/// The answer and its name; names are the files in `snapshots/`.
fn assert_snapshot(name: &str, answer: Value) {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_json_snapshot!(name, settled(answer));
    });
}

/// Takes the same picture in both eras.
fn assert_in_both_eras(sandbox: &Sandbox, name: &str, method: &str, params: &Value) {
    let mut legacy = sandbox.server().start_session();
    assert_snapshot(&format!("{name}.legacy"), legacy.request(method, params.clone()));
    let mut client = sandbox.server().start();
    assert_snapshot(&format!("{name}.modern"), client.request(method, modern(params.clone())));
}

fn call(name: &str, arguments: Value) -> Value {
    json!({"name": name, "arguments": arguments})
}

#[test]
fn initialize() {
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}});
    assert_snapshot("initialize", ServerCommand::bare().start().request("initialize", params));
}

#[test]
fn discover() {
    assert_snapshot("discover", ServerCommand::bare().start().request("server/discover", modern(json!({}))));
}

#[test]
fn ping() {
    assert_snapshot("ping", ServerCommand::bare().start_session().request("ping", json!({})));
}

#[test]
fn tools_list() {
    let list = |client: &mut Client, params: Value| client.request("tools/list", params);
    assert_snapshot("tools_list.legacy", list(&mut ServerCommand::bare().start_session(), json!({})));
    assert_snapshot("tools_list.modern", list(&mut ServerCommand::bare().start(), modern(json!({}))));
}

#[test]
fn a_success() {
    assert_in_both_eras(&sandbox(), "success", "tools/call", &call("fs_read", json!({"path": "a.txt"})));
}

#[test]
fn a_blob() {
    let sandbox = sandbox();
    sandbox.write("data/a.bin", b"\xff\x00\x01");
    sandbox.write("data/a.png", b"\x89PNG\r\n\x1a\n");
    let mut client = sandbox.server().start_session();
    assert_snapshot("blob", client.call("fs_read", json!({"path": "a.bin"})));
    assert_snapshot("image", client.call("fs_read", json!({"path": "a.png"})));
}

#[test]
fn a_write() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    assert_snapshot("write", client.call("fs_write", json!({"path": "b.txt", "content": "new"})));
    assert_snapshot("write_exists", client.call("fs_write", json!({"path": "b.txt", "content": "new"})));
}

#[test]
fn a_tool_error() {
    assert_in_both_eras(&sandbox(), "tool_error", "tools/call", &call("fs_read", json!({"path": "missing.txt"})));
}

#[test]
fn a_denied_path() {
    assert_in_both_eras(&sandbox(), "denied", "tools/call", &call("fs_read", json!({"path": "../secret.txt"})));
}

#[test]
fn a_trap() {
    assert_in_both_eras(&sandbox_with_probe(), "trap", "tools/call", &call("probe", json!({"verb": "trap"})));
}

#[test]
fn invalid_arguments() {
    assert_in_both_eras(&sandbox(), "invalid_arguments", "tools/call", &call("fs_read", json!({"path": 7})));
}

#[test]
fn an_unknown_tool() {
    assert_in_both_eras(&sandbox(), "unknown_tool", "tools/call", &call("nope", json!({})));
}

#[test]
fn malformed_params() {
    assert_in_both_eras(&sandbox(), "malformed_params", "tools/call", &json!({"arguments": {}}));
}

#[test]
fn an_unknown_method() {
    assert_in_both_eras(&sandbox(), "unknown_method", "no/such/method", &json!({}));
}

#[test]
fn an_unknown_cursor() {
    assert_in_both_eras(&sandbox(), "unknown_cursor", "tools/list", &json!({"cursor": "2"}));
}

#[test]
fn a_wrong_context_frame() {
    let meta = json!({"io.nurones/context": {"risk_level": 3, "flags": {"read_only": 1}}});
    let params = json!({"name": "fs_read", "arguments": {"path": "a.txt"}, "_meta": meta});
    assert_in_both_eras(&sandbox(), "wrong_frame", "tools/call", &params);
}

#[test]
fn missing_meta_and_unsupported_version() {
    let mut client = ServerCommand::bare().start();
    assert_snapshot("missing_meta", client.request("tools/list", json!({})));
    let mut params = modern(json!({}));
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2099-01-01");
    assert_snapshot("unsupported_version", client.request("tools/list", params));
}

#[test]
fn a_full_queue() {
    let sandbox = sandbox_with_probe();
    let mut client = sandbox.server().start_session();
    for _ in 0..3 {
        client.begin_call("probe", json!({"verb": "sleep", "ms": 3_600_000}));
    }
    let mut refusal = client.next();
    refusal["id"] = json!("[id]");
    assert_snapshot("queue_full", refusal);
}

#[test]
fn too_much_in_flight() {
    let sandbox = sandbox_with_probe();
    let mut client = sandbox.server().env("NURONES_MAX_INFLIGHT", "1").start_session();
    client.begin_call("probe", json!({"verb": "sleep", "ms": 3_600_000}));
    assert_snapshot("inflight", client.call("fs_read", json!({"path": "a.txt"})));
}

#[test]
fn progress() {
    let sandbox = sandbox_with_probe();
    let mut client = sandbox.server().start_session();
    let meta = json!({"progressToken": "token"});
    client.begin("tools/call", json!({"name": "probe", "arguments": {"verb": "progress", "steps": 1}, "_meta": meta}));
    assert_snapshot("progress", client.next());
}

#[test]
fn lines_that_are_no_message() {
    let mut client = ServerCommand::bare().start_session();
    for (name, line) in [
        ("parse_error", "garbage".to_owned()),
        ("batch", "[]".to_owned()),
        ("null_id", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.to_owned()),
        ("wrong_jsonrpc", r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#.to_owned()),
        (
            "too_deep",
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"ping","params":{}{}}}"#, "[".repeat(64), "]".repeat(64)),
        ),
        ("too_large", format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{}"}}"#, "x".repeat(5 << 20))),
    ] {
        client.send_line(&line);
        assert_snapshot(&format!("line_{name}"), client.next());
    }
}

#[test]
fn a_duplicate_id() {
    let sandbox = sandbox_with_probe();
    let mut client = sandbox.server().start_session();
    let id = client.begin_call("probe", json!({"verb": "sleep", "ms": 3_600_000}));
    client.send(&json!({"jsonrpc": "2.0", "id": id, "method": "ping"}));
    assert_snapshot("duplicate_id", client.next());
}

#[test]
fn a_call_cut_short_by_the_end() {
    let sandbox = sandbox_with_probe();
    sandbox.write("conf/config.json", json!({"shutdown": {"drainMs": 50}}).to_string());
    let mut server = sandbox.server();
    let mut client = server.arg("--config").arg(sandbox.path("conf/config.json")).start_session();
    let call = begin_endless(&mut client, "until it is cut short");
    let (rest, _) = client.finish();
    let mut answers = rest.into_iter().filter(|message| message["id"] == call);
    assert_snapshot("shutting_down", answers.next().expect("an answer"));
}
