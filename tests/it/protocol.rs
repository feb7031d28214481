//! What a client is told, by code: protocol errors, tool errors and their shapes, names, progress.

use serde_json::{Value, json};

use crate::support::{Client, Sandbox, ServerCommand, fault};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "content");
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    sandbox
}

fn assert_error(answer: &Value, code: i64) -> String {
    assert_eq!(answer["error"]["code"], code, "{answer}");
    assert!(answer.get("result").is_none(), "{answer}");
    answer["error"]["message"].as_str().unwrap_or_else(|| panic!("no message in {answer}")).to_owned()
}

#[test]
fn an_unknown_tool_is_invalid_params_and_the_known_ones_are_named() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    for name in ["nope", "", "FS_READ", "fs_read ", "fs/read", "fs-read"] {
        let message = assert_error(&client.call(name, json!({"path": "a.txt"})), -32602);
        assert!(message.contains("Unknown tool") && message.contains("fs_read, fs_write, probe"), "{message}");
    }
    let message = assert_error(&client.call(&"x".repeat(100_000), json!({})), -32602);
    assert!(message.len() < 300, "a long name is cut short");
}

#[test]
fn malformed_params_of_a_call_are_invalid_params() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    for params in [
        json!({}),
        json!({"arguments": {}}),
        json!({"name": 7}),
        json!({"name": null}),
        json!({"name": "fs_read", "arguments": []}),
        json!({"name": "fs_read", "arguments": "a.txt"}),
        json!({"name": "fs_read", "arguments": 7}),
    ] {
        let message = assert_error(&client.request("tools/call", params.clone()), -32602);
        assert!(message.contains("name") && message.contains("arguments"), "{params}: {message}");
    }
    client.send_line(r#"{"jsonrpc":"2.0","id":"bare","method":"tools/call"}"#);
    assert_error(&client.answer("bare"), -32602);
}

#[test]
fn a_method_that_is_unknown_or_was_not_advertised_is_not_found() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    for (method, params) in [
        ("nope", json!({})),
        ("", json!({})),
        ("tools/Call", json!({"name": "fs_read"})),
        ("rpc.discover", json!({})),
        ("prompts/list", json!({})),
        ("prompts/get", json!({"name": "x"})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({"uri": "file:///x"})),
        ("resources/subscribe", json!({"uri": "file:///x"})),
        ("resources/unsubscribe", json!({"uri": "file:///x"})),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a", "value": ""}}),
        ),
        ("logging/setLevel", json!({"level": "debug"})),
        ("subscriptions/listen", json!({"notifications": {}})),
        ("tasks/get", json!({"taskId": "x"})),
        ("sampling/createMessage", json!({"messages": [], "maxTokens": 1})),
        ("roots/list", json!({})),
        ("notifications/initialized", json!({})),
    ] {
        let answer = client.request(method, params);
        assert_eq!(answer["error"]["code"], -32601, "{method}: {answer}");
    }
}

#[test]
fn a_cursor_that_was_never_handed_out_is_invalid() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    for cursor in ["", "2", "abc"] {
        let message = assert_error(&client.request("tools/list", json!({"cursor": cursor})), -32602);
        assert!(message.contains("cursor"), "{message}");
    }
    let list = client.request("tools/list", json!({"cursor": null}));
    assert!(list["result"].get("nextCursor").is_none() && list["result"]["tools"].is_array(), "{list}");
}

#[test]
fn the_list_is_the_same_every_time_and_its_names_suit_every_client() {
    let sandbox = sandbox();
    sandbox.prebuilt_tool("my.dotted.probe", "probe", json!({}));
    let list = |client: &mut Client| client.request("tools/list", json!({}))["result"]["tools"].clone();
    let (mut one, mut other) = (sandbox.server().start_session(), sandbox.server().start_session());
    let tools = list(&mut one);
    assert_eq!(tools, list(&mut one));
    assert_eq!(tools, list(&mut other));
    let names: Vec<&str> = tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fs_read", "fs_write", "my_dotted_probe", "probe"]);
    for tool in tools.as_array().unwrap() {
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        assert!(!tool["description"].as_str().unwrap().is_empty(), "{tool}");
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{hint} of {tool}");
        }
        assert_eq!(tool["annotations"]["openWorldHint"], false);
    }
    assert_eq!(tools[0]["annotations"]["readOnlyHint"], true);
    assert_eq!(tools[1]["annotations"]["readOnlyHint"], false);
    assert_eq!(tools[1]["annotations"]["destructiveHint"], true);
}

