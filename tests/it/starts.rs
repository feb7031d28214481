//! Tools that cannot start: the probe misbehaves while it is instantiated if a file tells it to (`tools/probe/src/start.rs`).

use serde_json::{Value, json};

use crate::support::{Client, Sandbox, fault, log_lines, wait_for_log};

const LOG: &str = "supervision.jsonl";

/// A session with a probe that reads `data/`, and so `data/probe-start`.
fn session(sandbox: &Sandbox) -> Client {
    sandbox.prebuilt_tool("probe", "probe", json!({"permissions": ["read"], "deadline_ms": 300, "memory_mb": 16}));
    sandbox.prebuilt_tool("bystander", "probe", json!({}));
    sandbox.server().arg("--supervision-log").arg(sandbox.path(LOG)).start_session()
}

fn count(client: &mut Client) -> Value {
    client.call("probe", json!({"verb": "count"}))
}

#[test]
fn a_tool_that_misbehaves_while_it_starts_is_listed_and_its_calls_say_what_happened() {
    for (word, code) in [
        ("trap", "tool_trapped"),
        ("spin", "deadline_exceeded"),
        ("sleep", "deadline_exceeded"),
        ("alloc", "memory_limit"),
        ("a typo", "tool_trapped"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("data/probe-start", word);
        let mut client = session(&sandbox);
        let listed = client.request("tools/list", json!({}));
        assert!(
            listed.to_string().contains(r#""name":"probe""#),
            "it was asked without files, so it answered: {listed}"
        );
        assert_eq!(fault(&count(&mut client)).0, code, "{word}");
        client.assert_echoes("bystander");
    }
}

#[test]
fn the_probe_misbehaves_when_it_is_instantiated_and_not_when_it_is_called() {
    let sandbox = Sandbox::new();
    let mut client = session(&sandbox);
    let served = |client: &mut Client| count(client)["result"]["content"][0]["text"].clone();
    assert_eq!(served(&mut client), "1");
    sandbox.write("data/probe-start", "trap");
    assert_eq!(served(&mut client), "2", "the instance that runs is not touched");
    client.call_fault("probe", json!({"verb": "trap"}));
    wait_for_log(&sandbox.path(LOG), |line| line["event"] == "call_faulted");
    let faulted = log_lines(&sandbox.path(LOG)).into_iter().find(|line| line["event"] == "call_faulted").unwrap();
    assert_eq!(faulted["restart"], Value::Null, "no call was made since, and the new instance failed: {faulted}");
    std::fs::remove_file(sandbox.path("data/probe-start")).unwrap();
    assert_eq!(served(&mut client), "1");
}

#[test]
fn moving_memory_in_bulk_ends_at_the_deadline() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({"deadline_ms": 300}));
    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_text("probe", json!({"verb": "fill", "mb": 40, "times": 2})), "moved 120 MB");
    let endless = json!({"verb": "fill", "mb": 40, "times": 1_000_000});
    assert_eq!(client.call_fault("probe", endless).0, "deadline_exceeded");
    client.assert_echoes("probe");
}
