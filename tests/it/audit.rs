//! The audit trail: what is in it, what is not, that it cannot be altered unseen, and that a call can be told and made again.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::eras::modern;
use crate::output::Output;
use crate::support::{Client, Sandbox, ServerCommand, fault, text};

/// A server of a project whose config says `audit`, with its trail in a folder of this test.
fn project(audit: Value) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "whole");
    sandbox.prebuilt_tool("probe", "probe", json!({"permissions": ["read", "write"]}));
    let config = json!({"policies": {"fs_allowlist": ["data:rw"]}, "audit": audit, "events": {"journal": "critical"}});
    sandbox.write(".mcp/config.json", config.to_string());
    sandbox
}

fn nurones(sandbox: &Sandbox) -> ServerCommand {
    let mut server = ServerCommand::bare();
    server.arg("--config").arg(sandbox.path(".mcp/config.json"));
    server.arg("--tools").arg(sandbox.path("tools")).arg("--state-dir").arg(sandbox.path("state"));
    server
}

fn run(sandbox: &Sandbox, args: &[&str]) -> Output {
    nurones(sandbox).args(args).run("")
}

fn call_id(answer: &Value) -> String {
    let id = match &answer["result"] {
        Value::Null => &answer["error"]["data"]["callId"],
        result => &result["_meta"]["io.nurones/callId"],
    };
    id.as_str().unwrap_or_else(|| panic!("no call id in {answer}")).to_owned()
}

/// Every entry, the newest first.
fn entries(sandbox: &Sandbox) -> Vec<Value> {
    let shown = run(sandbox, &["audit", "show", "--json", "--limit", "10000"]);
    shown.assert_success();
    shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn write(client: &mut Client, path: &str, content: &str) -> Value {
    client.call("fs_write", json!({"path": path, "content": content, "mode": "overwrite"}))
}

fn end(client: Client) {
    let (_, status) = client.finish();
    assert!(status.success());
}

#[test]
fn changes_and_denials_are_written_down_and_reads_are_not() {
    let sandbox = project(json!({"calls": "changes"}));
    let mut client = nurones(&sandbox).start_session();
    let wrote = write(&mut client, "b.txt", "four");
    assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), "whole");
    assert!(client.call("fs_read", json!({"path": "a.txt"}))["result"]["_meta"].get("io.nurones/callId").is_none());
    let trapped = client.call("probe", json!({"verb": "trap"}));
    let wrong = client.call("probe", json!({"verb": 7}));
    let risky = client.call_framed("fs_write", json!({"path": "c", "content": "x"}), json!({"risk_level": 2}));
    assert_eq!(fault(&risky).0, "permission_denied");
    end(client);
    let entries = entries(&sandbox);
    let ids: Vec<&str> = entries.iter().map(|entry| entry["call_id"].as_str().unwrap()).collect();
    assert_eq!(ids, [call_id(&risky), call_id(&wrong), call_id(&trapped), call_id(&wrote)], "the newest first");
    let seen: Vec<(&Value, &Value, &Value)> =
        entries.iter().map(|entry| (&entry["tool"], &entry["outcome"], &entry["code"])).collect();
    assert_eq!(
        seen,
        [
            (&json!("fs_write"), &json!("refused"), &json!("permission_denied")),
            (&json!("probe"), &json!("refused"), &json!("invalid_arguments")),
            (&json!("probe"), &json!("faulted"), &json!("tool_trapped")),
            (&json!("fs_write"), &json!("finished"), &Value::Null),
        ]
    );
    assert_eq!((&entries[0]["decision"]["allowed"], &entries[3]["decision"]["allowed"]), (&json!(false), &json!(true)));
    assert_eq!(entries[3]["arguments"]["shape"], "{content: string(4), mode: string(9), path: string(5)}");
    assert!(!entries.iter().any(|entry| entry.to_string().contains("four")), "arguments are not kept");
}

