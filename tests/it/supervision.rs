//! The supervision log, as it is found on disk: what a person or a checker can rely on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Client, Sandbox, ServerCommand, log_lines, wait_for_log};

pub const LOG: &str = "supervision.jsonl";

pub fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    sandbox
}

pub fn server(sandbox: &Sandbox) -> ServerCommand {
    let mut server = sandbox.server();
    server.arg("--supervision-log").arg(sandbox.path(LOG));
    server
}

/// A server that lets a tool fail as often as it likes.
fn patient_server(sandbox: &Sandbox) -> ServerCommand {
    let config = sandbox.write(".mcp/config.json", r#"{"supervision":{"breakerCalls":0}}"#);
    let mut server = server(sandbox);
    server.arg("--config").arg(config);
    server
}

fn trap(client: &mut Client) {
    // More than half of the calls must not fail, or the breaker opens.
    client.assert_echoes("probe");
    assert_eq!(client.call_fault("probe", json!({"verb": "trap"})).0, "tool_trapped");
}

fn is(line: &Value, event: &str, path: &str) -> bool {
    line["event"] == event && line["path"] == path
}

/// Checks what holds for every log: one boot after another is numbered without a gap, and nothing was lost.
fn assert_numbered(lines: &[Value]) -> usize {
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines {
        assert_eq!(line["v"], 1, "{line}");
        assert_ne!(line["event"], "log_dropped", "{line}");
        assert!(line["ts"].as_str().is_some_and(|ts| ts.ends_with('Z')) && line["mono_us"].is_u64(), "{line}");
        let seq = next.entry(line["boot"].as_str().unwrap()).or_default();
        assert_eq!(line["seq"], *seq, "{line}");
        *seq += 1;
    }
    next.len()
}

/// Checks the story of every worker: it starts before it ends, and what ends is put back or was told to stop.
fn assert_lives_make_sense(lines: &[Value]) {
    let mut lives: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for line in lines {
        let event = line["event"].as_str().unwrap();
        if !["call_faulted", "boot", "stopped"].contains(&event) {
            lives.entry((line["boot"].as_str().unwrap(), line["path"].as_str().unwrap())).or_default().push(event);
        }
    }
    for (life, events) in lives {
        let (mut up, mut stopped) = (false, false);
        for (position, event) in events.iter().enumerate() {
            assert!(!stopped, "{life:?}: {event} after it was stopped: {events:?}");
            match *event {
                "child_started" | "restart_ok" => assert!(!std::mem::replace(&mut up, true), "{life:?}: {events:?}"),
                "child_exited" => {
                    up = false;
                    let next = events.get(position + 1).copied().unwrap_or("nothing");
                    let known = ["restart_scheduled", "quarantined", "child_stopped"];
                    assert!(known.contains(&next), "{life:?}: an exit is followed by {next}: {events:?}");
                }
                "child_stopped" => stopped = true,
                _ => {}
            }
        }
    }
}

#[test]
fn every_child_is_logged_when_it_starts() {
    let sandbox = sandbox();
    sandbox.prebuilt_tool("pair", "probe", json!({"workers": 2}));
    let mut client = server(&sandbox).start_session();
    client.assert_echoes("pair");
    for path in
        ["root/event_bus", "root/context", "root/tools", "root/tools/pair", "root/tools/pair/w0", "root/tools/pair/w1"]
    {
        let line = wait_for_log(&sandbox.path(LOG), |line| is(line, "child_started", path));
        assert_eq!(line["incarnation"], 0, "{line}");
    }
    let first = &log_lines(&sandbox.path(LOG))[0];
    assert_eq!((&first["event"], &first["path"], &first["seq"]), (&json!("boot"), &json!("root"), &json!(0)));
    let uncalled = |line: &Value| line["path"].as_str().is_some_and(|path| path.starts_with("root/tools/probe"));
    assert!(!log_lines(&sandbox.path(LOG)).iter().any(uncalled), "a tool that nobody calls has nothing that starts");
}

#[test]
fn a_trap_is_logged_with_its_reason_its_repair_and_its_trace() {
    let sandbox = sandbox();
    let mut client = server(&sandbox).start_session();
    let meta = json!({"io.nurones/context": {"reason_trace_id": "the-reason"}});
    let answer = client.request("tools/call", json!({"name": "probe", "arguments": {"verb": "trap"}, "_meta": meta}));
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let line = wait_for_log(&sandbox.path(LOG), |line| line["event"] == "call_faulted");
    assert_eq!(line["path"], "root/tools/probe/w0");
    assert_eq!(line["level"], "L1");
    assert_eq!(line["trace_id"], "the-reason");
    assert_eq!(line["reason"]["kind"], "tool_trapped");
    assert_eq!(line["reason"]["code"], "UnreachableCodeReached");
    assert_eq!(line["restart"]["what"], "store");
    assert!(line["restart"]["took_us"].is_u64(), "{line}");
    assert_eq!((&line["count"], &line["queue_depth"], &line["incarnation"]), (&json!(1), &json!(0), &json!(0)));
}

#[test]
fn a_fault_the_tool_explained_itself_is_no_matter_for_supervision() {
    let sandbox = sandbox();
    let mut client = server(&sandbox).start_session();
    assert_eq!(client.call_fault("fs_read", json!({"path": "missing.txt"})).0, "not_found");
    assert_eq!(client.call_fault("fs_read", json!({})).0, "invalid_arguments");
    client.finish();
    assert!(!log_lines(&sandbox.path(LOG)).iter().any(|line| line["event"] == "call_faulted"));
}

#[test]
fn faults_are_joined_and_their_counts_add_up() {
    const TRAPS: u64 = 60;
    let sandbox = sandbox();
    let mut client = patient_server(&sandbox).start_session();
    (0..TRAPS).for_each(|_| trap(&mut client));
    assert!(client.finish().1.success());
    let lines = log_lines(&sandbox.path(LOG));
    let counts: Vec<u64> = lines
        .iter()
        .filter(|line| is(line, "call_faulted", "root/tools/probe/w0"))
        .map(|line| line["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), TRAPS, "{counts:?}");
    assert_eq!(counts[0], 1, "the first is written at once");
    assert_numbered(&lines);
    assert_lives_make_sense(&lines);
}

#[test]
fn a_whole_run_is_numbered_without_a_gap_and_ends_with_stopped() {
    for input in ["", "garbage\n"] {
        let sandbox = sandbox();
        server(&sandbox).run(input).assert_success();
        let lines = log_lines(&sandbox.path(LOG));
        assert_eq!(assert_numbered(&lines), 1);
        assert_lives_make_sense(&lines);
        let last = lines.last().unwrap();
        assert!(is(last, "stopped", "root"), "{last}");
        assert_eq!(last["count"], 0, "no thread was left behind");
    }
}

#[test]
fn every_child_that_was_started_is_stopped_and_said_so() {
    let sandbox = sandbox();
    let mut client = server(&sandbox).start_session();
    client.assert_echoes("probe");
    assert!(client.finish().1.success());
    let lines = log_lines(&sandbox.path(LOG));
    assert_lives_make_sense(&lines);
    let paths = |event: &str| -> BTreeSet<&str> {
        lines.iter().filter(|line| line["event"] == event).map(|line| line["path"].as_str().unwrap()).collect()
    };
    assert_eq!(paths("child_started"), paths("child_stopped"));
    assert!(paths("child_started").contains("root/tools/probe/w0"), "{lines:?}");
}

#[test]
fn runs_one_after_the_other_are_kept_apart() {
    let sandbox = Sandbox::new();
    for _ in 0..20 {
        server(&sandbox).run("").assert_success();
    }
    let lines = log_lines(&sandbox.path(LOG));
    assert_eq!(assert_numbered(&lines), 20, "one boot per run");
    assert_lives_make_sense(&lines);
}

#[test]
fn two_processes_can_share_one_file() {
    let sandbox = sandbox();
    let (mut one, mut other) = (patient_server(&sandbox).start_session(), patient_server(&sandbox).start_session());
    for _ in 0..50 {
        trap(&mut one);
        trap(&mut other);
    }
    assert!(one.finish().1.success() && other.finish().1.success());
    let lines = log_lines(&sandbox.path(LOG));
    assert_eq!(assert_numbered(&lines), 2, "two boots");
    assert_lives_make_sense(&lines);
    let faults: u64 =
        lines.iter().filter(|line| line["event"] == "call_faulted").map(|line| line["count"].as_u64().unwrap()).sum();
    assert_eq!(faults, 100);
}

#[test]
fn the_log_of_a_killed_process_is_whole_up_to_its_end() {
    let sandbox = sandbox();
    let mut client = server(&sandbox).start_session();
    trap(&mut client);
    wait_for_log(&sandbox.path(LOG), |line| line["event"] == "call_faulted");
    client.signal("KILL");
    assert_eq!(client.ended().1.code(), None);
    server(&sandbox).run("").assert_success();
    assert_eq!(assert_numbered(&log_lines(&sandbox.path(LOG))), 2);
}

fn assert_usage_error(log: &Path) {
    let mut server = ServerCommand::bare();
    let output = server.arg("--supervision-log").arg(log).run("");
    assert_eq!(output.status.code(), Some(64), "{}", output.stderr);
    assert_eq!(output.stdout, "");
    let named = output.stderr.contains(&log.display().to_string()) && output.stderr.contains("supervision log");
    assert!(named, "{}", output.stderr);
}

#[test]
fn a_log_that_cannot_be_written_is_a_usage_error_that_names_it() {
    let sandbox = sandbox();
    assert_usage_error(&sandbox.path("no/such/folder/log.jsonl"));
    assert_usage_error(&sandbox.data());
}

#[test]
fn a_log_file_on_a_full_disk_does_not_disturb_the_service() {
    let sandbox = sandbox();
    let mut server = sandbox.server();
    let mut client = server.arg("--supervision-log").arg("/dev/full").start_session();
    trap(&mut client);
    assert_eq!(client.call_text("probe", json!({"verb": "echo", "text": "unharmed"})), "unharmed");
    assert!(client.finish().1.success());
}
