//! A cancelled call: nothing more for its id, and its place is free.

use serde_json::{Value, json};

use crate::support::{Client, Sandbox, fault};

const HOUR_MS: u64 = 3_600_000;

/// A probe with one worker and a lane of `queue_depth`, whose calls may take an hour.
fn sandbox(queue_depth: u64) -> Sandbox {
    let sandbox = Sandbox::new();
    let limits = json!({"deadline_ms": HOUR_MS, "workers": 1, "queue_depth": queue_depth});
    sandbox.prebuilt_tool("probe", "probe", limits);
    sandbox
}

fn cancel(client: &mut Client, id: impl Into<Value>) {
    client.notify("notifications/cancelled", json!({"requestId": id.into(), "reason": "the test wants it"}));
}

/// Begins a call that runs until it is cancelled. That its guest runs is known from the progress it reports.
pub fn begin_endless(client: &mut Client, token: &str) -> i64 {
    let arguments = json!({"verb": "progress", "steps": 1_u64 << 50});
    let params = json!({"name": "probe", "arguments": arguments, "_meta": {"progressToken": token}});
    let id = client.begin("tools/call", params);
    client.wait_for(|message| message["params"]["progressToken"] == token);
    id
}

fn begin_sleep(client: &mut Client) -> i64 {
    client.begin_call("probe", json!({"verb": "sleep", "ms": HOUR_MS}))
}

fn echo(client: &mut Client, text: &str) -> String {
    client.call_text("probe", json!({"verb": "echo", "text": text}))
}

/// Ends the session, which must not wait for anything, and checks that nothing was ever said for `ids`.
fn assert_silent(client: Client, ids: &[i64]) {
    let (rest, status) = client.finish();
    assert!(status.success(), "{status}");
    for id in ids {
        assert!(!rest.iter().any(|message| message.get("id") == Some(&json!(id))), "{id} was answered: {rest:?}");
    }
}

#[test]
fn a_running_guest_is_stopped_and_its_place_is_free() {
    let sandbox = sandbox(1);
    let mut client = sandbox.server().start_session();
    for round in 0..10 {
        let endless = begin_endless(&mut client, &round.to_string());
        cancel(&mut client, endless);
        assert_eq!(echo(&mut client, &round.to_string()), round.to_string());
        assert!(!client.leftovers().iter().any(|message| message.get("id") == Some(&json!(endless))));
    }
    assert_silent(client, &[]);
}

#[test]
fn a_sleeping_a_looping_and_a_computing_guest_are_stopped() {
    let sandbox = sandbox(1);
    let mut client = sandbox.server().start_session();
    let mut cancelled = Vec::new();
    for arguments in [
        json!({"verb": "sleep", "ms": HOUR_MS}),
        json!({"verb": "spin"}),
        json!({"verb": "burn", "ms": HOUR_MS}),
        json!({"verb": "print_many", "bytes": 1_u64 << 50}),
    ] {
        let id = client.begin_call("probe", arguments);
        cancel(&mut client, id);
        assert_eq!(echo(&mut client, "free"), "free");
        cancelled.push(id);
    }
    assert_silent(client, &cancelled);
}

#[test]
fn a_call_that_waits_is_never_run() {
    let sandbox = Sandbox::new();
    let writer = json!({"deadline_ms": HOUR_MS, "workers": 1, "permissions": ["read", "write"]});
    sandbox.prebuilt_tool("writer", "probe", writer);
    let mut client = sandbox.server().start_session();
    let busy = client.begin_call("writer", json!({"verb": "sleep", "ms": HOUR_MS}));
    let path = sandbox.path("data/trace.txt");
    let waiting = client.begin_call("writer", json!({"verb": "write", "path": path, "content": "it ran"}));
    cancel(&mut client, waiting);
    cancel(&mut client, busy);
    assert_eq!(client.call_text("writer", json!({"verb": "echo", "text": "after"})), "after");
    assert!(!path.exists(), "a cancelled call that waited was run");
    assert_silent(client, &[busy, waiting]);
}

