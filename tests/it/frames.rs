//! The ContextFrame of a call: what it takes away, whom it keeps apart, and that it comes back as it was used.

use serde_json::{Value, json};

use crate::support::{Client, Sandbox, fault, text};

const READ_ONLY: &str = r#"{"flags": {"read_only": true}}"#;

fn read_only() -> Value {
    serde_json::from_str(READ_ONLY).unwrap()
}

fn used(answer: &Value) -> &Value {
    &answer["result"]["_meta"]["io.nurones/context"]
}

fn count(client: &mut Client, tool: &str, tenant: &str) -> String {
    text(&client.call_framed(tool, json!({"verb": "count"}), json!({"tenant_id": tenant}))).to_owned()
}

#[test]
fn a_read_only_call_loses_the_write_permission_of_its_tool() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "whole");
    sandbox.prebuilt_tool("probe", "probe", json!({"permissions": ["read", "write"]}));
    let mut client = sandbox.server().start_session();
    let path = sandbox.path("data/a.txt");
    let (read, write) =
        (json!({"verb": "read", "path": &path}), json!({"verb": "write", "path": &path, "content": "x"}));
    assert_eq!(text(&client.call_framed("probe", read, read_only())), "whole");
    let denied = client.call_framed("probe", write.clone(), read_only());
    assert_eq!(fault(&denied).0, "permission_denied", "{denied}");
    assert_eq!(used(&denied)["flags"]["read_only"], true);
    assert_eq!(sandbox.read_text("data/a.txt"), "whole");
    // The same tool, the same tenant, without the flag: what is kept warm for one must not serve the other.
    text(&client.call_framed("probe", write.clone(), json!({"flags": {"read_only": false}})));
    assert_eq!(sandbox.read_text("data/a.txt"), "x");
    assert_eq!(fault(&client.call_framed("probe", write, read_only())).0, "permission_denied");
}

#[test]
fn a_read_only_call_of_a_tool_that_only_writes_is_refused() {
    let sandbox = Sandbox::new();
    let mut client = sandbox.server().start_session();
    let write = json!({"path": "a.txt", "content": "x"});
    let (code, said) = fault(&client.call_framed("fs_write", write.clone(), read_only()));
    assert_eq!(code, "permission_denied");
    assert!(said.contains("flags.read_only"), "{said}");
    assert!(sandbox.names("data").is_empty());
    text(&client.call_framed("fs_write", write, json!({})));
}

#[test]
fn the_frame_comes_back_as_it_was_used() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    let given = json!({
        "reason_trace_id": "trace-7", "tenant_id": "acme", "stage": "prod", "risk_level": 2, "novelty_score": 0.25,
        "context_confidence": 1, "budgets": {"cpu_ms": 100, "mem_mb": 64, "rps": 1500},
        "flags": {"allow_autotune": true, "read_only": true}, "ts": "2026-01-02T03:04:05Z", "x-own": {"kept": ["whole"]}
    });
    for verb in ["echo", "trap"] {
        let answer = client.call_framed("probe", json!({"verb": verb, "text": "hi"}), given.clone());
        assert_eq!(used(&answer), &given, "{verb}");
    }
}

#[test]
fn what_a_frame_leaves_out_is_filled_in() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    let plain = client.call("probe", json!({"verb": "echo", "text": "hi"}));
    let frame = used(&plain);
    assert_eq!(
        (&frame["tenant_id"], &frame["stage"], &frame["risk_level"]),
        (&json!("default"), &json!("dev"), &json!(0))
    );
    assert!(frame["ts"].is_string() && frame["reason_trace_id"].is_string(), "{frame}");
    let second = client.call("probe", json!({"verb": "echo", "text": "hi"}));
    assert_ne!(used(&second)["reason_trace_id"], frame["reason_trace_id"], "each call has a trace of its own");
    let part = client.call_framed("probe", json!({"verb": "echo", "text": "hi"}), json!({"stage": "staging"}));
    assert_eq!((&used(&part)["stage"], &used(&part)["tenant_id"]), (&json!("staging"), &json!("default")));
}

#[test]
fn the_guest_gets_the_frame_whole() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    for given in
        [json!({}), json!({"tenant_id": "acme", "x-own": {"kept": [1, null, "ü"]}, "flags": {"read_only": true}})]
    {
        let answer = client.call_framed("probe", json!({"verb": "context"}), given);
        let seen: Value = serde_json::from_str(text(&answer)).unwrap();
        assert_eq!(&seen, used(&answer));
    }
}

#[test]
fn a_wrong_frame_is_a_protocol_error_that_names_every_wrong_key() {
    let sandbox = Sandbox::new();
    let mut client = sandbox.server().start_session();
    for (frame, keys) in [
        (json!({"risk_level": 3}), json!(["risk_level"])),
        (json!({"risk_level": "high"}), json!(["risk_level"])),
        (json!({"stage": "qa", "flags": {"read_only": 1}}), json!(["stage", "flags.read_only"])),
        (json!({"tenant_id": ""}), json!(["tenant_id"])),
        (json!({"tenant_id": 7}), json!(["tenant_id"])),
        (json!({"budgets": {"rps": 0}}), json!(["budgets.rps"])),
        (json!({"flags": []}), json!(["flags"])),
        (json!([]), json!(["io.nurones/context"])),
        (json!("frame"), json!(["io.nurones/context"])),
    ] {
        let answer = client.call_framed("fs_write", json!({"path": "a.txt", "content": "x"}), frame.clone());
        assert_eq!(answer["error"]["code"], -32602, "{frame}: {answer}");
        assert_eq!(answer["error"]["data"]["keys"], keys, "{frame}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        for key in keys.as_array().unwrap() {
            assert!(message.contains(key.as_str().unwrap()), "{message}");
        }
    }
    assert!(sandbox.names("data").is_empty());
    assert_eq!(used(&client.call_framed("fs_read", json!({"path": "x"}), Value::Null))["tenant_id"], "default");
}

