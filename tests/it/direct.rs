//! The short way of a call past rmcp, and the long one through it. A call that asks for progress goes the long way.

use serde_json::{Value, json};

use crate::eras::modern;
use crate::support::{Client, Sandbox, text};

/// The whole answer to a call of `tool`, but for its id, with a frame in which nothing changes from call to call.
fn answer(client: &mut Client, tool: &str, arguments: &Value, is_modern: bool, long_way: bool) -> Value {
    let frame = json!({"reason_trace_id": "same", "ts": "2026-01-01T00:00:00Z"});
    let mut params = json!({"name": tool, "arguments": arguments, "_meta": {"io.nurones/context": frame}});
    if long_way {
        params["_meta"]["progressToken"] = json!("long");
    }
    let mut answer = client.request("tools/call", if is_modern { modern(params) } else { params });
    answer["id"] = Value::Null;
    answer
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "content\n\"with\" \\ everything\t\u{1}\u{7f}é\u{2028}");
    sandbox.write("data/b.png", [0x89, b'P', b'N', b'G', 0, 255]);
    sandbox.write("data/empty.txt", "");
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    sandbox
}

#[test]
fn both_ways_give_the_same_answers() {
    let sandbox = sandbox();
    let calls = [
        ("fs_read", json!({"path": "a.txt"})),
        ("fs.read", json!({"path": "a.txt", "offset": 3, "length": 5})),
        ("fs_read", json!({"path": "empty.txt"})),
        ("fs_read", json!({"path": "b.png"})),
        ("fs_read", json!({"path": "missing.txt"})),
        ("fs_read", json!({"path": "/etc/passwd"})),
        ("fs_read", json!({"path": 7})),
        ("fs_read", json!({})),
        ("no_such_tool", json!({})),
        ("probe", json!({"verb": "trap"})),
        ("probe", json!({"verb": "echo", "text": "a\u{0}b"})),
    ];
    for is_modern in [false, true] {
        let mut client = if is_modern { sandbox.server().start() } else { sandbox.server().start_session() };
        // The probe has to be compiled, and a modern session to begin, before anything can go the short way.
        answer(&mut client, "probe", &json!({"verb": "echo", "text": "x"}), is_modern, false);
        answer(&mut client, "fs_read", &json!({"path": "a.txt"}), is_modern, false);
        for (tool, arguments) in &calls {
            let long = answer(&mut client, tool, arguments, is_modern, true);
            let short = answer(&mut client, tool, arguments, is_modern, false);
            assert_eq!(short, long, "modern: {is_modern}, {tool} {arguments}");
        }
    }
}

#[test]
fn a_session_that_began_without_a_handshake_wants_the_version_on_every_call() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start();
    let call = json!({"name": "fs_read", "arguments": {"path": "a.txt"}});
    for _ in 0..2 {
        assert!(client.request("tools/call", modern(call.clone()))["result"].is_object());
    }
    let answer = client.request("tools/call", call.clone());
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert!(client.request("tools/call", modern(call))["result"].is_object());
}

#[test]
fn a_version_nobody_knows_is_refused_in_a_session_that_stands() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    client.call("fs_read", json!({"path": "a.txt"}));
    let mut call = modern(json!({"name": "fs_read", "arguments": {"path": "a.txt"}}));
    call["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2031-01-01");
    let answer = client.request("tools/call", call);
    assert_eq!(answer["error"]["code"], -32022, "{answer}");
}

#[test]
fn answers_that_gathered_are_sent_before_a_long_call() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({"workers": 1, "deadline_ms": 3_600_000}));
    let mut client = sandbox.server().start_session();
    let echo = |client: &mut Client, text: &str| client.begin_call("probe", json!({"verb": "echo", "text": text}));
    // Enough of them, and the tool is known to be fast.
    for number in 0..200 {
        let id = echo(&mut client, &number.to_string());
        client.answer(id);
    }
    let quick: Vec<i64> = (0..5).map(|number| echo(&mut client, &number.to_string())).collect();
    let endless = client.begin_call("probe", json!({"verb": "sleep", "ms": 3_600_000}));
    let spinning = client.begin_call("probe", json!({"verb": "spin"}));
    for (number, id) in quick.into_iter().enumerate() {
        assert_eq!(text(&client.answer(id)), number.to_string());
    }
    for id in [endless, spinning] {
        client.notify("notifications/cancelled", json!({"requestId": id}));
    }
    let id = echo(&mut client, "after");
    assert_eq!(text(&client.answer(id)), "after");
}