#[test]
fn a_tool_is_called_by_its_published_and_by_its_own_name() {
    let sandbox = sandbox();
    sandbox.prebuilt_tool("my.dotted.probe", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    for name in ["fs_read", "fs.read"] {
        assert_eq!(client.call_text(name, json!({"path": "a.txt"})), "content");
    }
    for name in ["my_dotted_probe", "my.dotted.probe"] {
        assert_eq!(client.call_text(name, json!({"verb": "echo", "text": name})), name);
    }
}

#[test]
fn arguments_off_the_schema_are_a_tool_error_the_model_can_correct() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    for (arguments, named) in [
        (json!({}), "path"),
        (json!({"path": 7}), "path"),
        (json!({"path": "a.txt", "offset": -1}), "offset"),
        (json!({"path": "a.txt", "depth": 1}), "depth"),
    ] {
        let (code, text) = client.call_fault("fs_read", arguments.clone());
        assert_eq!(code, "invalid_arguments", "{arguments}: {text}");
        assert!(text.contains(named), "{arguments}: {text}");
    }
    let without = client.request("tools/call", json!({"name": "fs_read"}));
    assert_eq!(fault(&without).0, "invalid_arguments");
}

/// The whole fault of an answer that is a tool error of the right shape.
fn shaped_fault(answer: &Value) -> Value {
    let result = &answer["result"];
    let (code, text) = fault(answer);
    assert!(!text.is_empty() && text.len() < 600, "{code}: {text}");
    assert_eq!(result["content"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(result["content"][0]["type"], "text");
    assert!(answer.get("error").is_none() && result.get("structuredContent").is_none(), "{answer}");
    let context = &result["_meta"]["io.nurones/context"];
    assert!(context["reason_trace_id"].is_string() && context["tenant_id"].is_string(), "{answer}");
    result["_meta"]["io.nurones/fault"].clone()
}

#[test]
fn every_fault_says_its_code_and_whether_trying_again_helps() {
    let sandbox = sandbox();
    sandbox.prebuilt_tool("short", "probe", json!({"deadline_ms": 50, "output_kb": 16, "memory_mb": 8}));
    // A command without permissions changes nothing, so it may be tried again; the probe promises no such thing.
    let looping = r#"(module (func (export "_start") (loop br 0)))"#;
    sandbox.wat_tool("harmless", looping, json!({"deadline_ms": 50}));
    let mut client = sandbox.server().start_session();
    let trapped = |trap: &str| json!({"code": "tool_trapped", "retryable": false, "trap": trap});
    let plain = |code: &str, retryable: bool| json!({"code": code, "retryable": retryable});
    for (tool, arguments, expected) in [
        ("probe", json!({"verb": "trap"}), trapped("UnreachableCodeReached")),
        ("probe", json!({"verb": "recurse"}), trapped("StackOverflow")),
        ("short", json!({"verb": "sleep", "ms": 3_600_000}), plain("deadline_exceeded", false)),
        ("harmless", json!({}), plain("deadline_exceeded", true)),
        ("short", json!({"verb": "spin"}), plain("deadline_exceeded", false)),
        ("short", json!({"verb": "big", "bytes": 100_000}), plain("output_limit", false)),
        ("short", json!({"verb": "alloc"}), plain("memory_limit", false)),
        (
            "probe",
            json!({"verb": "exit", "code": 1}),
            json!({"code": "exit_code", "retryable": false, "exitCode": "1"}),
        ),
        ("probe", json!({"verb": "input_required"}), plain("input_required_unsupported", false)),
        ("probe", json!({"verb": "echo"}), plain("invalid_arguments", false)),
        ("fs_read", json!({"path": "missing.txt"}), plain("not_found", false)),
        ("fs_read", json!({"path": "../a.txt"}), plain("permission_denied", false)),
        ("fs_write", json!({"path": "a.txt", "content": "x"}), plain("invalid_arguments", false)),
    ] {
        let answer = client.call(tool, arguments.clone());
        assert_eq!(shaped_fault(&answer), expected, "{tool} {arguments}: {answer}");
    }
    assert_eq!(client.call_text("probe", json!({"verb": "echo", "text": "unharmed"})), "unharmed");
}

#[test]
fn a_refused_call_is_a_protocol_error_with_a_reason_and_a_time() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({"deadline_ms": 3_600_000, "workers": 1, "queue_depth": 1}));
    let mut client = sandbox.server().start_session();
    let ids: Vec<i64> = (0..3).map(|_| client.begin_call("probe", json!({"verb": "sleep", "ms": 3_600_000}))).collect();
    let refusal = client.next();
    assert!(ids.contains(&refusal["id"].as_i64().unwrap()), "{refusal}");
    let message = assert_error(&refusal, -31503);
    assert!(message.contains("probe") && message.contains("try again"), "{message}");
    let data = refusal["error"]["data"].as_object().unwrap();
    assert_eq!(
        (&data["reason"], &data["retryable"], &data["tool"]),
        (&json!("queue_full"), &json!(true), &json!("probe"))
    );
    assert!(data["retryAfterMs"].as_u64().is_some_and(|ms| (10..=1000).contains(&ms)), "{refusal}");
    assert_eq!(data.len(), 4, "{refusal}");
}

