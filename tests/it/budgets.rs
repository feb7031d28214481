//! What a caller allows one call: never more than the tool may, often less, and the tool is not blamed for it.

use serde_json::{Value, json};

use crate::support::{Client, Sandbox, fault, text};

fn client(manifest: Value) -> (Sandbox, Client) {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", manifest);
    let client = sandbox.server().start_session();
    (sandbox, client)
}

fn budget(key: &str, value: u64) -> Value {
    json!({"budgets": {key: value}})
}

fn assert_callers_limit(answer: &Value, code: &str, key: &str) {
    let (said, text) = fault(answer);
    assert_eq!(said, code, "{answer}");
    assert!(text.contains(key), "{text}");
    assert_eq!(answer["result"]["_meta"]["io.nurones/fault"]["retryable"], false, "{answer}");
}

#[test]
fn a_call_may_use_so_much_processor_time_and_no_more() {
    let (_sandbox, mut client) = client(json!({}));
    let spun = client.call_framed("probe", json!({"verb": "spin"}), budget("cpu_ms", 20));
    assert_callers_limit(&spun, "deadline_exceeded", "budgets.cpu_ms");
    // Sleeping takes no processor time.
    let slept = client.call_framed("probe", json!({"verb": "sleep", "ms": 100}), budget("cpu_ms", 20));
    assert_eq!(text(&slept), "slept 100 ms");
}

#[test]
fn a_commands_processor_time_is_bounded_too() {
    let sandbox = Sandbox::new();
    sandbox.wat_tool("spins", &crate::wat_guests::command("(loop $on (br $on))"), json!({}));
    let mut client = sandbox.server().start_session();
    let spun = client.call_framed("spins", json!({}), budget("cpu_ms", 20));
    assert_callers_limit(&spun, "deadline_exceeded", "budgets.cpu_ms");
}

#[test]
fn a_call_may_use_so_much_memory_and_no_more() {
    let (_sandbox, mut client) = client(json!({}));
    let allocated = client.call_framed("probe", json!({"verb": "alloc", "mb": 30}), budget("mem_mb", 8));
    assert_callers_limit(&allocated, "memory_limit", "budgets.mem_mb");
    assert_eq!(client.call_text("probe", json!({"verb": "alloc", "mb": 30})), "allocated 30 MB");
}

#[test]
fn an_instance_that_has_grown_too_large_for_a_call_is_built_anew_for_it() {
    let (_sandbox, mut client) = client(json!({"max_idle_memory_mb": 64}));
    client.call_text("probe", json!({"verb": "alloc", "mb": 30}));
    assert_eq!(client.call_text("probe", json!({"verb": "count"})), "2");
    let counted = client.call_framed("probe", json!({"verb": "count"}), budget("mem_mb", 8));
    assert_eq!(text(&counted), "1");
    let counted = client.call_framed("probe", json!({"verb": "count"}), budget("mem_mb", 8));
    assert_eq!(text(&counted), "2");
}

#[test]
fn the_smallest_of_the_deadlines_counts() {
    let (_sandbox, mut client) = client(json!({"deadline_ms": 3_600_000}));
    let hour = json!({"verb": "sleep", "ms": 3_600_000});
    let framed = client.call_framed("probe", hour.clone(), budget("deadline_ms", 30));
    assert_callers_limit(&framed, "deadline_exceeded", "30 ms");
    for (frame, said, counts) in [(3_000_000, 40, "40 ms"), (50, 3_000_000, "50 ms")] {
        let meta = json!({"io.nurones/context": budget("deadline_ms", frame), "io.nurones/deadlineMs": said});
        let answer = client.request("tools/call", json!({"name": "probe", "arguments": hour, "_meta": meta}));
        assert_callers_limit(&answer, "deadline_exceeded", counts);
    }
}

#[test]
fn a_caller_cannot_allow_more_than_the_tool_may() {
    let (_sandbox, mut client) = client(json!({"deadline_ms": 50, "memory_mb": 16}));
    let slept = client.call_framed("probe", json!({"verb": "sleep", "ms": 60_000}), budget("deadline_ms", 60_000));
    let (code, text) = fault(&slept);
    assert!(code == "deadline_exceeded" && text.contains("50 ms"), "{slept}");
    let allocated = client.call_framed("probe", json!({"verb": "alloc", "mb": 30}), budget("mem_mb", 100));
    assert!(fault(&allocated).1.contains("raise memory_mb"), "{allocated}");
}

#[test]
fn a_call_that_waits_behind_a_long_one_is_answered_at_its_deadline() {
    let (_sandbox, mut client) = client(json!({}));
    client.assert_echoes("probe");
    let long = client.begin_call("probe", json!({"verb": "spin"}));
    let meta = json!({"io.nurones/deadlineMs": 30});
    let params = json!({"name": "probe", "arguments": {"verb": "count"}, "_meta": meta});
    let short = client.begin("tools/call", params);
    let first = client.wait_for(|message| message.get("id").is_some());
    assert_eq!(first["id"], short, "{first}");
    assert_callers_limit(&first, "deadline_exceeded", "30 ms");
    client.notify("notifications/cancelled", json!({"requestId": long}));
    client.assert_echoes("probe");
}

#[test]
fn a_deadline_that_is_none_is_refused_with_its_key() {
    let (_sandbox, mut client) = client(json!({}));
    for wrong in [json!(0), json!(-1), json!("100"), json!(1.5), json!(3_600_001), json!([])] {
        let meta = json!({"io.nurones/deadlineMs": wrong});
        let params = json!({"name": "probe", "arguments": {"verb": "count"}, "_meta": meta});
        let answer = client.request("tools/call", params);
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert_eq!(answer["error"]["data"]["keys"], json!(["io.nurones/deadlineMs"]));
    }
}

#[test]
fn callers_limits_do_not_count_against_the_tool() {
    let (_sandbox, mut client) = client(json!({}));
    for _ in 0..30 {
        let spun = client.call_framed("probe", json!({"verb": "spin"}), budget("cpu_ms", 1));
        assert_eq!(fault(&spun).0, "deadline_exceeded");
    }
    client.assert_echoes("probe");
}

#[test]
fn bulk_memory_operations_do_not_outlive_the_deadline() {
    let (_sandbox, mut client) = client(json!({"deadline_ms": 200}));
    let (code, _) = client.call_fault("probe", json!({"verb": "fill", "mb": 32, "times": 1_000_000}));
    assert_eq!(code, "deadline_exceeded");
    client.assert_echoes("probe");
}
