//! Events and their journal: what is written, what survives, and what the command shows of it.

use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use nurones_mcp::drill::console::Console;
use nurones_mcp::failpoint::control::{Command, Doing};
use serde_json::{Value, json};

use crate::support::{Output, PATIENCE, Sandbox, ServerCommand};

/// A server that keeps `events` of its own folder's journal.
fn server(sandbox: &Sandbox, events: &str) -> ServerCommand {
    let mut server = sandbox.server();
    server.env("NURONES_STATE_DIR", sandbox.path("state")).env("NURONES_EVENTS_JOURNAL", events);
    server
}

/// What `events` says of that journal.
fn events(sandbox: &Sandbox, args: &[&str]) -> Output {
    let mut command = ServerCommand::bare();
    command.env("NURONES_STATE_DIR", sandbox.path("state")).arg("events").args(args);
    command.run("")
}

/// The journal's entries, as far as `args` ask for them.
fn entries(sandbox: &Sandbox, args: &[&str]) -> Vec<Value> {
    let output = events(sandbox, &[&["--json"], args].concat());
    assert!(output.status.success(), "{}", output.stderr);
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn types(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["type"].as_str().unwrap()).collect()
}

/// The offsets must be the numbers from 0 on: with all events kept, a prefix of what happened.
fn is_prefix(entries: &[Value]) -> bool {
    let numbered = |(number, entry): (usize, &Value)| entry["seq"] == number && entry["offset"] == number;
    entries.iter().enumerate().all(numbered)
}

#[test]
fn a_server_without_a_journal_makes_no_file_and_the_command_says_how_to_keep_one() {
    let sandbox = Sandbox::new();
    let mut client = server(&sandbox, "off").start_session();
    client.call("fs_read", json!({"path": "missing.txt"}));
    client.finish();
    assert!(!sandbox.path("state").exists());
    let output = events(&sandbox, &[]);
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stderr.contains("NURONES_EVENTS_JOURNAL=critical"), "{}", output.stderr);
}

#[test]
fn the_whole_life_of_a_server_is_in_the_journal_in_order() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "a");
    let mut client = server(&sandbox, "all").start_session();
    client.call_text("fs_read", json!({"path": "a.txt"}));
    client.call_framed("fs_read", json!({"path": "a.txt"}), json!({"reason_trace_id": "trace-7"}));
    client.finish();
    let all = entries(&sandbox, &[]);
    assert!(is_prefix(&all), "{all:?}");
    let types = types(&all);
    assert_eq!((types.first(), types.last()), (Some(&"boot"), Some(&"stopped")), "{types:?}");
    assert_eq!(types.iter().filter(|kind| **kind == "call_finished").count(), 2, "{types:?}");
    let traced = entries(&sandbox, &["--trace", "trace-7"]);
    assert_eq!(traced.len(), 1);
    assert!(traced[0]["data"]["took_us"].as_u64().is_some(), "{}", traced[0]);
    assert_eq!(traced[0]["stream"], "root/tools/fs_read/w0");
    let number = traced[0]["number"].to_string();
    let later = entries(&sandbox, &["--since", &number, "--type", "stopped", "--type", "call_finished"]);
    assert_eq!(self::types(&later), ["call_finished", "stopped"]);
    let shown = events(&sandbox, &["--type", "stopped"]);
    assert!(shown.stdout.contains(" critical stopped root {"), "{}", shown.stdout);
    let checked = events(&sandbox, &["--check"]);
    assert_eq!(checked.stdout, format!("{} events of 1 runs of a server, no gap\n", all.len()));
}

#[test]
fn a_journal_of_critical_events_tells_of_workers_and_not_of_calls() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "a");
    for _ in 0..2 {
        let mut client = server(&sandbox, "critical").start_session();
        client.call_text("fs_read", json!({"path": "a.txt"}));
        client.finish();
    }
    let all = entries(&sandbox, &[]);
    let types = types(&all);
    assert_eq!(types.iter().filter(|kind| **kind == "boot").count(), 2, "{types:?}");
    assert!(types.contains(&"child_started") && !types.contains(&"call_finished"), "{types:?}");
    assert!(events(&sandbox, &["--check"]).stdout.contains("of 2 runs of a server, no gap"));
}

#[test]
fn killed_at_any_point_the_journal_is_a_prefix_of_what_happened() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "a");
    let mut left = Vec::new();
    for point in ["journal.insert", "journal.trim", "journal.commit", "journal.committed"] {
        for skip in [0, 2] {
            let (console, inherited) = Console::open().unwrap();
            let [commands, answers] = inherited.numbers().map(|number| number.to_string());
            let mut server = server(&sandbox, "all");
            let mut client = server.args(["drilled", "--commands", &commands, "--answers", &answers]).start_session();
            drop(inherited);
            let arm = point.to_owned();
            console.obey(&Command::Arm { arm, action: Doing::Kill, only: None, skip, times: Some(1) }).unwrap();
            let (mut id, patience) = (10, Instant::now() + PATIENCE);
            while !client.has_ended() {
                assert!(Instant::now() < patience, "the point {point} was not passed");
                let params = json!({"name": "fs_read", "arguments": {"path": "a.txt"}});
                let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
                // Once it is killed nobody takes it.
                client.try_send_bytes(format!("{call}\n").as_bytes());
                id += 1;
            }
            // Nothing but the point sends this signal: it was struck.
            assert_eq!(client.status().signal(), Some(9), "{point} {skip}");
            let checked = events(&sandbox, &["--check"]);
            assert!(checked.status.success(), "{point} {skip}: {}", checked.stdout);
            let all = entries(&sandbox, &[]);
            let last = all.last().map(|entry| entry["boot"].clone());
            let of_last: Vec<Value> = all.into_iter().filter(|entry| Some(&entry["boot"]) == last.as_ref()).collect();
            assert!(is_prefix(&of_last), "{point} {skip}");
            left.push(of_last.len());
        }
    }
    assert!(left.iter().any(|events| *events > 1), "{left:?}");
}
