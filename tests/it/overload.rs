//! More than the server can do: an immediate answer that says when to come back, and nothing lost.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::stdio_kinds::in_time;
use crate::support::{Client, Sandbox};

const HOUR_MS: u64 = 3_600_000;

fn sandbox(queue_depth: u64) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "content");
    let limits = json!({"deadline_ms": HOUR_MS, "workers": 1, "queue_depth": queue_depth});
    sandbox.prebuilt_tool("probe", "probe", limits);
    sandbox
}

fn begin_sleep(client: &mut Client) -> i64 {
    client.begin_call("probe", json!({"verb": "sleep", "ms": HOUR_MS}))
}

fn assert_refused(answer: &Value, reason: &str) {
    let error = &answer["error"];
    assert_eq!(error["code"], -31503, "{answer}");
    assert_eq!(error["data"]["reason"], reason, "{answer}");
    assert_eq!(error["data"]["retryable"], true, "{answer}");
    assert!(error["data"]["retryAfterMs"].as_u64().is_some_and(|ms| ms >= 10), "{answer}");
}

#[test]
fn a_full_queue_answers_at_once_and_other_tools_do_not_notice() {
    let sandbox = sandbox(1);
    let mut client = sandbox.server().start_session();
    let sleepers: Vec<i64> = (0..50).map(|_| begin_sleep(&mut client)).collect();
    // One runs, one waits; the others are refused while both do.
    for _ in 0..48 {
        let refusal = client.next();
        assert!(sleepers.contains(&refusal["id"].as_i64().unwrap()));
        assert_refused(&refusal, "queue_full");
        assert_eq!(refusal["error"]["data"]["tool"], "probe");
    }
    assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), "content");
    assert_eq!(client.request("ping", json!({}))["result"], json!({}));
    assert!(client.request("tools/list", json!({}))["result"]["tools"].is_array());
    // As long as the first was still waiting itself, the second found the queue full too.
    let rest = client.leftovers();
    assert!(rest.len() <= 1, "{rest:?}");
    rest.iter().for_each(|refusal| assert_refused(refusal, "queue_full"));
}

#[test]
fn a_queue_that_was_full_takes_calls_again() {
    let sandbox = sandbox(1);
    let mut client = sandbox.server().start_session();
    let mut sleepers: Vec<i64> = (0..20).map(|_| begin_sleep(&mut client)).collect();
    for _ in 0..18 {
        let refused = client.next()["id"].as_i64().unwrap();
        sleepers.retain(|id| *id != refused);
    }
    for id in sleepers {
        client.notify("notifications/cancelled", json!({"requestId": id}));
    }
    assert_eq!(client.call_text("probe", json!({"verb": "echo", "text": "served"})), "served");
}

#[test]
fn past_the_inflight_limit_calls_are_refused_and_everything_else_is_answered() {
    let sandbox = sandbox(100);
    let mut client = sandbox.server().env("NURONES_MAX_INFLIGHT", "4").start_session();
    let sleepers = [(); 4].map(|()| begin_sleep(&mut client));
    for (tool, arguments) in [
        ("probe", json!({"verb": "echo", "text": "x"})),
        ("fs_read", json!({"path": "a.txt"})),
        ("no_such_tool", json!({})),
    ] {
        assert_refused(&client.call(tool, arguments), "inflight");
    }
    assert_eq!(client.request("ping", json!({}))["result"], json!({}));
    assert_eq!(client.request("tools/list", json!({}))["result"]["tools"].as_array().unwrap().len(), 3);
    assert_eq!(client.request("no/such/method", json!({}))["error"]["code"], -32601);
    // Calls are let in again below 60 % of what may be in flight.
    for id in &sleepers[..2] {
        client.notify("notifications/cancelled", json!({"requestId": id}));
    }
    assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), "content", "a cancel makes room");
    assert!(client.leftovers().is_empty(), "{:?}", client.leftovers());
}

