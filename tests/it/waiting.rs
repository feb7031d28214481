//! Calls that wait for a worker: whose turn it is, and when they wait for too long.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cancel::begin_endless;
use crate::support::{Client, Sandbox, text};

const HOUR_MS: u64 = 3_600_000;

/// One slow call. Sixteen of them may wait in front of one, whatever the configuration says.
const SLOW_MS: u64 = 20;

/// So many that most of them wait for longer than that.
const BURST: usize = 80;

fn begin_echo(client: &mut Client, tenant: &str, said: &str) -> i64 {
    let meta = json!({"io.nurones/context": {"tenant_id": tenant}});
    let arguments = json!({"verb": "echo", "text": said});
    client.begin("tools/call", json!({"name": "probe", "arguments": arguments, "_meta": meta}))
}

/// The next answer to one of `ids`.
fn next_of(client: &mut Client, ids: &[i64]) -> (i64, Value) {
    let answer = client.wait_for(|message| ids.iter().any(|id| message["id"] == *id));
    (answer["id"].as_i64().unwrap(), answer)
}

fn reason(answer: &Value) -> &str {
    answer["error"]["data"]["reason"].as_str().unwrap_or_default()
}

#[test]
fn a_tenant_that_floods_makes_way_for_another_and_loses_only_its_own_calls() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({"workers": 1, "queue_depth": 4, "deadline_ms": HOUR_MS}));
    let mut client = sandbox.server().start_session();
    let busy = begin_endless(&mut client, "busy");
    let mut flood: Vec<i64> = (0..5).map(|_| begin_echo(&mut client, "flood", "flood")).collect();
    let mut lose_one = |client: &mut Client| {
        let (id, refusal) = next_of(client, &flood);
        assert_eq!(reason(&refusal), "queue_full", "{refusal}");
        flood.retain(|waiting| *waiting != id);
        flood.len()
    };
    assert_eq!(lose_one(&mut client), 4, "the lane is full");
    let others = [(); 2].map(|()| {
        let id = begin_echo(&mut client, "other", "other");
        lose_one(&mut client);
        id
    });
    let (_, refusal) = {
        let one_more = begin_echo(&mut client, "other", "other");
        next_of(&mut client, &[one_more])
    };
    assert_eq!(reason(&refusal), "queue_full", "half of the lane each is as fair as it gets: {refusal}");
    client.notify("notifications/cancelled", json!({"requestId": busy}));
    for (ids, said) in [(&others[..], "other"), (&flood[..], "flood")] {
        assert_eq!(ids.len(), 2);
        for id in ids {
            assert_eq!(text(&client.answer(*id)), said);
        }
    }
}

/// A session whose config says that calls may wait for a millisecond, with a tool of one worker.
fn impatient_session(sandbox: &Sandbox, interval_ms: u64) -> Client {
    sandbox.prebuilt_tool("probe", "probe", json!({"workers": 1, "deadline_ms": HOUR_MS}));
    let performance = json!({"codelTargetMs": 1, "codelIntervalMs": interval_ms});
    let config = sandbox.write("conf/config.json", json!({"performance": performance}).to_string());
    let mut server = sandbox.server();
    server.arg("--config").arg(config);
    let mut client = server.start_session();
    // How long a call takes is known once some have been made.
    for _ in 0..20 {
        client.call("probe", json!({"verb": "sleep", "ms": SLOW_MS}));
    }
    client
}

fn begin_burst(client: &mut Client) -> Vec<i64> {
    (0..BURST).map(|_| client.begin_call("probe", json!({"verb": "sleep", "ms": SLOW_MS}))).collect()
}

/// How many of `ids` were answered how: with no reason, well.
fn outcomes(client: &mut Client, ids: &[i64]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for id in ids {
        *counts.entry(reason(&client.answer(*id)).to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn a_burst_is_served_whole_although_its_last_calls_wait_for_long() {
    let sandbox = Sandbox::new();
    let mut client = impatient_session(&sandbox, 1);
    let burst = begin_burst(&mut client);
    assert_eq!(outcomes(&mut client, &burst), [(String::new(), BURST)].into());
}

#[test]
fn a_standing_queue_turns_newcomers_away_and_then_refuses_those_who_wait() {
    let sandbox = Sandbox::new();
    let mut client = impatient_session(&sandbox, 1);
    let burst = begin_burst(&mut client);
    // By then all calls have waited for long, and forty more do.
    let served: Vec<i64> = (0..BURST / 2).map(|_| next_of(&mut client, &burst).0).collect();
    let newcomer = client.call("probe", json!({"verb": "echo", "text": "x"}));
    assert_eq!(reason(&newcomer), "codel", "{newcomer}");
    assert_eq!(newcomer["error"]["data"]["retryable"], true, "{newcomer}");
    let rest: Vec<i64> = burst.into_iter().filter(|id| !served.contains(id)).collect();
    let outcomes = outcomes(&mut client, &rest);
    assert!(outcomes["codel"] > 0 && outcomes.keys().all(|reason| ["", "codel"].contains(&&**reason)), "{outcomes:?}");
    assert_eq!(client.call_text("probe", json!({"verb": "echo", "text": "x"})), "x", "it has run empty");
}

#[test]
fn another_tenant_is_let_in_while_one_stands() {
    let sandbox = Sandbox::new();
    let mut client = impatient_session(&sandbox, 1);
    let burst = begin_burst(&mut client);
    (0..BURST / 2).for_each(|_| drop(next_of(&mut client, &burst)));
    let other = begin_echo(&mut client, "other", "x");
    assert_eq!(text(&client.answer(other)), "x");
}

#[test]
fn without_an_interval_nobody_waits_too_long() {
    let sandbox = Sandbox::new();
    let mut client = impatient_session(&sandbox, 0);
    let mut burst = begin_burst(&mut client);
    (0..BURST / 2).for_each(|_| drop(next_of(&mut client, &burst)));
    burst = vec![client.begin_call("probe", json!({"verb": "echo", "text": "x"}))];
    assert_eq!(outcomes(&mut client, &burst), [(String::new(), 1)].into());
}
