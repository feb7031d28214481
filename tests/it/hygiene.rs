//! How long a warm instance is used again. The probe counts the calls of its instance: a 1 is a new one.

use serde_json::{Value, json};

use crate::support::{Client, Sandbox};

fn client(manifest: Value) -> (Sandbox, Client) {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", manifest);
    sandbox.prebuilt_tool("other", "probe", json!({}));
    let client = sandbox.server().start_session();
    (sandbox, client)
}

fn count(client: &mut Client) -> u64 {
    client.call_text("probe", json!({"verb": "count"})).parse().unwrap()
}

#[test]
fn an_instance_serves_so_many_calls() {
    let (_sandbox, mut client) = client(json!({"max_instance_reuse_count": 3}));
    let counts: Vec<u64> = (0..8).map(|_| count(&mut client)).collect();
    assert_eq!(counts, [1, 2, 3, 1, 2, 3, 1, 2]);
}

#[test]
fn an_instance_serves_so_long() {
    let (_sandbox, mut client) = client(json!({"max_instance_age_ms": 100}));
    client.call_text("probe", json!({"verb": "sleep", "ms": 150}));
    assert_eq!(count(&mut client), 1);
}

#[test]
fn an_instance_that_keeps_much_memory_is_built_anew() {
    let (_sandbox, mut client) = client(json!({}));
    client.call_text("probe", json!({"verb": "alloc", "mb": 10}));
    assert_eq!(count(&mut client), 2, "10 MB of 64 are not much");
    client.call_text("probe", json!({"verb": "alloc", "mb": 40}));
    assert_eq!(count(&mut client), 1);
}

#[test]
fn an_instance_that_nobody_calls_is_let_go() {
    let (_sandbox, mut client) = client(json!({"idle_timeout_ms": 20}));
    assert_eq!(count(&mut client), 1);
    client.call_text("other", json!({"verb": "sleep", "ms": 500}));
    assert_eq!(count(&mut client), 1);
}

#[test]
fn a_fresh_tool_has_an_instance_per_call() {
    let (_sandbox, mut client) = client(json!({"isolation": "fresh"}));
    assert_eq!([count(&mut client), count(&mut client)], [1, 1]);
}

#[test]
fn what_a_manifest_says_of_reuse_is_checked() {
    let sandbox = Sandbox::new();
    let wrong = json!({"max_instance_reuse_count": 0, "max_instance_age_ms": "1h", "max_idle_memory_mb": 5000,
        "idle_timeout_ms": 0, "restart": "always", "shutdown_ms": 0});
    sandbox.prebuilt_tool("probe", "probe", wrong.clone());
    let output = sandbox.server().arg("tools").run("");
    for key in wrong.as_object().unwrap().keys() {
        assert!(
            output.stdout.contains(key) || output.stderr.contains(key),
            "{key}: {}{}",
            output.stdout,
            output.stderr
        );
    }
}
