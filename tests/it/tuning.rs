//! The context engine at work in a server: what it sees, tries, keeps and undoes, and who may tell it otherwise.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cancel::begin_endless;
use crate::process::eventually;
use crate::support::{Client, Sandbox, ServerCommand};

/// Calls that may wait by the manifest of `probe`; a tenth more is one.
const DEPTH: u64 = 10;

/// A folder with `probe` and a config that turns the engine on: short windows, little confidence needed, and an objective
/// that slowness does not break.
fn engine_on(slo: Value) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({"queue_depth": DEPTH}));
    config(&sandbox, "c.json", slo);
    sandbox
}

fn config(sandbox: &Sandbox, name: &str, slo: Value) {
    let engine = json!({"enabled": true, "windowMs": 200, "minConfidence": 0.1, "slo": slo});
    sandbox.write(name, json!({"context_engine": engine}).to_string());
}

/// Whatever happens is good.
fn anything() -> Value {
    json!({"p95Ms": 60_000, "errorPct": 100, "shedPct": 100})
}

fn server(sandbox: &Sandbox, config: &str) -> ServerCommand {
    let mut server = sandbox.server();
    server.arg("--config").arg(sandbox.path(config)).env("NURONES_STATE_DIR", sandbox.path("state"));
    server
}

/// Everything in the history, of every project.
fn history(sandbox: &Sandbox) -> Vec<Value> {
    let text = std::fs::read_to_string(sandbox.path("state/tuning.jsonl")).unwrap_or_default();
    // The last line may be half written.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// What happened to the lanes, in order: what and to which value.
fn lane(sandbox: &Sandbox) -> Vec<(String, u64)> {
    let entries = history(sandbox).into_iter().filter(|entry| entry["knob"] == "laneDepth");
    entries.map(|entry| (entry["what"].as_str().unwrap().to_owned(), entry["value"].as_u64().unwrap())).collect()
}

fn happened(sandbox: &Sandbox, what: &str) -> bool {
    lane(sandbox).iter().any(|(known, _)| known == what)
}

/// `nurones-mcp context` in the project of `c.json`; returns what it printed.
fn context(sandbox: &Sandbox, args: &[&str]) -> String {
    let mut command = ServerCommand::bare();
    command.arg("--config").arg(sandbox.path("c.json")).env("NURONES_STATE_DIR", sandbox.path("state"));
    let output = command.arg("context").args(args).command().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What `context show` says of the lane.
fn shown_lane(sandbox: &Sandbox) -> Value {
    let knobs: Vec<Value> = serde_json::from_str(&context(sandbox, &["show", "probe", "--json"])).unwrap();
    knobs.into_iter().find(|knob| knob["knob"] == "laneDepth").unwrap()
}

/// More calls at once than can wait, behind one that takes a moment. Returns how many were refused.
fn crowd(client: &mut Client, tool: &str, frame: &Value) -> usize {
    let begin = |client: &mut Client, arguments: Value| {
        let meta = json!({"io.nurones/context": frame});
        client.begin("tools/call", json!({"name": tool, "arguments": arguments, "_meta": meta}))
    };
    let mut ids = vec![begin(client, json!({"verb": "sleep", "ms": 5}))];
    ids.extend((0..40).map(|_| begin(client, json!({"verb": "echo", "text": "x"}))));
    ids.into_iter().map(|id| client.answer(id)).filter(|answer| answer["error"]["code"] == -31503).count()
}

/// How many calls may wait, found out by trying.
fn places(client: &mut Client) -> u64 {
    let busy = begin_endless(client, "busy");
    let waiting: Vec<i64> = (0..40).map(|_| client.begin_call("probe", json!({"verb": "echo", "text": "x"}))).collect();
    let refused = |message: &Value| message["error"]["data"]["reason"] == "queue_full";
    // Once this one is answered, all before it were let in or refused.
    client.request("ping", json!({}));
    client.notify("notifications/cancelled", json!({"requestId": busy}));
    let answers: Vec<Value> = waiting.into_iter().map(|id| client.answer(id)).collect();
    answers.iter().filter(|answer| !refused(answer)).count() as u64
}

#[test]
fn refused_calls_make_the_lane_deeper_and_a_restart_keeps_both_that_and_the_cap() {
    let sandbox = engine_on(anything());
    let mut client = server(&sandbox, "c.json").start_session();
    eventually("a baseline", || {
        crowd(&mut client, "probe", &json!({}));
        happened(&sandbox, "baseline")
    });
    let steps = [("configured", 10), ("trial", 11), ("baseline", 11)].map(|(what, value)| (what.to_owned(), value));
    assert_eq!(lane(&sandbox), steps);
    eventually("eleven places", || places(&mut client) == 11);
    client.kill();

    let mut client = server(&sandbox, "c.json").start_session();
    eventually("eleven places again", || places(&mut client) == 11);
    let lane_now = shown_lane(&sandbox);
    assert_eq!((&lane_now["value"], &lane_now["today"]), (&json!(11), &json!([10, 11])), "{lane_now}");
    eventually("another word of the engine", || {
        crowd(&mut client, "probe", &json!({}));
        history(&sandbox).iter().any(|entry| entry["what"] == "proposed")
    });
    assert_eq!(lane(&sandbox), steps, "a tenth more than yesterday is all there is");
}

#[test]
fn a_trial_that_makes_things_worse_is_undone() {
    let sandbox = engine_on(json!({"p95Ms": 60_000, "errorPct": 0, "shedPct": 0}));
    let mut client = server(&sandbox, "c.json").start_session();
    eventually("a trial", || {
        crowd(&mut client, "probe", &json!({}));
        happened(&sandbox, "trial")
    });
    eventually("its end", || {
        client.call("probe", json!({"verb": "trap"}));
        happened(&sandbox, "rolledBack")
    });
    let steps = [("configured", 10), ("trial", 11), ("rolledBack", 10)].map(|(what, value)| (what.to_owned(), value));
    assert_eq!(lane(&sandbox), steps);
    let back = history(&sandbox).into_iter().find(|entry| entry["what"] == "rolledBack").unwrap();
    let why = back["why"].as_str().unwrap();
    assert!(why.contains("faulted, more than 0.0 %") || why.contains("refused, more than 0.0 %"), "{why}");
    let lane = shown_lane(&sandbox);
    assert_eq!((&lane["value"], &lane["baseline"], &lane["trial"]), (&json!(10), &json!(10), &Value::Null));
    let said = client.all_it_said();
    assert!(said.contains("rolled back") && said.contains("laneDepth"), "{said}");
}

#[test]
fn a_person_pins_releases_and_restores_in_servers_that_run() {
    let sandbox = engine_on(anything());
    let mut tuner = server(&sandbox, "c.json").start_session();
    tuner.assert_echoes("probe");
    eventually("what is configured is written", || happened(&sandbox, "configured"));
    let mut follower = server(&sandbox, "c.json").start_session();
    follower.assert_echoes("probe");
    assert!(context(&sandbox, &["pin", "probe", "laneDepth=14"]).contains("pinned: 10 to 14"));
    eventually("fourteen places", || places(&mut tuner) == 14);
    eventually("fourteen places in the other server", || places(&mut follower) == 14);
    context(&sandbox, &["unpin", "probe"]);
    assert!(context(&sandbox, &["rollback", "probe"]).contains("restored: 14 to 10"));
    eventually("ten places", || places(&mut tuner) == DEPTH && places(&mut follower) == DEPTH);

    // The follower takes over.
    tuner.kill();
    eventually("a trial", || {
        crowd(&mut follower, "probe", &json!({}));
        happened(&sandbox, "trial")
    });
}

/// Calls that one instance of `probe` serves, found out by counting.
fn lifetime(client: &mut Client) -> u64 {
    let count = |client: &mut Client| client.call_text("probe", json!({"verb": "count"})).parse::<u64>().unwrap();
    (0..40).map(|_| count(client)).max().unwrap()
}

#[test]
fn an_instance_serves_as_many_calls_as_its_knob_says() {
    let sandbox = engine_on(anything());
    sandbox.prebuilt_tool("probe", "probe", json!({"max_instance_reuse_count": 10}));
    let mut client = server(&sandbox, "c.json").start_session();
    assert_eq!(lifetime(&mut client), 10);
    eventually("what is configured is written", || happened(&sandbox, "configured"));
    context(&sandbox, &["pin", "probe", "reuseCalls=6"]);
    eventually("six calls", || lifetime(&mut client) == 6);
}

#[test]
fn a_folder_that_cannot_be_used_is_said_once_and_nothing_is_tried() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = engine_on(anything());
    let state = sandbox.path("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o777)).unwrap();
    let mut client = server(&sandbox, "c.json").start_session();
    eventually("the problem is said", || {
        crowd(&mut client, "probe", &json!({}));
        client.stderr().contains("the context engine tries nothing for now")
    });
    assert_eq!(places(&mut client), DEPTH);
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
    eventually("a baseline", || {
        crowd(&mut client, "probe", &json!({}));
        happened(&sandbox, "baseline")
    });
    let said = client.all_it_said();
    assert_eq!(said.matches("tries nothing for now: others may write to the state folder").count(), 1, "{said}");
}

#[test]
fn calls_that_do_not_allow_it_move_nothing() {
    let sandbox = engine_on(anything());
    sandbox.prebuilt_tool("opted_out", "probe", json!({"queue_depth": DEPTH}));
    sandbox.prebuilt_tool("risky", "probe", json!({"queue_depth": DEPTH}));
    let mut client = server(&sandbox, "c.json").start_session();
    let mut refused = [0, 0, 0];
    eventually("a baseline of the tool that may be tuned, and as much reason for one of the others", || {
        for (tool, refused) in ["opted_out", "risky", "probe"].into_iter().zip(&mut refused) {
            let frame = match tool {
                "opted_out" => json!({"flags": {"allow_autotune": false}}),
                "risky" => json!({"risk_level": 1}),
                _ => json!({}),
            };
            *refused += crowd(&mut client, tool, &frame);
        }
        happened(&sandbox, "baseline") && refused.iter().all(|refused| *refused >= 100)
    });
    let moved = history(&sandbox).into_iter().filter(|entry| entry["what"] == "trial");
    let tools: Vec<String> = moved.map(|entry| entry["tool"].as_str().unwrap().to_owned()).collect();
    assert!(!tools.is_empty() && tools.iter().all(|tool| tool.starts_with("probe@")), "{tools:?}");
}

#[test]
fn tools_of_one_name_in_two_projects_have_their_own_knobs() {
    let sandbox = engine_on(anything());
    config(&sandbox, "other/d.json", anything());
    let mut servers = ["c.json", "other/d.json"].map(|config| server(&sandbox, config).start_session());
    servers.iter_mut().for_each(|client| client.assert_echoes("probe"));
    eventually("both tune", || lane(&sandbox).len() == 2);
    assert!(context(&sandbox, &["pin", "probe", "laneDepth=14"]).contains("pinned: 10 to 14"));
    let pinned: Vec<Value> = history(&sandbox).into_iter().filter(|entry| entry["what"] == "pinned").collect();
    let [one, other] = &mut servers;
    eventually("fourteen places", || places(one) == 14);
    assert_eq!((pinned.len(), places(other)), (1, DEPTH));
}

#[test]
fn off_nothing_is_observed_written_or_started() {
    let threads = |client: &Client| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", client.pid())).unwrap();
        let name = |task: PathBuf| std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        tasks.map(|task| name(task.unwrap().path())).any(|name| name.trim() == "tuning")
    };
    let sandbox = engine_on(anything());
    let mut off = server(&sandbox, "c.json").env("CONTEXT_ENGINE", "off").start_session();
    let mut on = server(&sandbox, "c.json").env("NURONES_STATE_DIR", sandbox.path("other")).start_session();
    eventually("a baseline where the engine is on", || {
        crowd(&mut off, "probe", &json!({}));
        crowd(&mut on, "probe", &json!({}));
        std::fs::read_to_string(sandbox.path("other/tuning.jsonl")).is_ok_and(|text| text.contains("baseline"))
    });
    assert_eq!((threads(&off), threads(&on)), (false, true));
    for file in ["tuning.jsonl", "tuning.lock"] {
        assert_eq!(
            (sandbox.path("state").join(file).exists(), sandbox.path("other").join(file).exists()),
            (false, true)
        );
    }
    assert_eq!(places(&mut off), DEPTH);
}