#[test]
fn a_wrong_context_frame_is_invalid_params_that_name_the_key() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    let mut with_context = |context: Value| {
        let meta = json!({"io.nurones/context": context});
        client.request("tools/call", json!({"name": "fs_read", "arguments": {"path": "a.txt"}, "_meta": meta}))
    };
    for (context, key) in [
        (json!({"risk_level": 3}), "risk_level"),
        (json!({"tenant_id": 7}), "tenant_id"),
        (json!({"flags": {"read_only": "yes"}}), "flags.read_only"),
        (json!("frame"), "io.nurones/context"),
    ] {
        let answer = with_context(context);
        let message = assert_error(&answer, -32602);
        assert!(message.contains(key), "{message}");
        assert_eq!(answer["error"]["data"]["keys"], json!([key]), "{answer}");
    }
    let used = with_context(json!({"tenant_id": "acme", "something_new": [1]}))["result"]["_meta"].clone();
    assert_eq!(used["io.nurones/context"]["tenant_id"], "acme", "{used}");
    assert_eq!(used["io.nurones/context"]["something_new"], json!([1]), "{used}");
}

#[test]
fn progress_comes_in_order_and_before_the_answer() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    for token in [json!("t"), json!(7), json!("")] {
        for _ in 0..20 {
            let meta = json!({"progressToken": token});
            let params = json!({"name": "probe", "arguments": {"verb": "progress", "steps": 10}, "_meta": meta});
            let id = client.begin("tools/call", params);
            for step in 1..=10 {
                let report = client.next();
                assert_eq!(report["method"], "notifications/progress", "step {step}: {report}");
                let params = &report["params"];
                assert_eq!(params["progressToken"], token);
                assert_eq!(params["progress"].as_f64(), Some(f64::from(step)), "{report}");
                assert_eq!(params["total"].as_f64(), Some(10.0));
                assert_eq!(params["message"], format!("step {step} of 10"));
            }
            let answer = client.next();
            assert_eq!(answer["id"], id, "{answer}");
            assert_eq!(answer["result"]["content"][0]["text"], "made 10 steps");
        }
    }
}

#[test]
fn more_progress_than_anyone_can_read_still_grows_and_ends_with_the_answer() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    let params = json!({
        "name": "probe", "arguments": {"verb": "progress", "steps": 20_000}, "_meta": {"progressToken": "t"}
    });
    let id = client.begin("tools/call", params);
    let mut last = 0.0;
    loop {
        let message = client.next();
        if message.get("id") == Some(&json!(id)) {
            assert_eq!(message["result"]["content"][0]["text"], "made 20000 steps");
            break;
        }
        let progress = message["params"]["progress"].as_f64().unwrap();
        assert!(progress > last, "{progress} after {last}");
        last = progress;
    }
    assert_eq!(client.request("ping", json!({}))["result"], json!({}));
    assert!(client.leftovers().is_empty(), "progress after the answer: {:?}", client.leftovers());
}

#[test]
fn without_a_token_there_is_no_progress() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_text("probe", json!({"verb": "progress", "steps": 10})), "made 10 steps");
    let params = json!({
        "name": "probe", "arguments": {"verb": "progress", "steps": 10}, "_meta": {"progressToken": null}
    });
    assert_eq!(client.request("tools/call", params)["result"]["isError"], false);
    client.request("ping", json!({}));
    assert!(client.leftovers().is_empty(), "{:?}", client.leftovers());
}

#[test]
fn an_argument_may_be_called_like_a_member_of_the_protocol() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    let text = "{\"jsonrpc\":\"2.0\",\"id\":1}\n\u{1b}[31m\u{0}\u{2028}";
    assert_eq!(client.call_text("probe", json!({"verb": "echo", "text": text})), text);
}

#[test]
fn a_server_without_an_allowed_directory_still_lists_and_says_how_to_grant_one() {
    let mut client = ServerCommand::bare().start_session();
    assert_eq!(client.request("tools/list", json!({}))["result"]["tools"].as_array().unwrap().len(), 2);
    let (code, text) = client.call_fault("fs_read", json!({"path": "a.txt"}));
    assert_eq!(code, "permission_denied");
    assert!(text.contains("--allow"), "{text}");
}