#[test]
fn cancelled_calls_do_not_fill_the_queue() {
    let sandbox = sandbox(2);
    let mut client = sandbox.server().start_session();
    let endless = begin_endless(&mut client, "endless");
    let waiting = [begin_sleep(&mut client), begin_sleep(&mut client)];
    waiting.iter().for_each(|id| cancel(&mut client, *id));
    let echoes = [1, 2, 3].map(|text| client.begin_call("probe", json!({"verb": "echo", "text": text.to_string()})));
    cancel(&mut client, endless);
    let answers = echoes.map(|id| client.answer(id));
    let refused = answers.iter().filter(|answer| answer["error"]["data"]["reason"] == "queue_full").count();
    let served = answers.iter().filter(|answer| answer["result"]["isError"] == false).count();
    assert_eq!((served, refused), (2, 1), "{answers:?}");
    assert_silent(client, &[endless, waiting[0], waiting[1]]);
}

#[test]
fn a_cancel_of_what_is_finished_or_unknown_or_nonsense_changes_nothing() {
    let sandbox = sandbox(10);
    let mut client = sandbox.server().start_session();
    let finished = client.begin_call("probe", json!({"verb": "echo", "text": "x"}));
    client.answer(finished);
    let busy = begin_sleep(&mut client);
    let waiting = client.begin_call("probe", json!({"verb": "echo", "text": "still wanted"}));
    for params in [
        json!({"requestId": finished}),
        json!({"requestId": 123_456}),
        json!({"requestId": "never used"}),
        json!({"requestId": waiting.to_string()}),
        json!({"requestId": null}),
        json!({"requestId": [waiting]}),
        json!({"requestId": 1.5}),
        json!({"id": waiting}),
        json!({}),
    ] {
        client.notify("notifications/cancelled", params);
    }
    client.send_line(r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#);
    client.send_line(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":[1]}"#);
    assert_eq!(client.request("ping", json!({}))["result"], json!({}));
    cancel(&mut client, busy);
    cancel(&mut client, busy);
    assert_eq!(client.answer(waiting)["result"]["content"][0]["text"], "still wanted");
    assert!(client.leftovers().is_empty(), "{:?}", client.leftovers());
    assert_silent(client, &[busy, finished]);
}

#[test]
fn the_id_of_a_cancelled_call_can_be_used_again_at_once() {
    let sandbox = sandbox(10);
    let mut client = sandbox.server().start_session();
    for round in 0..50 {
        let call = |arguments: Value| {
            let params = json!({"name": "probe", "arguments": arguments});
            json!({"jsonrpc": "2.0", "id": "again", "method": "tools/call", "params": params})
        };
        client.send(&call(json!({"verb": "sleep", "ms": HOUR_MS})));
        cancel(&mut client, "again");
        client.send(&call(json!({"verb": "echo", "text": round.to_string()})));
        let answer = client.answer("again");
        assert_eq!(answer["result"]["content"][0]["text"], round.to_string(), "{answer}");
    }
    let (rest, _) = client.finish();
    assert_eq!(rest, Vec::<Value>::new());
}

#[test]
fn many_cancels_leave_the_tool_as_it_was() {
    let sandbox = sandbox(1000);
    let mut client = sandbox.server().start_session();
    let cancelled: Vec<i64> = (0..300)
        .map(|_| {
            let id = begin_sleep(&mut client);
            cancel(&mut client, id);
            id
        })
        .collect();
    assert_eq!(echo(&mut client, "still here"), "still here");
    assert_eq!(fault(&client.call("probe", json!({"verb": "trap"}))).0, "tool_trapped");
    assert_eq!(echo(&mut client, "still here"), "still here");
    assert_silent(client, &cancelled);
}

#[test]
fn nothing_is_owed_for_a_cancelled_call_when_the_input_ends() {
    let sandbox = sandbox(1);
    let mut client = sandbox.server().start_session();
    let endless = begin_endless(&mut client, "endless");
    cancel(&mut client, endless);
    assert_silent(client, &[endless]);
}

#[test]
fn a_cancel_in_the_modern_era_works_the_same() {
    let sandbox = sandbox(1);
    let mut client = sandbox.server().start();
    let call = |arguments: Value| crate::eras::modern(json!({"name": "probe", "arguments": arguments}));
    let sleep = client.begin("tools/call", call(json!({"verb": "sleep", "ms": HOUR_MS})));
    cancel(&mut client, sleep);
    let answer = client.request("tools/call", call(json!({"verb": "echo", "text": "free"})));
    assert_eq!(answer["result"]["content"][0]["text"], "free", "{answer}");
    assert_silent(client, &[sleep]);
}
