//! Guests that do what they must not: each is answered at its deadline or its limit, the next call works, and what it
//! held comes back.

use serde_json::{Value, json};

use crate::odd_files::release_fifo;
use crate::process::eventually;
use crate::support::{Client, Sandbox, fault};

/// A deadline that tests can afford to wait for.
const DEADLINE_MS: u64 = 300;

/// Small limits, so that reaching them takes no time.
pub fn small() -> Value {
    json!({"deadline_ms": DEADLINE_MS, "memory_mb": 16, "output_kb": 64, "permissions": ["read", "write"]})
}

/// A session with two probes: one to be hurt, one to watch.
fn hurting() -> (Sandbox, Client) {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", small());
    sandbox.prebuilt_tool("bystander", "probe", json!({}));
    let client = sandbox.server().start_session();
    (sandbox, client)
}

/// The fault that `arguments` end with; the next call to the same tool and a call to another work.
fn ends(client: &mut Client, arguments: &Value) -> Value {
    let answer = client.call("probe", arguments.clone());
    fault(&answer);
    client.assert_echoes("probe");
    client.assert_echoes("bystander");
    answer["result"]["_meta"]["io.nurones/fault"].clone()
}

/// Verbs that hurt, and the code they are answered with.
fn hostile() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"verb": "spin"}), "deadline_exceeded"),
        (json!({"verb": "burn", "ms": 3_600_000}), "deadline_exceeded"),
        (json!({"verb": "sleep", "ms": 3_600_000}), "deadline_exceeded"),
        (json!({"verb": "recurse"}), "tool_trapped"),
        (json!({"verb": "trap"}), "tool_trapped"),
        (json!({"verb": "panic", "text": "on purpose"}), "tool_trapped"),
        (json!({"verb": "alloc"}), "memory_limit"),
        (json!({"verb": "print_many", "bytes": 1_u64 << 30}), "output_limit"),
        (json!({"verb": "exit", "code": 3}), "exit_code"),
        (json!({"verb": "exit", "code": 200}), "exit_code"),
        (json!({"verb": "random", "bytes": 64 << 20}), "tool_trapped"),
        (json!({"verb": "big", "bytes": 8 << 20}), "output_limit"),
        (json!({"verb": "input_required"}), "input_required_unsupported"),
    ]
}

#[test]
fn every_hostile_call_is_answered_and_the_next_one_works() {
    let (_sandbox, mut client) = hurting();
    for (arguments, code) in hostile() {
        let meta = ends(&mut client, &arguments);
        assert_eq!(meta["code"], code, "{arguments}: {meta}");
        assert_eq!(meta["retryable"], false, "a tool that writes may have done half: {arguments} {meta}");
        assert!(!meta.to_string().contains("backtrace"), "{arguments}: it says how, not where: {meta}");
    }
}

#[test]
fn a_crash_says_which() {
    let (_sandbox, mut client) = hurting();
    for (verb, trap) in [("recurse", "StackOverflow"), ("trap", "UnreachableCodeReached")] {
        assert_eq!(ends(&mut client, &json!({"verb": verb}))["trap"], trap);
    }
    assert_eq!(ends(&mut client, &json!({"verb": "exit", "code": 3}))["exitCode"], "1", "p2 knows success and failure");
    assert_eq!(client.call_text("probe", json!({"verb": "count"})), "2", "a new instance took over");
}

#[test]
fn a_guest_that_takes_every_file_descriptor_it_can_get_leaves_ours() {
    let (sandbox, mut client) = hurting();
    let path = sandbox.write("data/a.txt", "x");
    ends(&mut client, &json!({"verb": "open_many", "path": &path, "n": 100_000}));
    let held = client.call_text("probe", json!({"verb": "open_many", "path": &path, "n": 100}));
    assert_eq!(held, "held 100 descriptors open");
    let before = client.settled_descriptors();
    for _ in 0..5 {
        client.call_fault("probe", json!({"verb": "open_many", "path": &path, "n": 100_000}));
    }
    client.assert_echoes("probe");
    eventually("descriptors come back", || client.descriptors() == before);
}

