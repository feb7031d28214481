//! Tools that are left alone for a while: by their circuit breaker, in quarantine, or for good.

use serde_json::{Value, json};

use crate::support::{Client, PATIENCE, Sandbox, ServerCommand, log_lines, wait_for_log};

const LOG: &str = "supervision.jsonl";

/// A server whose policy takes milliseconds, with a probe that does while it starts what `data/probe-start` says.
fn server(sandbox: &Sandbox, manifest: Value, policy: Value) -> ServerCommand {
    let mut keys = json!({"permissions": ["read"]});
    keys.as_object_mut().unwrap().extend(manifest.as_object().unwrap().clone());
    sandbox.prebuilt_tool("probe", "probe", keys);
    sandbox.prebuilt_tool("bystander", "probe", json!({}));
    sandbox.write(".mcp/config.json", json!({"supervision": policy}).to_string());
    let mut server = sandbox.server();
    server.arg("--config").arg(sandbox.path(".mcp/config.json")).arg("--supervision-log").arg(sandbox.path(LOG));
    server
}

fn trap(client: &mut Client) -> Value {
    client.call("probe", json!({"verb": "trap"}))
}

fn reason(answer: &Value) -> &str {
    answer["error"]["data"]["reason"].as_str().unwrap_or_else(|| panic!("not refused: {answer}"))
}

/// Calls until the answer is no refusal.
fn until_served(client: &mut Client) {
    let give_up = std::time::Instant::now() + PATIENCE;
    while client.call("probe", json!({"verb": "count"}))["error"].is_object() {
        assert!(std::time::Instant::now() < give_up, "refused for ever; log:\n{}", client.stderr());
    }
}

