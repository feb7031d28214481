//! How a session ends: everything owed is answered first, whatever ends it.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::stdio_kinds::in_time;
use crate::support::{Client, Sandbox, ServerCommand, fault};

const HOUR_MS: u64 = 3_600_000;

/// A sandbox with a probe that may sleep for an hour, and a config that drains for `drain_ms`.
fn sandbox(drain_ms: u64) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "content");
    sandbox.prebuilt_tool("probe", "probe", json!({"deadline_ms": HOUR_MS, "workers": 1}));
    sandbox.write("conf/config.json", json!({"shutdown": {"drainMs": drain_ms}}).to_string());
    sandbox
}

fn server(sandbox: &Sandbox) -> ServerCommand {
    let mut server = sandbox.server();
    server.arg("--config").arg(sandbox.path("conf/config.json"));
    server
}

fn head() -> String {
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}});
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    format!("{initialize}\n{}\n", json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
}

fn read_line(id: i64) -> String {
    let params = json!({"name": "fs_read", "arguments": {"path": "a.txt"}});
    format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}))
}

fn assert_read(answer: &Value) {
    assert_eq!(answer["result"]["content"][0]["text"], "content", "{answer}");
}

#[test]
fn a_whole_legacy_session_can_be_piped_in() {
    let sandbox = sandbox(5000);
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let output = server(&sandbox).run(format!("{}{list}\n{}", head(), read_line(2)));
    output.assert_success();
    assert_eq!(output.messages().len(), 3);
    assert_eq!(output.answer(0)["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(output.answer(1)["result"]["tools"].as_array().unwrap().len(), 3);
    assert_read(&output.answer(2));
    assert_eq!(output.stderr, "", "nothing to complain about");
}

#[test]
fn a_whole_modern_session_can_be_piped_in() {
    let sandbox = sandbox(5000);
    let params = crate::eras::modern(json!({"name": "fs_read", "arguments": {"path": "a.txt"}}));
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let output = server(&sandbox).run(format!("{request}\n"));
    output.assert_success();
    assert_eq!(output.messages().len(), 1);
    assert_read(&output.answer(1));
}

#[test]
fn five_hundred_calls_and_then_the_end_are_five_hundred_answers() {
    let sandbox = sandbox(60_000);
    let mut input = head();
    (1..=500).for_each(|id| input.push_str(&read_line(id)));
    let output = server(&sandbox).run(input);
    output.assert_success();
    assert_eq!(output.messages().len(), 501);
    (1..=500).for_each(|id| assert_read(&output.answer(id)));
}

#[test]
fn an_end_before_any_request_is_a_success() {
    for input in ["", "\n", "\r\n\n", "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n"] {
        let output = ServerCommand::bare().run(input);
        output.assert_success();
        assert_eq!(output.stdout, "", "{input:?}");
    }
}

#[test]
fn an_end_after_a_bad_line_only_is_a_success() {
    let output = ServerCommand::bare().run("garbage\n");
    output.assert_success();
    assert_eq!(output.messages()[0]["error"]["code"], -32700);
}

#[test]
fn a_line_torn_by_the_end_is_dropped() {
    let sandbox = sandbox(5000);
    for torn in [r#"{"jsonrpc":"2.0","id":2,"meth"#, r#"{"jsonrpc":"2.0","id":2,"method":"ping""#, "{", "garbage"] {
        let output = server(&sandbox).run(format!("{}{}{torn}", head(), read_line(1)));
        output.assert_success();
        assert_eq!(output.messages().len(), 2, "{torn}: {}", output.stdout);
        assert_read(&output.answer(1));
    }
}

#[test]
fn a_last_line_without_a_newline_counts() {
    let sandbox = sandbox(5000);
    let output = server(&sandbox).run(format!("{}{}", head(), read_line(1).trim_end()));
    output.assert_success();
    assert_read(&output.answer(1));
    let refused = server(&sandbox).run(format!("{}[]", head()));
    refused.assert_success();
    assert_eq!(refused.messages()[1]["error"]["code"], -32600);
}

/// Begins a sleep of an hour, one call that waits behind it, and one of another tool that is over.
fn begin_sleep_and_wait(client: &mut Client) -> (i64, i64) {
    let sleeper = client.begin_call("probe", json!({"verb": "sleep", "ms": HOUR_MS}));
    let waiting = client.begin_call("probe", json!({"verb": "echo", "text": "x"}));
    assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), "content");
    (sleeper, waiting)
}

fn assert_interrupted(rest: &[Value], sleeper: i64, waiting: i64) {
    assert_eq!(rest.len(), 2, "{rest:?}");
    let answer = |id: i64| rest.iter().find(|message| message["id"] == id).unwrap_or_else(|| panic!("no {id}"));
    let (code, text) = fault(answer(sleeper));
    assert_eq!(code, "worker_lost");
    assert!(text.contains("shutting down"), "{text}");
    let refusal = &answer(waiting)["error"];
    assert_eq!((&refusal["code"], &refusal["data"]["reason"]), (&json!(-31503), &json!("shutting_down")), "{refusal}");
    assert_eq!(refusal["data"]["retryable"], false);
}

