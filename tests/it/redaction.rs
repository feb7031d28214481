//! Canaries: secrets put wherever a client, a guest or a file can put them appear in no log, span or record, and the answers
//! have them as they are.

use std::process::Command;

use serde_json::json;

use crate::collector::Collector;
use crate::supervision::LOG;
use crate::support::{SERVER, Sandbox, fault};

/// The value of an environment variable named like a secret: known by value, as it has no form.
const REGISTERED: &str = "winter \"mute\" 7/x";

/// What is known by its form.
const FORMED: [&str; 9] = [
    "ann.bee@mail.example.org",
    "+49 30 1234-5678",
    "4111 1111 1111 1111",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "sk-ant-api03-abcdefghijklmnopqrstuvwxyz",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJlLW9mLWFubg",
    "q7Zt3mVx9LpK2nR8sWd4fHj6bYc1gTe5",
    "postgres://ann:hunter2hunter2@db/x",
];

/// Parts of the canaries that are a leak by themselves.
const PARTS: [&str; 4] = ["mute", "hunter2hunter2", "ann.bee", "1111 1111"];

/// All bytes of a database of the state folder, whatever SQLite has put where.
fn kept(sandbox: &Sandbox, name: &str) -> String {
    let files = ["", "-wal"].map(|suffix| sandbox.path(&format!("state/{name}{suffix}")));
    let bytes: Vec<u8> = files.iter().flat_map(|file| std::fs::read(file).unwrap_or_default()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn canaries() -> impl Iterator<Item = &'static str> {
    FORMED.into_iter().chain([REGISTERED])
}

fn assert_no_canary(sink: &str, text: &str) {
    for canary in FORMED.into_iter().filter(|canary| !canary.contains("://")).chain(PARTS) {
        if let Some(line) = text.lines().find(|line| line.contains(canary)) {
            panic!("{sink} has {canary}:\n{}", &line[..line.floor_char_boundary(2000)]);
        }
    }
}

#[test]
fn no_secret_of_calls_guests_and_files_reaches_a_log_a_span_a_record_the_trail_or_the_journal() {
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    sandbox.write("tools/ann.bee@mail.example.org.json", r#"{"sk-ant-api03-abcdefghijklmnopqrstuvwxyz": 1}"#);
    sandbox.write("config.json", r#"{"audit": {"calls": "all"}, "events": {"journal": "all"}}"#);
    let mut server = sandbox.server();
    server.args(["--supervision-log".as_ref(), sandbox.path(LOG).as_os_str()]);
    server.arg("--config").arg(sandbox.path("config.json")).arg("--state-dir").arg(sandbox.path("state"));
    let mut client =
        collector.attach(&mut server).env("NURONES_LOG", "debug").env("DB_PASSWORD", REGISTERED).start_session();
    for canary in canaries() {
        let echoed = client.call_text("probe", json!({"verb": "echo", "text": canary}));
        assert_eq!(echoed, canary, "an answer is not altered");
        client.call_text("probe", json!({"verb": "log", "text": format!("login with {canary} failed")}));
        // A line that is cut in the middle of the secret.
        let long = format!("{}{canary}", "a ".repeat(1022));
        client.call_text("probe", json!({"verb": "log", "text": long}));
        client.call_fault("probe", json!({"verb": "panic", "text": format!("no {canary}")}));
        let (_, told) = client.call_fault("probe", json!({"verb": "read", "path": format!("none/{canary}")}));
        assert!(!told.contains("[redacted"), "{told}");
        client.call_fault("fs_read", json!({"path": format!("none {canary}")}));
        client.call(&format!("no {canary}"), json!({}));
        let frame = json!({"reason_trace_id": format!("for {canary}"), "tenant_id": "acme"});
        fault(&client.call_framed("probe", json!({"verb": "trap"}), frame));
    }
    client.call("probe", json!({"verb": "echo", "text": "x", "password": "hunter2hunter2"}));
    let stderr = client.all_it_said();
    let records = sandbox.read_text(LOG);
    let spans = collector.rest();
    assert!(
        stderr.contains("CallToolRequest(Request {") && stderr.contains("rmcp::service"),
        "whole requests are logged: {stderr:.2000}"
    );
    assert!(spans.len() >= 6 * FORMED.len() && records.contains("call_faulted"));
    let spans = format!("{spans:#?}");
    let (trail, journal) = (kept(&sandbox, "audit.db"), kept(&sandbox, "events.db"));
    assert!(trail.contains("call_id") && journal.contains("call_finished"), "{trail:.2000}\n{journal:.2000}");
    let sinks = [
        ("standard error", &stderr),
        ("a span", &spans),
        ("a record", &records),
        ("the audit trail", &trail),
        ("the journal", &journal),
    ];
    for (sink, text) in sinks {
        assert_no_canary(sink, text);
        assert!(text.contains("[redacted:email]"), "{sink} has none of them at all");
    }
    assert!(stderr.contains("[redacted:secret DB_PASSWORD]") && stderr.contains("not served"), "{stderr:.2000}");
}

#[test]
fn a_log_with_redacted_records_still_keeps_its_rules() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    sandbox.write("tools/ann.bee@mail.example.org.json", "{}");
    let mut server = sandbox.server();
    let log = sandbox.path(LOG);
    let mut client = server.args(["--supervision-log".as_ref(), log.as_os_str()]).start_session();
    client.call_fault("probe", json!({"verb": "trap"}));
    assert!(client.finish().1.success());
    assert!(sandbox.read_text(LOG).contains("[redacted:email]"));
    let check = Command::new(SERVER).args(["log", "check"]).arg(&log).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[test]
fn the_config_adds_variables_patterns_and_the_home_folder() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let redaction = json!({"homePaths": true, "secrets": ["MY_THING", "NOT_SET"], "patterns": ["CASE-[0-9]+"]});
    let config = sandbox.write(".mcp/config.json", json!({ "redaction": redaction }).to_string());
    let mut server = sandbox.server();
    server.arg("--config").arg(config).env("HOME", sandbox.root()).env("MY_THING", "plainvalue");
    let mut client = server.start_session();
    let text = format!("{}/notes of CASE-123 say plainvalue", sandbox.root().display());
    client.call_text("probe", json!({"verb": "log", "text": text}));
    let said = client.all_it_said();
    assert!(said.contains("~/notes of [redacted:pattern] say [redacted:secret MY_THING]"), "{said}");
}

#[test]
fn mistakes_in_the_redaction_are_named_with_what_to_do() {
    let sandbox = Sandbox::new();
    let config = sandbox.write(".mcp/config.json", r#"{"redaction": {"patterns": ["("], "secrets": ["SHORT"]}}"#);
    let complain = |file| {
        let mut server = sandbox.server();
        let output = server.arg("--config").arg(file).env("SHORT", "12345").run("");
        assert_eq!(output.status.code(), Some(64));
        output.stderr
    };
    assert!(complain(config).contains("`redaction.patterns` has a mistake in number 1: it is no regular expression"));
    let config = sandbox.write(".mcp/config.json", r#"{"redaction": {"secrets": ["SHORT"]}}"#);
    let said = complain(config);
    assert!(said.contains("SHORT") && said.contains("6 to") && !said.contains("12345"), "{said}");
}

#[test]
fn a_command_line_that_is_wrong_is_not_quoted_with_its_secrets() {
    for args in [&["ghp_abcdefghijklmnopqrstuvwxyz0123456789"][..], &["--allow", "/no/ann.bee@mail.example.org"]] {
        let output = Command::new(SERVER).args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(64) && said.contains("[redacted:"), "{said}");
        assert_no_canary("standard error", &said);
    }
}

#[test]
fn a_line_of_the_log_is_bounded_and_says_so() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().env("NURONES_LOG", "debug").start_session();
    let text = "a few words ".repeat(20_000);
    // With a progress token rmcp sees the call, and says what it sees.
    let params = json!({"name": "probe", "arguments": {"verb": "echo", "text": text}, "_meta": {"progressToken": 1}});
    client.request("tools/call", params);
    let said = client.all_it_said();
    assert!(said.lines().all(|line| line.len() < 66_000));
    assert!(said.contains(" [cut: the line is longer than a line of the log may be]\n"), "nothing was cut");
}
