//! `context`: what people see of the context engine's changes, and what they can do about them.

use serde_json::{Value, json};

use crate::support::{Sandbox, ServerCommand};

/// What a server has written that tried a deeper lane, kept it, and then tries another reuse count.
fn history(sandbox: &Sandbox) {
    let entry = |at_ms: u64, knob: &str, what: &str, from: u64, value: u64| {
        let mut entry = json!({
            "atMs": at_ms, "tool": "fs_read", "knob": knob, "what": what, "from": from, "value": value, "why": "a test"
        });
        if what == "configured" {
            entry["setting"] = json!({"configured": value, "least": 1, "most": 100_000});
        }
        entry.to_string() + "\n"
    };
    let entries = [
        entry(1_000, "laneDepth", "configured", 1024, 1024),
        entry(1_000, "reuseCalls", "configured", 10_000, 10_000),
        entry(1_000, "workers", "configured", 1, 1),
        entry(90_000, "laneDepth", "trial", 1024, 1126),
        entry(110_000, "laneDepth", "baseline", 1126, 1126),
        entry(190_000, "reuseCalls", "trial", 10_000, 9_091),
        entry(200_000, "workers", "proposed", 1, 1),
        entry(200_000, "p95Us", "objective", 450, 450),
    ];
    sandbox.write("state/tuning.jsonl", entries.concat());
}

/// Runs `nurones-mcp context` and returns its exit code, what it printed and what it complained of.
fn context(sandbox: &Sandbox, args: &[&str]) -> (i32, String, String) {
    let mut command = ServerCommand::bare();
    command.arg("context").args(args).env("NURONES_STATE_DIR", sandbox.path("state"));
    let output = command.command().output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What `show --json` says of one knob.
fn knob(sandbox: &Sandbox, name: &str) -> Value {
    let (code, said, complaint) = context(sandbox, &["show", "fs_read", "--json"]);
    assert_eq!((code, complaint.as_str()), (0, ""));
    let knobs: Vec<Value> = serde_json::from_str(&said).unwrap();
    knobs.into_iter().find(|knob| knob["knob"] == name).unwrap()
}

#[test]
fn before_anything_was_tuned_there_is_nothing_to_show() {
    let sandbox = Sandbox::new();
    for (args, said) in [
        (&["show"][..], "nothing was tuned yet; serve with --context-engine on\n"),
        (&["history"], "nothing was changed yet\n"),
    ] {
        assert_eq!(context(&sandbox, args), (0, said.to_owned(), String::new()));
    }
    assert!(!sandbox.path("state").exists(), "looking makes no folder");
    let (code, said, complaint) = context(&sandbox, &["pin", "fs_read", "laneDepth=5"]);
    assert_eq!((code, said.as_str()), (64, ""));
    assert!(complaint.contains("--context-engine on"), "{complaint}");
}

#[test]
fn show_says_where_each_knob_stands_and_history_how_it_came_there() {
    let sandbox = Sandbox::new();
    history(&sandbox);
    let (code, said, _) = context(&sandbox, &["show"]);
    assert_eq!(code, 0);
    assert!(said.contains("fs_read  laneDepth  1126 calls  (configured 1024; may be 1024 to 1238 today)"), "{said}");
    assert!(said.contains("reuseCalls  9091 calls  (configured 10000; on trial since 1970-01-01T00:03:10Z"), "{said}");
    assert!(
        said.contains(
            "workers  1 threads  (configured 1; proposed only: its manifest says it; at 1970-01-01T00:03:20Z more"
        ),
        "{said}"
    );
    assert!(said.contains("fs_read  objective  95 of 100 calls within 450 µs"), "{said}");
    let (code, said, _) = context(&sandbox, &["history"]);
    assert_eq!((code, said.lines().count()), (0, 8));
    assert!(said.contains("fs_read  laneDepth  trial: 1024 to 1126  (a test)"), "{said}");
}

#[test]
fn a_pinned_knob_stays_until_it_is_released() {
    let sandbox = Sandbox::new();
    history(&sandbox);
    assert_eq!(context(&sandbox, &["pin", "fs_read", "laneDepth=2048"]).0, 0);
    let pinned = knob(&sandbox, "laneDepth");
    assert_eq!((&pinned["value"], &pinned["pinned"]), (&json!(2048), &json!(true)));
    assert_eq!(context(&sandbox, &["rollback"]).0, 0);
    assert_eq!(knob(&sandbox, "laneDepth")["value"], 2048);
    assert_eq!(context(&sandbox, &["unpin", "fs_read"]).0, 0);
    assert_eq!(knob(&sandbox, "laneDepth")["pinned"], false);
    assert_eq!(context(&sandbox, &["unpin", "fs_read"]).1, "nothing to change\n");
}

#[test]
fn rollback_restores_what_was_configured() {
    let sandbox = Sandbox::new();
    history(&sandbox);
    let (code, said, complaint) = context(&sandbox, &["rollback", "fs_read"]);
    assert_eq!((code, said.lines().count(), complaint.as_str()), (0, 3, ""));
    assert_eq!(knob(&sandbox, "laneDepth")["value"], 1024);
    let reuse = knob(&sandbox, "reuseCalls");
    assert_eq!((&reuse["value"], &reuse["trial"]), (&json!(10_000), &Value::Null));
    assert_eq!(reuse["objectiveP95Us"], Value::Null, "it was forgotten");
    assert_eq!(context(&sandbox, &["rollback"]).1, "nothing to change\n");
}

#[test]
fn what_cannot_be_pinned_is_refused_with_what_can() {
    let sandbox = Sandbox::new();
    history(&sandbox);
    let before = sandbox.read_text("state/tuning.jsonl");
    for (args, part) in [
        (&["pin", "fs_reed", "laneDepth=5"][..], "known here: fs_read"),
        (&["pin", "fs_read", "lanes=5"], "it has workers, laneDepth, reuseCalls"),
        (&["pin", "fs_read", "workers=2"], "workers is only proposed; say it in the manifest"),
        (&["pin", "fs_read", "laneDepth=0"], "from 1 to 100000, not 0"),
        (&["pin", "fs_read", "laneDepth=-5"], "is not KNOB=VALUE"),
        (&["pin", "fs_read", "laneDepth"], "is not KNOB=VALUE"),
        (&["rollback", "fs_reed"], "known here: fs_read"),
    ] {
        let (code, said, complaint) = context(&sandbox, args);
        assert_eq!((code, said.as_str()), (64, ""), "{complaint}");
        assert!(complaint.contains(part), "{part} is not in: {complaint}");
    }
    assert_eq!(sandbox.read_text("state/tuning.jsonl"), before);
}

#[test]
fn a_cap_of_more_than_ten_percent_and_a_window_of_more_than_ten_seconds_are_refused() {
    let sandbox = Sandbox::new();
    let config =
        sandbox.write("c.json", json!({"context_engine": {"changeCapPctPerDay": 11, "windowMs": 10_001}}).to_string());
    let output = ServerCommand::bare().arg("tools").arg("--config").arg(config).command().output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let complaint = String::from_utf8(output.stderr).unwrap();
    for key in ["changeCapPctPerDay", "windowMs"] {
        assert!(complaint.contains(&format!("context_engine.{key}")), "{complaint}");
    }
}