#[test]
fn a_guest_that_sleeps_when_the_input_ends_is_interrupted_and_answered() {
    let sandbox = sandbox(100);
    let mut client = server(&sandbox).start_session();
    let (sleeper, waiting) = begin_sleep_and_wait(&mut client);
    let (rest, status) = client.finish();
    assert_interrupted(&rest, sleeper, waiting);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_guest_that_loops_when_the_input_ends_is_interrupted_and_answered() {
    let sandbox = sandbox(100);
    let mut client = server(&sandbox).start_session();
    let id = client.begin_call("probe", json!({"verb": "spin"}));
    let (rest, status) = client.finish();
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!((rest[0]["id"].as_i64(), fault(&rest[0]).0.as_str()), (Some(id), "worker_lost"));
    assert!(status.success());
}

#[test]
fn a_signal_ends_the_session_like_the_end_of_input() {
    for signal in ["TERM", "INT", "HUP"] {
        let sandbox = sandbox(100);
        let mut client = server(&sandbox).start_session();
        let (sleeper, waiting) = begin_sleep_and_wait(&mut client);
        client.signal(signal);
        let (rest, status) = client.ended();
        assert_interrupted(&rest, sleeper, waiting);
        assert_eq!(status.code(), Some(0), "{signal}");
    }
}

#[test]
fn a_signal_lets_calls_finish_that_can() {
    let sandbox = sandbox(60_000);
    let mut client = server(&sandbox).start_session();
    let ids: Vec<i64> = (0..3).map(|_| client.begin_call("probe", json!({"verb": "sleep", "ms": 50}))).collect();
    // Once this is answered the three have been taken on.
    client.request("ping", json!({}));
    client.signal("TERM");
    let (rest, status) = client.ended();
    for id in ids {
        let answer = rest.iter().find(|message| message["id"] == id).unwrap_or_else(|| panic!("no {id} in {rest:?}"));
        assert_eq!(answer["result"]["content"][0]["text"], "slept 50 ms");
    }
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_signal_ends_an_idle_session_and_one_that_never_began() {
    let mut idle = ServerCommand::bare().start_session();
    idle.signal("TERM");
    assert_eq!(idle.ended().1.code(), Some(0));
    let mut fresh = ServerCommand::bare().start();
    // The answer shows that the process is up; it is no request.
    fresh.send_line("garbage");
    fresh.next();
    fresh.signal("TERM");
    let (rest, status) = fresh.ended();
    assert_eq!((rest.len(), status.code()), (0, Some(0)));
}

#[test]
fn a_second_signal_ends_the_process_at_once_with_its_number() {
    for (signal, code) in [("TERM", 128 + 15), ("INT", 128 + 2), ("HUP", 128 + 1)] {
        let sandbox = sandbox(HOUR_MS);
        let mut client = server(&sandbox).start_session();
        begin_sleep_and_wait(&mut client);
        // Signals that come too close together are one; so it is sent until it has come a second time.
        while !client.has_ended() {
            client.signal(signal);
        }
        let (rest, status) = client.ended();
        assert_eq!(status.code(), Some(code), "{signal}");
        assert!(rest.is_empty(), "{rest:?}");
    }
}

#[test]
fn a_client_that_closes_its_reading_end_ends_the_process() {
    in_time(|| {
        let sandbox = sandbox(HOUR_MS);
        let mut command = server(&sandbox);
        let mut child =
            command.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(head().as_bytes()).unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut String::new()).unwrap();
        drop(stdout);
        stdin.write_all(read_line(1).as_bytes()).unwrap();
        // The input stays open: only the broken output can be the reason to end.
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(74), "{}", output.status);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        drop(stdin);
    });
}

#[test]
fn a_client_that_is_gone_is_not_waited_for_by_a_sleeping_guest() {
    in_time(|| {
        let sandbox = sandbox(HOUR_MS);
        let mut command = server(&sandbox);
        let mut child =
            command.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        drop(child.stdout.take());
        let sleep = json!({"name": "probe", "arguments": {"verb": "sleep", "ms": HOUR_MS}});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": sleep});
        stdin.write_all(format!("{}{call}\n", head()).as_bytes()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(74));
        drop(stdin);
    });
}

#[test]
fn requests_after_a_signal_are_not_taken_on_and_those_before_are_answered_once() {
    let sandbox = sandbox(100);
    let mut client = server(&sandbox).start_session();
    let ids: Vec<i64> = (0..200).map(|_| client.begin_call("fs_read", json!({"path": "a.txt"}))).collect();
    client.signal("TERM");
    let (rest, status) = client.ended();
    assert_eq!(status.code(), Some(0));
    let mut answered: Vec<i64> = rest.iter().map(|message| message["id"].as_i64().unwrap()).collect();
    answered.sort_unstable();
    // What the server had not read yet is not answered, and that is a tail of what was sent.
    assert_eq!(answered, ids[..answered.len()], "one answer each, none left out");
    rest.iter().for_each(assert_read);
}
