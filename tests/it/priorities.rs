//! Which calls are let in when there are many in flight, by the priority of their tool.

use serde_json::{Value, json};

use crate::support::{Client, Sandbox};

const HOUR_MS: u64 = 3_600_000;

/// Requests in flight that the server takes on. Normal calls are refused from 18 on, until there are fewer than 12, and
/// batch calls from 12 on.
const MAX_INFLIGHT: &str = "20";

/// A session with tools of each priority, each with a worker for every call.
fn session(sandbox: &Sandbox) -> Client {
    sandbox.write("data/a.txt", "content");
    for (name, priority) in [("urgent", "high"), ("usual", "normal"), ("usual_too", "normal"), ("later", "batch")] {
        let manifest = json!({"priority": priority, "workers": 20, "deadline_ms": HOUR_MS});
        sandbox.prebuilt_tool(name, "probe", manifest);
    }
    sandbox.server().env("NURONES_MAX_INFLIGHT", MAX_INFLIGHT).start_session()
}

/// Begins sleeps of an hour; each has a worker before the next is begun, or soon after.
fn begin_sleeps(client: &mut Client, tool: &str, count: usize) -> Vec<i64> {
    let mut begin = || client.begin_call(tool, json!({"verb": "sleep", "ms": HOUR_MS}));
    (0..count).map(|_| begin()).collect()
}

fn cancel(client: &mut Client, ids: &[i64]) {
    ids.iter().for_each(|id| client.notify("notifications/cancelled", json!({"requestId": id})));
}

fn echo(client: &mut Client, tool: &str) -> Value {
    client.call(tool, json!({"verb": "echo", "text": "x"}))
}

fn assert_served(client: &mut Client, tool: &str) {
    let answer = echo(client, tool);
    assert_eq!(answer["result"]["content"][0]["text"], "x", "{tool}: {answer}");
}

fn assert_refused(client: &mut Client, tool: &str) {
    let answer = echo(client, tool);
    assert_eq!(answer["error"]["data"]["reason"], "inflight", "{tool}: {answer}");
}

#[test]
fn each_priority_is_let_in_up_to_its_mark_and_the_control_plane_beyond_all() {
    let sandbox = Sandbox::new();
    let mut client = session(&sandbox);
    begin_sleeps(&mut client, "usual", 9);
    assert_served(&mut client, "later");
    begin_sleeps(&mut client, "usual_too", 3);
    assert_refused(&mut client, "later");
    assert_served(&mut client, "usual");
    assert_served(&mut client, "urgent");
    begin_sleeps(&mut client, "usual_too", 6);
    for tool in ["usual", "later", "usual_too"] {
        assert_refused(&mut client, tool);
    }
    assert_served(&mut client, "urgent");
    assert_refused(&mut client, "usual");
    begin_sleeps(&mut client, "urgent", 2);
    assert_refused(&mut client, "urgent");
    assert_eq!(client.request("ping", json!({}))["result"], json!({}));
    assert!(client.request("tools/list", json!({}))["result"]["tools"].is_array());
    assert!(client.leftovers().is_empty(), "{:?}", client.leftovers());
}

#[test]
fn what_was_full_works_off_a_good_part_before_it_takes_on_more() {
    let sandbox = Sandbox::new();
    let mut client = session(&sandbox);
    let mut sleeps = begin_sleeps(&mut client, "usual", 9);
    assert_served(&mut client, "usual");
    sleeps.extend(begin_sleeps(&mut client, "usual_too", 9));
    assert_refused(&mut client, "usual");
    cancel(&mut client, &sleeps[..6]);
    assert_refused(&mut client, "usual");
    assert_refused(&mut client, "later");
    cancel(&mut client, &sleeps[6..8]);
    assert_served(&mut client, "usual");
    assert_served(&mut client, "later");
    assert!(client.leftovers().is_empty(), "{:?}", client.leftovers());
}