#[test]
fn the_limit_of_open_files_is_the_manifests() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("data/a.txt", "x");
    sandbox.prebuilt_tool("few", "probe", json!({"permissions": ["read"], "handles": 40}));
    sandbox.prebuilt_tool("many", "probe", json!({"permissions": ["read"]}));
    let mut client = sandbox.server().start_session();
    let arguments = json!({"verb": "open_many", "path": path, "n": 100});
    client.call_fault("few", arguments.clone());
    assert_eq!(client.call_text("many", arguments), "held 100 descriptors open");
}

#[test]
fn descriptors_and_memory_come_back() {
    let (_sandbox, mut client) = hurting();
    let mut round = || {
        for (arguments, _) in hostile() {
            // More than half of the calls must not fail, or the breaker opens.
            client.assert_echoes("probe");
            client.call_fault("probe", arguments);
        }
        client.assert_echoes("probe");
        (client.descriptors(), client.resident_kib())
    };
    // The first rounds fill caches and pools that stay.
    round();
    let (descriptors, resident) = round();
    let after = (0..4).map(|_| round()).last().unwrap();
    assert_eq!(after.0, descriptors);
    // Four rounds allocate 64 MB, print 1 MB and recurse through 2 MB of stack; a leak of any shows.
    assert!(after.1 < resident + 12_000, "{resident} KiB became {} KiB", after.1);
}

#[test]
fn a_tool_that_hangs_does_not_hold_up_another() {
    let sandbox = Sandbox::new();
    for (name, verb) in [("spinning", "spin"), ("sleeping", "sleep"), ("recursing", "recurse")] {
        sandbox.prebuilt_tool(name, "probe", json!({"deadline_ms": 3_600_000, "description": verb}));
    }
    sandbox.prebuilt_tool("bystander", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    let spinning = client.begin_call("spinning", json!({"verb": "spin"}));
    let sleeping = client.begin_call("sleeping", json!({"verb": "sleep", "ms": 3_600_000}));
    for _ in 0..50 {
        client.assert_echoes("bystander");
        client.assert_echoes("recursing");
        assert_eq!(client.call_fault("recursing", json!({"verb": "recurse"})).0, "tool_trapped");
    }
    let hanging = [json!(spinning), json!(sleeping)];
    assert!(client.leftovers().iter().all(|message| !hanging.contains(&message["id"])), "they still hang");
}

#[test]
fn calls_that_wait_behind_a_hostile_one_are_served() {
    let (_sandbox, mut client) = hurting();
    let spinning = client.begin_call("probe", json!({"verb": "spin"}));
    let waiting: Vec<i64> =
        (0..3).map(|n| client.begin_call("probe", json!({"verb": "echo", "text": n.to_string()}))).collect();
    assert_eq!(fault(&client.answer(spinning)).0, "deadline_exceeded");
    // Their own deadline counts from when they came, so they may be too late: but each is answered.
    for id in waiting {
        let answer = client.answer(id);
        assert!(answer["result"].is_object(), "{answer}");
    }
    client.assert_echoes("probe");
}

#[test]
fn a_result_of_exactly_the_limit_is_fine_and_one_byte_more_is_not() {
    let (_sandbox, mut client) = hurting();
    let limit = 64 << 10;
    assert_eq!(client.call_text("probe", json!({"verb": "big", "bytes": limit})).len(), limit);
    // From just over the limit to far over what the host takes in at all: one answer for all.
    for bytes in [limit + 1, 2 * limit, 2 * limit + 1, 4 * limit, 4 << 20] {
        let (code, said) = client.call_fault("probe", json!({"verb": "big", "bytes": bytes}));
        assert_eq!(code, "output_limit", "{bytes}: {said}");
        assert!(said.contains(&limit.to_string()), "it says the limit: {said}");
    }
    client.assert_echoes("probe");
}

#[test]
fn randomness_comes_in_portions() {
    let (_sandbox, mut client) = hurting();
    assert_eq!(client.call_text("probe", json!({"verb": "random", "bytes": 4096})).len(), 8192);
    client.call_fault("probe", json!({"verb": "random", "bytes": (64 << 10) + 1}));
}

#[test]
fn memory_is_limited_by_the_manifest() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("small", "probe", json!({"memory_mb": 8}));
    sandbox.prebuilt_tool("large", "probe", json!({"memory_mb": 128}));
    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_fault("small", json!({"verb": "alloc", "mb": 40})).0, "memory_limit");
    assert_eq!(client.call_text("large", json!({"verb": "alloc", "mb": 40})), "allocated 40 MB");
    assert_eq!(client.call_text("small", json!({"verb": "alloc", "mb": 2})), "allocated 2 MB");
}