#[test]
fn tenants_do_not_share_an_instance() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    for (tenant, served) in [("a", "1"), ("a", "2"), ("b", "1"), ("a", "3"), ("b", "2"), ("default", "1")] {
        assert_eq!(count(&mut client, "probe", tenant), served, "{tenant}");
    }
}

#[test]
fn an_instance_that_was_given_up_for_other_tenants_starts_anew() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    let tenants: Vec<String> = (0..100).map(|number| format!("tenant-{number}")).collect();
    for tenant in &tenants {
        assert_eq!(count(&mut client, "probe", tenant), "1");
    }
    assert_eq!(count(&mut client, "probe", &tenants[99]), "2");
    assert_eq!(count(&mut client, "probe", &tenants[0]), "1");
}

#[test]
fn a_read_only_call_has_an_instance_of_its_own() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({"permissions": ["read", "write"]}));
    let mut client = sandbox.server().start_session();
    let mut counted = |frame: Value| text(&client.call_framed("probe", json!({"verb": "count"}), frame)).to_owned();
    assert_eq!((counted(json!({})), counted(json!({}))), ("1".to_owned(), "2".to_owned()));
    assert_eq!(counted(read_only()), "1");
    assert_eq!(counted(json!({})), "3");
}

#[test]
fn a_fresh_tool_serves_one_call_per_instance() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("fresh", "probe", json!({"isolation": "fresh"}));
    sandbox.prebuilt_tool("warm", "probe", json!({"isolation": "warm"}));
    let mut client = sandbox.server().start_session();
    for call in 1..=3 {
        assert_eq!(client.call_text("fresh", json!({"verb": "count"})), "1");
        assert_eq!(client.call_text("warm", json!({"verb": "count"})), call.to_string());
    }
}

#[test]
fn a_crash_costs_one_tenant_its_instance_and_the_others_nothing() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    assert_eq!((count(&mut client, "probe", "a"), count(&mut client, "probe", "b")), ("1".to_owned(), "1".to_owned()));
    let crashed = client.call_framed("probe", json!({"verb": "trap"}), json!({"tenant_id": "a"}));
    assert_eq!(fault(&crashed).0, "tool_trapped");
    assert_eq!((count(&mut client, "probe", "a"), count(&mut client, "probe", "b")), ("1".to_owned(), "2".to_owned()));
}

#[test]
fn a_failure_that_a_tool_explains_keeps_its_instance() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({"permissions": ["read"]}));
    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_text("probe", json!({"verb": "count"})), "1");
    let missing = sandbox.path("data/missing");
    assert_eq!(client.call_fault("probe", json!({"verb": "read", "path": missing})).0, "not_found");
    assert_eq!(client.call_text("probe", json!({"verb": "count"})), "3");
}

#[test]
fn a_guest_gets_its_frame_typed_and_the_time_that_is_left() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    let given = json!({
        "reason_trace_id": "trace-7", "tenant_id": "acme", "stage": "staging", "risk_level": 1,
        "budgets": {"cpu_ms": 20_000, "mem_mb": 64, "deadline_ms": 10_000, "rps": 1500.5, "cpu_ms_per_min": 60_000},
        "flags": {"allow_autotune": false, "read_only": true}
    });
    let mut seen = |frame: Value| -> Value {
        let answer = client.call_framed("probe", json!({"verb": "frame"}), frame);
        serde_json::from_str(text(&answer)).unwrap()
    };
    let mut frame = seen(given.clone());
    let left_ms = frame.as_object_mut().unwrap().remove("time_left_ms").unwrap().as_u64().unwrap();
    assert!((1..=10_000).contains(&left_ms), "{left_ms}");
    let mut expected = json!({"stage": "Stage::Staging", "read_only": true, "allow_autotune": false});
    for key in ["reason_trace_id", "tenant_id", "risk_level", "budgets"] {
        expected[key] = given[key].clone();
    }
    assert_eq!(frame, expected);
    // The instance is warm; nothing of the last call is seen by the next.
    let frame = seen(json!({"tenant_id": "acme"}));
    assert_eq!((&frame["stage"], &frame["risk_level"]), (&json!("Stage::Dev"), &json!(0)), "{frame}");
    assert_ne!(frame["reason_trace_id"], "trace-7");
    assert!(frame["budgets"].as_object().unwrap().values().all(Value::is_null), "{frame}");
}

#[test]
fn a_call_in_a_trace_is_known_by_it_in_its_frame_and_in_the_log_lines_of_its_tool() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().env("RUST_LOG", "info,guest=debug").start_session();
    let mut logged = |line: &str, frame: Value| {
        let meta = json!({"traceparent": format!("00-{TRACE}-00f067aa0ba902b7-00"), "io.nurones/context": frame});
        let arguments = json!({"verb": "log", "text": line});
        let answer = client.request("tools/call", json!({"name": "probe", "arguments": arguments, "_meta": meta}));
        used(&answer)["reason_trace_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(logged("by the trace", Value::Null), TRACE);
    assert_eq!(logged("by the trace too", json!({"stage": "prod"})), TRACE);
    assert_eq!(logged("by its own word", json!({"reason_trace_id": "mine"})), "mine");
    let said = client.all_it_said();
    for (line, id) in [("by the trace", TRACE), ("by the trace too", TRACE), ("by its own word", "mine")] {
        assert!(said.lines().any(|said| said.contains(line) && said.contains(id)), "{line}: {said}");
    }
}
