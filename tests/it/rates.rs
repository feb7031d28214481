//! How often a tool may be called, and how often a tenant lets itself call.

use serde_json::{Value, json};

use crate::cancel::begin_endless;
use crate::support::{Client, Sandbox, text};

/// So few calls a second that none comes back while a test runs.
const HARDLY_EVER: f64 = 0.001;

fn echo(client: &mut Client, tool: &str, frame: Value) -> Value {
    client.call_framed(tool, json!({"verb": "echo", "text": "x"}), frame)
}

fn assert_limited(answer: &Value) {
    let error = &answer["error"];
    assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-31503), &json!("rate")), "{answer}");
    assert_eq!(error["data"]["retryable"], true, "{answer}");
    let retry_after_ms = error["data"]["retryAfterMs"].as_u64().unwrap();
    assert!((900_000..=1_100_001).contains(&retry_after_ms), "{answer}");
}

#[test]
fn a_tool_takes_a_burst_and_then_its_rate_and_other_tools_do_not_notice() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("limited", "probe", json!({"rate_limit": {"per_s": HARDLY_EVER, "burst": 3}}));
    sandbox.prebuilt_tool("free", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    for _ in 0..3 {
        assert_eq!(text(&echo(&mut client, "limited", json!({}))), "x");
    }
    let refusal = echo(&mut client, "limited", json!({}));
    assert_limited(&refusal);
    assert_eq!(refusal["error"]["data"]["tool"], "limited");
    assert_eq!(text(&echo(&mut client, "free", json!({}))), "x");
}

#[test]
fn a_tool_whose_rate_is_high_enough_serves_on() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("limited", "probe", json!({"rate_limit": {"per_s": 1_000_000, "burst": 1}}));
    let mut client = sandbox.server().start_session();
    for _ in 0..20 {
        assert_eq!(text(&echo(&mut client, "limited", json!({}))), "x");
    }
}

#[test]
fn a_tenant_that_has_used_up_its_own_rate_is_refused_and_no_other_is() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    let frame = |tenant: &str| json!({"tenant_id": tenant, "budgets": {"rps": HARDLY_EVER}});
    assert_eq!(text(&echo(&mut client, "probe", frame("acme"))), "x");
    let refusal = echo(&mut client, "probe", frame("acme"));
    assert_limited(&refusal);
    assert!(refusal["error"]["message"].as_str().unwrap().contains("budgets.rps"), "{refusal}");
    assert_eq!(text(&echo(&mut client, "probe", frame("other"))), "x");
    assert_eq!(text(&echo(&mut client, "probe", json!({"tenant_id": "acme"}))), "x", "it asks for no limit");
}

#[test]
fn a_call_that_is_refused_for_another_reason_does_not_count() {
    let sandbox = Sandbox::new();
    let limits = json!({"queue_depth": 1, "rate_limit": {"per_s": HARDLY_EVER, "burst": 4}, "deadline_ms": 3_600_000});
    sandbox.prebuilt_tool("probe", "probe", limits);
    let mut client = sandbox.server().start_session();
    let busy = begin_endless(&mut client, "busy");
    // One of two waits, the other is refused, and so is everything behind them.
    let pair = [(); 2].map(|()| client.begin_call("probe", json!({"verb": "echo", "text": "x"})));
    let refusal = client.wait_for(|message| pair.iter().any(|id| message["id"] == *id));
    assert_eq!(refusal["error"]["data"]["reason"], "queue_full", "{refusal}");
    let frame = json!({"tenant_id": "acme", "budgets": {"rps": HARDLY_EVER}});
    for _ in 0..10 {
        let refusal = echo(&mut client, "probe", json!({}));
        assert_eq!(refusal["error"]["data"]["reason"], "queue_full", "{refusal}");
    }
    client.notify("notifications/cancelled", json!({"requestId": busy}));
    let waited = client.wait_for(|message| pair.iter().any(|id| message["id"] == *id));
    assert_eq!(text(&waited), "x");
    // Two of four calls are left for the tool.
    assert_eq!(text(&echo(&mut client, "probe", frame.clone())), "x");
    assert_limited(&echo(&mut client, "probe", frame));
    assert_eq!(text(&echo(&mut client, "probe", json!({}))), "x", "the tenant's refusal cost the tool nothing");
    assert_limited(&echo(&mut client, "probe", json!({})));
    // Nor does what the tool refuses cost a tenant anything: a second's worth is one call, and it is still there.
    for _ in 0..2 {
        let refusal = echo(&mut client, "probe", json!({"tenant_id": "other", "budgets": {"rps": HARDLY_EVER}}));
        assert_limited(&refusal);
        assert!(!refusal["error"]["message"].as_str().unwrap().contains("budgets.rps"), "{refusal}");
    }
}

fn burn(client: &mut Client, frame: Value) -> Value {
    client.call_framed("probe", json!({"verb": "burn", "ms": 50}), frame)
}

fn assert_cpu_is_used_up(answer: &Value) {
    let error = &answer["error"];
    assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-31503), &json!("rate")), "{answer}");
    assert!(error["message"].as_str().unwrap().contains("cpu_ms_per_min"), "{answer}");
    // It has used more than half of its 50 ms, at one a minute.
    assert!(error["data"]["retryAfterMs"].as_u64().unwrap() > 24 * 60_000, "{answer}");
}

#[test]
fn a_tenant_pays_for_the_cpu_time_of_its_calls_and_no_other_does() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    let frame = |tenant: &str| json!({"tenant_id": tenant, "budgets": {"cpu_ms_per_min": 1}});
    text(&burn(&mut client, frame("acme")));
    assert_cpu_is_used_up(&burn(&mut client, frame("acme")));
    text(&burn(&mut client, frame("other")));
    let enough = json!({"tenant_id": "rich", "budgets": {"cpu_ms_per_min": 60_000_000}});
    for _ in 0..5 {
        text(&burn(&mut client, enough.clone()));
    }
}

#[test]
fn a_call_that_is_stopped_is_paid_for_too() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    let frame = json!({"tenant_id": "acme", "budgets": {"cpu_ms_per_min": 1, "cpu_ms": 50}});
    let stopped = client.call_framed("probe", json!({"verb": "spin"}), frame.clone());
    assert_eq!(stopped["result"]["isError"], true, "{stopped}");
    assert_cpu_is_used_up(&burn(&mut client, frame));
}