#[test]
fn every_way_a_call_can_take_is_written_down_in_both_eras() {
    let sandbox = project(json!({"calls": "all"}));
    let mut client = nurones(&sandbox).start_session();
    let mut ids = Vec::new();
    ids.push(call_id(&client.call("fs_read", json!({"path": "a.txt"}))));
    ids.push(call_id(&client.call("fs_read", json!({"path": "missing"}))));
    // With a progress token, a call goes by way of the SDK.
    let params = json!({"name": "fs_read", "arguments": {"path": "a.txt"}, "_meta": {"progressToken": 1}});
    ids.push(call_id(&client.request("tools/call", params)));
    let keyed = json!({"name": "fs_read", "arguments": {"path": "a.txt"}, "_meta": {"io.nurones/idempotencyKey": "k"}});
    ids.push(call_id(&client.request("tools/call", keyed.clone())));
    ids.push(call_id(&client.request("tools/call", keyed)));
    let blob = sandbox.write("data/b.bin", [0xff, 0xfe]);
    ids.push(call_id(&client.call("fs_read", json!({"path": blob}))));
    let cancelled = client.begin_call("probe", json!({"verb": "spin"}));
    client.notify("notifications/cancelled", json!({"requestId": cancelled}));
    // The worker is free again, so the cancelled call has ended.
    assert_eq!(client.call_text("probe", json!({"verb": "echo", "text": "x"})), "x");
    end(client);
    let mut client = nurones(&sandbox).start();
    ids.push(call_id(
        &client.request("tools/call", modern(json!({"name": "fs_read", "arguments": {"path": "a.txt"}}))),
    ));
    end(client);
    let shell = run(&sandbox, &["call", "fs.read", r#"{"path":"a.txt"}"#]);
    assert_eq!(shell.assert_success().stdout, "whole");
    let mut entries = entries(&sandbox);
    entries.reverse();
    let outcomes: Vec<&str> = entries.iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
    assert_eq!(
        outcomes,
        [
            "finished",
            "faulted",
            "finished",
            "finished",
            "replayed",
            "finished",
            "cancelled",
            "finished",
            "finished",
            "finished"
        ]
    );
    for id in ids {
        assert!(entries.iter().any(|entry| entry["call_id"] == id.as_str()), "{id}");
    }
    let answers: Vec<&Value> = entries.iter().map(|entry| &entry["answer"]["sha256"]).collect();
    assert_eq!((answers[0], answers[0]), (answers[2], answers[4]), "the same answer has the same digest");
}

#[test]
fn explain_tells_the_way_of_a_call() {
    let sandbox = project(json!({"calls": "changes"}));
    let mut client = nurones(&sandbox).start_session();
    client.call_text("probe", json!({"verb": "echo", "text": "x"}));
    let frame = json!({"tenant_id": "acme", "stage": "staging", "reason_trace_id": "because"});
    let log = client.call_framed("probe", json!({"verb": "log", "text": "to ann@example.org", "n": 2}), frame);
    end(client);
    let told = run(&sandbox, &["explain", &call_id(&log)]);
    let story = &told.assert_success().stdout;
    let mut rest = story.as_str();
    for said in [
        "of probe 1.1.0 by whoever calls",
        "tenant acme, stage staging, risk 0, reason because",
        "arrived with {n: number, text: string(18), verb: string(3)}",
        "allowed: whoever calls may call probe",
        "into the lane of probe, which was empty",
        "taken by root/tools/probe/w0, in its life 0",
        "into a Store that had served no call yet",
        "the guest wrote (info): to [redacted:email]",
        "the guest wrote (info): to [redacted:email]",
        "the guest was left: returned",
        "finished; the answer was {content: array(1), structured: null}",
        "entry 2 of the audit trail, whole up to there",
    ] {
        let at = rest.find(said).unwrap_or_else(|| panic!("{said:?} is not there, or not there in: {story}"));
        rest = &rest[at + said.len()..];
    }
    let unknown = run(&sandbox, &["explain", "nobody"]);
    assert_eq!(unknown.code(), 1);
    assert!(unknown.stderr.contains("no call nobody"), "{}", unknown.stderr);
}

#[test]
fn what_is_altered_is_found_also_from_a_head_that_was_noted() {
    let sandbox = project(json!({"calls": "changes"}));
    let mut client = nurones(&sandbox).start_session();
    let id = call_id(&write(&mut client, "b.txt", "1"));
    write(&mut client, "b.txt", "2");
    end(client);
    let head = run(&sandbox, &["audit", "head"]);
    let head = head.assert_success().stdout.trim().to_owned();
    assert!(head.starts_with("2:"), "{head}");
    let whole = run(&sandbox, &["audit", "check", "--head", &head]);
    assert!(whole.assert_success().stdout.contains("whole: 2 calls"), "{}", whole.stdout);
    let file = Connection::open(sandbox.path("state/audit.db")).unwrap();
    file.execute("UPDATE entries SET entry = replace(entry, 'fs_write', 'fs_right') WHERE seq = 1", []).unwrap();
    let broken = run(&sandbox, &["audit", "check"]);
    assert_eq!(broken.code(), 1);
    assert!(broken.stdout.contains("broken: entry 1 is not what was written"), "{}", broken.stdout);
    assert!(run(&sandbox, &["explain", &id]).stdout.contains("NOT to be trusted"));
    file.execute_batch("DELETE FROM entries WHERE seq = 2; DELETE FROM entries WHERE seq = 1").unwrap();
    assert_eq!(run(&sandbox, &["audit", "check"]).code(), 0, "an empty trail is whole in itself");
    let gone = run(&sandbox, &["audit", "check", "--head", &head]);
    assert_eq!(gone.code(), 1);
    assert!(gone.stdout.contains("the newest are gone"), "{}", gone.stdout);
}

#[test]
fn servers_that_are_killed_leave_one_whole_chain() {
    let sandbox = project(json!({"calls": "changes"}));
    let mut answered = 0;
    for kill_after in [3, 40, 200] {
        let mut clients = [nurones(&sandbox).start_session(), nurones(&sandbox).start_session()];
        for _ in 0..kill_after {
            for client in &mut clients {
                text(&write(client, "b.txt", "x"));
                answered += 1;
            }
        }
        clients.into_iter().for_each(Client::kill);
    }
    let mut client = nurones(&sandbox).start_session();
    text(&write(&mut client, "b.txt", "x"));
    end(client);
    run(&sandbox, &["audit", "check"]).assert_success();
    let entries = entries(&sandbox);
    // What was answered in the last moment before a kill may be missing, and nothing else.
    assert!((1..=answered + 1).contains(&entries.len()), "{} of {answered}", entries.len());
    let servers: std::collections::BTreeSet<&str> =
        entries.iter().map(|entry| entry["server"].as_str().unwrap()).collect();
    assert!(servers.len() >= 5, "those that had time to write have written: {servers:?}");
}

#[test]
fn a_call_is_made_again_in_a_copy_and_nothing_else_is_touched() {
    let sandbox = project(json!({"calls": "changes", "keepArguments": true}));
    sandbox.write("data/b.txt", "zeroth");
    let mut client = nurones(&sandbox).start_session();
    let wrote = write(&mut client, "b.txt", "first");
    let refused = client.call("probe", json!({"verb": 7}));
    end(client);
    sandbox.write("data/b.txt", "second");
    let id = call_id(&wrote);
    let again = run(&sandbox, &["replay", &id]);
    let path = sandbox.path("data/b.txt");
    assert!(again.assert_success().stdout.contains("finished as then, with the same answer"), "{}", again.stdout);
    assert!(again.stdout.contains(&format!("in the copy, changed {}", path.display())), "{}", again.stdout);
    assert!(!again.stderr.contains("ERROR"), "{}", again.stderr);
    assert_eq!(sandbox.read_text("data/b.txt"), "second");
    assert_eq!(entries(&sandbox).len(), 2, "a replay leaves no trace");
    let never = run(&sandbox, &["replay", &call_id(&refused)]);
    assert_eq!(never.code(), 1);
    assert!(never.stderr.contains("never made"), "{}", never.stderr);
    let file = Connection::open(sandbox.path("state/audit.db")).unwrap();
    file.execute("UPDATE kept SET arguments = replace(arguments, 'first', 'third')", []).unwrap();
    let altered = run(&sandbox, &["replay", &id]);
    assert_eq!(altered.code(), 1);
    assert!(altered.stderr.contains("not those of the call"), "{}", altered.stderr);
    assert_eq!(run(&sandbox, &["audit", "check"]).code(), 0, "they are not part of the chain, their digest is");
}

#[test]
fn a_call_that_ends_otherwise_when_made_again_says_so() {
    let sandbox = project(json!({"keepArguments": true, "calls": "all"}));
    let mut client = nurones(&sandbox).start_session();
    let read = client.call("fs_read", json!({"path": "a.txt"}));
    end(client);
    sandbox.write("data/a.txt", "other");
    let again = run(&sandbox, &["replay", &call_id(&read), "--answer"]);
    assert_eq!(again.code(), 1);
    assert!(again.stdout.contains("otherwise than then") && again.stdout.contains("other\""), "{}", again.stdout);
}

#[test]
fn arguments_that_were_not_kept_cannot_be_made_again() {
    let sandbox = project(json!({"calls": "changes"}));
    let mut client = nurones(&sandbox).start_session();
    let id = call_id(&write(&mut client, "b.txt", "x"));
    end(client);
    let refused = run(&sandbox, &["replay", &id]);
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("audit.keepArguments"), "{}", refused.stderr);
}

#[test]
fn without_a_word_of_it_nothing_is_written_down() {
    let sandbox = project(json!({}));
    let mut client = nurones(&sandbox).start_session();
    let wrote = write(&mut client, "b.txt", "x");
    assert!(wrote["result"]["_meta"].get("io.nurones/callId").is_none(), "{wrote}");
    end(client);
    assert!(!sandbox.path("state/audit.db").exists());
    let nothing = run(&sandbox, &["audit", "show"]);
    assert_eq!(nothing.code(), 64);
    assert!(nothing.stderr.contains("nothing was audited yet"), "{}", nothing.stderr);
}

#[test]
fn a_trail_that_cannot_be_written_is_said_once_and_holds_nothing_up() {
    let sandbox = project(json!({"calls": "changes"}));
    sandbox
        .write("state/audit.db", "this is no database, and long enough to be looked at as one: 0123456789".repeat(20));
    let mut client = nurones(&sandbox).start_session();
    for _ in 0..3 {
        text(&write(&mut client, "b.txt", "x"));
    }
    let said = client.all_it_said();
    assert_eq!(said.matches("calls cannot be audited just now").count(), 1, "{said}");
}

#[test]
fn a_trail_that_tools_could_rewrite_is_refused() {
    let sandbox = project(json!({"calls": "changes"}));
    for folder in ["data", "data/not/there/yet"] {
        let mut server = ServerCommand::bare();
        server.arg("--config").arg(sandbox.path(".mcp/config.json")).arg("--state-dir").arg(sandbox.path(folder));
        let refused = server.run("");
        assert_ne!(refused.code(), 0, "{folder}");
        assert!(refused.stderr.contains("tools may write: they could write it anew"), "{}", refused.stderr);
    }
}

#[test]
fn a_call_is_made_again_by_the_tool_that_the_lock_has_and_by_no_other() {
    let sandbox = project(json!({"calls": "changes", "keepArguments": true}));
    run(&sandbox, &["lock"]).assert_success();
    let mut client = nurones(&sandbox).start_session();
    let echoed = client.call("probe", json!({"verb": "echo", "text": "x"}));
    end(client);
    let id = call_id(&echoed);
    run(&sandbox, &["replay", &id]).assert_success();
    sandbox.prebuilt_tool("probe", "probe", json!({"permissions": ["read", "write"], "description": "Trust me."}));
    let withheld = run(&sandbox, &["replay", &id]);
    assert_ne!(withheld.code(), 0);
    assert!(withheld.stderr.contains("lock accept probe"), "{}", withheld.stderr);
}

#[test]
fn what_a_client_sends_makes_no_entry_larger_than_its_bounds() {
    let sandbox = project(json!({"calls": "changes", "keepArguments": true}));
    let mut client = nurones(&sandbox).start_session();
    let frame = json!({"tenant_id": "acme", "x-own": "y".repeat(100_000)});
    let many: serde_json::Map<String, Value> = (0..5000).map(|n| (format!("{n:060}"), json!(n))).collect();
    text(&client.call_framed("probe", json!({"verb": "echo", "text": "x"}), frame));
    client.call("probe", json!({"verb": "echo", "text": "x", "more": many}));
    text(&client.call("fs_write", json!({"path": "b.txt", "content": "z".repeat(2 << 20)})));
    end(client);
    let entries = entries(&sandbox);
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|entry| entry.to_string().len() < 16 << 10));
    assert_eq!((&entries[2]["context"]["tenant_id"], &entries[0]["kept"]), (&json!("acme"), &json!(false)));
    assert!(entries[2]["context"]["omitted_bytes"].as_u64().unwrap() > 100_000);
}