fn events(sandbox: &Sandbox, path: &str) -> Vec<String> {
    let of_path = |line: &Value| line["path"] == path && line["level"] != "L1" || line["event"] == "breaker_open";
    let lines = log_lines(&sandbox.path(LOG)).into_iter().filter(of_path);
    lines.filter(|line| line["path"] == path).map(|line| line["event"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_tool_that_faults_at_every_call_is_left_alone_and_tried_again() {
    let sandbox = Sandbox::new();
    let mut client = server(&sandbox, json!({}), json!({"breakerOpenMs": 300})).start_session();
    for _ in 0..20 {
        assert_eq!(trap(&mut client)["result"]["isError"], true);
    }
    let refused = trap(&mut client);
    assert_eq!(reason(&refused), "breaker_open", "{refused}");
    let data = &refused["error"]["data"];
    assert!(data["retryable"] == true && data["retryAfterMs"].as_u64().is_some_and(|ms| (10..=300).contains(&ms)));
    client.assert_echoes("bystander");
    until_served(&mut client);
    assert_eq!(trap(&mut client)["result"]["isError"], true, "the window began anew");
    client.finish();
    let story = events(&sandbox, "root/tools/probe");
    let breaker: Vec<_> = story.iter().filter(|event| event.starts_with("breaker")).collect();
    assert_eq!(breaker, ["breaker_open", "breaker_half_open", "breaker_closed"]);
}

#[test]
fn a_trial_call_that_faults_shuts_the_breaker_for_longer() {
    let sandbox = Sandbox::new();
    let mut client = server(&sandbox, json!({}), json!({"breakerOpenMs": 50})).start_session();
    while trap(&mut client)["error"].is_null() {}
    wait_for_log(&sandbox.path(LOG), |line| line["restart"]["backoff_ms"] == 50);
    while trap(&mut client)["error"].is_object() {}
    let opened = wait_for_log(&sandbox.path(LOG), |line| line["restart"]["backoff_ms"] == 100);
    assert_eq!(opened["event"], "breaker_open");
}

#[test]
fn a_tool_that_cannot_start_is_quarantined_and_readmitted_when_it_can() {
    let sandbox = Sandbox::new();
    let policy = json!({"backoffBaseMs": 5, "probeAfterMs": 50});
    let mut client = server(&sandbox, json!({}), policy).start_session();
    client.assert_echoes("probe");
    sandbox.write("data/probe-start", "trap");
    assert_eq!(trap(&mut client)["result"]["_meta"]["io.nurones/fault"]["code"], "tool_trapped");
    wait_for_log(&sandbox.path(LOG), |line| line["event"] == "quarantined");
    let refused = client.call("probe", json!({"verb": "count"}));
    assert_eq!(reason(&refused), "quarantined", "{refused}");
    client.assert_echoes("bystander");
    wait_for_log(&sandbox.path(LOG), |line| line["event"] == "probe");
    std::fs::remove_file(sandbox.path("data/probe-start")).unwrap();
    until_served(&mut client);
    wait_for_log(&sandbox.path(LOG), |line| line["event"] == "readmitted");
    client.finish();
    let story = events(&sandbox, "root/tools/probe/w0");
    let quarantine = story.iter().position(|event| event == "quarantined").unwrap();
    assert_eq!(story[..2], ["child_started", "child_exited"]);
    assert_eq!(story[1..quarantine].iter().filter(|event| *event == "restart_scheduled").count(), 4);
    assert_eq!(story[story.len() - 4..], ["probe", "restart_ok", "child_exited", "child_stopped"]);
}

#[test]
fn a_tool_that_hangs_while_it_starts_is_given_up_at_its_deadline() {
    let sandbox = Sandbox::new();
    let policy = json!({"initDeadlineMs": 50, "restartIntensity": 2, "probeAfterMs": 200_000});
    let mut client = server(&sandbox, json!({}), policy).start_session();
    client.assert_echoes("probe");
    sandbox.write("data/probe-start", "spin");
    trap(&mut client);
    let exited = wait_for_log(&sandbox.path(LOG), |line| line["event"] == "child_exited");
    assert_eq!(exited["reason"]["kind"], "init_failed", "{exited}");
    assert!(exited["reason"]["msg"].as_str().unwrap().contains("50 ms"), "{exited}");
    let quarantined = wait_for_log(&sandbox.path(LOG), |line| line["event"] == "quarantined");
    assert_eq!(quarantined["restart"]["backoff_ms"], 200_000);
    client.assert_echoes("bystander");
    assert_eq!(client.request("tools/list", json!({}))["result"]["tools"].as_array().unwrap().len(), 4);
}

#[test]
fn calls_that_wait_for_a_tool_that_is_quarantined_are_refused() {
    let sandbox = Sandbox::new();
    let policy = json!({"restartIntensity": 1, "probeAfterMs": 3_600_000});
    let mut client = server(&sandbox, json!({}), policy).start_session();
    client.assert_echoes("probe");
    sandbox.write("data/probe-start", "trap");
    let slow = client.begin_call("probe", json!({"verb": "sleep", "ms": 300}));
    let trapped = client.begin_call("probe", json!({"verb": "trap"}));
    let waiting: Vec<i64> = (0..10).map(|_| client.begin_call("probe", json!({"verb": "count"}))).collect();
    assert!(client.answer(slow)["result"].is_object());
    assert_eq!(client.answer(trapped)["result"]["isError"], true);
    for id in waiting {
        assert_eq!(reason(&client.answer(id)), "quarantined");
    }
}

#[test]
fn a_temporary_tool_is_not_started_again() {
    let sandbox = Sandbox::new();
    let mut client = server(&sandbox, json!({"restart": "temporary"}), json!({})).start_session();
    client.assert_echoes("probe");
    sandbox.write("data/probe-start", "trap");
    trap(&mut client);
    let stopped = wait_for_log(&sandbox.path(LOG), |line| line["event"] == "child_stopped");
    assert_eq!(stopped["reason"]["kind"], "temporary", "{stopped}");
    std::fs::remove_file(sandbox.path("data/probe-start")).unwrap();
    let refused = client.call("probe", json!({"verb": "count"}));
    assert_eq!((reason(&refused), &refused["error"]["data"]["retryable"]), ("quarantined", &json!(false)));
    client.assert_echoes("bystander");
}