#[test]
fn a_flood_of_log_lines_is_cut_and_told() {
    let (_sandbox, mut client) = hurting();
    let flood = json!({"verb": "log", "text": "blah \u{1b}[31m\nforged", "n": 10_000});
    assert_eq!(client.call_text("probe", flood), "logged 10000 lines");
    client.assert_echoes("probe");
    eventually("the cut is told", || client.stderr().contains("the tool logs too much"));
    let log = client.stderr();
    assert_eq!(log.matches("blah").count(), 64, "{log}");
    assert!(!log.contains("\u{1b}[31m") && !log.contains("\nforged"), "control characters reach the log: {log}");
    assert_eq!(client.call_text("probe", json!({"verb": "log", "text": "next call", "n": 3})), "logged 3 lines");
    eventually("the budget is per call", || client.stderr().matches("next call").count() == 3);
}

#[test]
fn opening_a_pipe_that_nobody_writes_to_ends_at_the_deadline() {
    let (sandbox, mut client) = hurting();
    let fifo = sandbox.fifo("data/fifo");
    let read = json!({"verb": "read", "path": &fifo});
    client.assert_echoes("probe");
    let before = client.settled_descriptors();
    for _ in 0..2 {
        assert_eq!(ends(&mut client, &read)["code"], "deadline_exceeded");
    }
    release_fifo(&fifo);
    eventually("the stuck threads come back", || client.descriptors() <= before);
    client.assert_echoes("probe");
    let (_, status) = client.finish();
    assert!(status.success(), "{status}");
}

#[test]
fn a_process_with_stuck_threads_ends_when_its_client_is_done() {
    let (sandbox, mut client) = hurting();
    let fifo = sandbox.fifo("data/fifo");
    assert_eq!(client.call_fault("probe", json!({"verb": "read", "path": &fifo})).0, "deadline_exceeded");
    let (_, status) = client.finish();
    assert!(status.success(), "{status}");
}

#[test]
fn a_tool_that_leaves_too_many_threads_stuck_is_left_alone_until_they_are_back() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.fifo("data/fifo");
    sandbox.prebuilt_tool("probe", "probe", small());
    sandbox.prebuilt_tool("bystander", "probe", json!({}));
    let config = sandbox.write("config.json", r#"{"supervision": {"probeAfterMs": 100}}"#);
    let mut client = sandbox.server().arg("--config").arg(config).start_session();
    let mut call = || client.call("probe", json!({"verb": "read", "path": &fifo}));
    let answers: Vec<Value> = std::iter::repeat_with(&mut call).take(8).collect();
    let refused = answers.iter().find(|answer| answer["error"].is_object());
    let refused = refused.unwrap_or_else(|| panic!("eight threads are stuck: {answers:?}"));
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["data"]["reason"]),
        (&json!(-31503), &json!("quarantined"))
    );
    client.assert_echoes("bystander");
    release_fifo(&fifo);
    eventually("the tool is taken back", || {
        let answer = client.call("probe", json!({"verb": "echo", "text": "back"}));
        answer["result"]["content"][0]["text"] == "back"
    });
}

#[test]
fn progress_is_told_to_those_who_asked_and_before_the_answer() {
    let (_sandbox, mut client) = hurting();
    let arguments = json!({"verb": "progress", "steps": 3});
    let params = json!({"name": "probe", "arguments": &arguments, "_meta": {"progressToken": "p"}});
    let id = client.begin("tools/call", params);
    for step in [1.0, 2.0, 3.0] {
        let told = client.notification("notifications/progress")["params"].clone();
        assert_eq!((&told["progressToken"], told["progress"].as_f64()), (&json!("p"), Some(step)), "{told}");
        assert_eq!((told["total"].as_f64(), &told["message"]), (Some(3.0), &json!(format!("step {step} of 3"))));
    }
    assert!(client.leftovers().is_empty(), "the answer came too early");
    client.answer(id);
    assert_eq!(client.call_text("probe", arguments), "made 3 steps");
    assert!(client.leftovers().is_empty(), "nobody asked");
}