#[test]
fn a_flood_gets_one_answer_per_call() {
    let sandbox = sandbox(8);
    let mut input = session_head();
    for id in 0..10_000 {
        input.push_str(&call_line(id, "probe", &json!({"verb": "echo", "text": id.to_string()})));
    }
    let output = sandbox.server().env("NURONES_MAX_INFLIGHT", "64").run(input);
    output.assert_success();
    let mut answers: BTreeMap<u64, Value> = BTreeMap::new();
    for message in output.messages() {
        let Some(id) = message["id"].as_u64() else { continue };
        assert!(answers.insert(id, message).is_none(), "two answers to {id}");
    }
    assert_eq!(answers.len(), 10_000);
    let mut served = 0;
    for (id, answer) in answers {
        if answer.get("error").is_some() {
            let reason = answer["error"]["data"]["reason"].as_str().unwrap().to_owned();
            assert!(["queue_full", "inflight"].contains(&reason.as_str()), "{answer}");
            assert_refused(&answer, &reason);
        } else {
            assert_eq!(answer["result"]["content"][0]["text"], id.to_string());
            served += 1;
        }
    }
    assert!(served >= 8, "only {served} were served");
}

fn session_head() -> String {
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}});
    let initialize = json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": params});
    format!("{initialize}\n{}\n", json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
}

fn call_line(id: u64, tool: &str, arguments: &Value) -> String {
    let params = json!({"name": tool, "arguments": arguments});
    format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}))
}

#[test]
fn a_client_that_does_not_read_for_a_while_loses_nothing() {
    let outcomes = read_late(100, 200_000);
    assert!(outcomes.iter().all(|outcome| outcome.as_deref() == Some("")), "{outcomes:?}");
}

#[test]
fn a_client_that_asks_for_more_than_it_reads_is_refused_the_rest() {
    let outcomes = read_late(100, 4_000_000);
    let count = |wanted: &str| outcomes.iter().filter(|outcome| outcome.as_deref() == Some(wanted)).count();
    assert!(count("") >= 8 && count("") + count("inflight") == 100, "{outcomes:?}");
}

/// Makes so many calls for so many bytes each, begins to read when the server can write no more, and returns how each was
/// answered: with no reason, well and whole.
fn read_late(calls: usize, bytes: usize) -> Vec<Option<String>> {
    let (done, outcomes) = std::sync::mpsc::channel();
    let sandbox = sandbox(1000);
    let mut server = sandbox.server();
    let mut child =
        server.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    in_time(move || {
        let mut seen = vec![None; calls];
        let mut stdin = child.stdin.take().unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut input = session_head();
        let big = json!({"verb": "big", "bytes": bytes});
        (0..calls).for_each(|id| input.push_str(&call_line(id as u64, "probe", &big)));
        // Several times as much as all buffers hold, so the server has to wait for this client.
        let writer = std::thread::spawn(move || {
            stdin.write_all(input.as_bytes()).unwrap();
            drop(stdin);
        });
        wait_until_full(&stdout);
        for line in BufReader::new(stdout).lines() {
            let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let Some(id) = message["id"].as_u64() else { continue };
            let outcome = match message["error"]["data"]["reason"].as_str() {
                Some(reason) => reason.to_owned(),
                None => {
                    assert_eq!(message["result"]["content"][0]["text"].as_str().unwrap().len(), bytes);
                    String::new()
                }
            };
            assert_eq!(seen[id as usize].replace(outcome), None, "two answers to {id}");
        }
        writer.join().unwrap();
        assert!(child.wait().unwrap().success());
        done.send(seen).unwrap();
    });
    outcomes.recv().unwrap()
}

/// Waits until the pipe takes no more.
fn wait_until_full(pipe: &std::process::ChildStdout) {
    const PIPE_BYTES: u64 = 60_000;
    while rustix::io::ioctl_fionread(pipe).unwrap() < PIPE_BYTES {
        std::thread::yield_now();
    }
}
