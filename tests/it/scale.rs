//! Very many tools: what they cost before anybody calls them, and what they share.

use serde_json::{Value, json};

use crate::process::log_lines;
use crate::support::{Client, Sandbox};
use crate::wat_guests::printing;

/// Adds `count` tools that are all made of the one module of the tool `first`.
fn more_of(sandbox: &Sandbox, first: &str, count: usize) {
    for number in 0..count {
        let entry = format!("wasm://{first}.wasm");
        let manifest =
            json!({"name": format!("many.{number:04}"), "version": "1.1.0", "entry": entry, "permissions": []});
        sandbox.write(&format!("tools/many-{number:04}.json"), manifest.to_string());
    }
}

fn threads(client: &Client) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", client.pid())).unwrap().count()
}

fn listed(answer: &Value) -> usize {
    answer["result"]["tools"].as_array().unwrap().len()
}

#[test]
fn a_thousand_tools_are_served_and_only_those_that_are_called_have_a_thread() {
    let sandbox = Sandbox::new();
    sandbox.wat_tool("said", &printing("said it", ""), json!({}));
    more_of(&sandbox, "said", 1000);
    let mut server = sandbox.server();
    server.arg("--supervision-log").arg(sandbox.path("log.jsonl"));
    let mut client = server.start_session();
    assert_eq!(listed(&client.request("tools/list", json!({}))), 1003);
    assert!(threads(&client) < 50, "{} threads before the first call", threads(&client));
    for tool in ["many_0000", "many.0500", "many_0999"] {
        assert_eq!(client.call_text(tool, json!({})), "said it");
    }
    assert!(client.finish().1.success());
    let lines = log_lines(&sandbox.path("log.jsonl"));
    let workers: Vec<&str> = lines
        .iter()
        .filter(|line| line["event"] == "child_started")
        .filter_map(|line| line["path"].as_str().filter(|path| path.ends_with("/w0")))
        .collect();
    assert_eq!(workers, ["many_0000", "many_0500", "many_0999"].map(|tool| format!("root/tools/{tool}/w0")));
}

#[test]
fn tools_of_one_module_are_kept_as_one_and_described_from_the_first_moment() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    more_of(&sandbox, "probe", 20);
    // Another limit: it is asked anew, and what it says is remembered beside what it said before.
    sandbox.prebuilt_tool("narrow", "probe", json!({"memory_mb": 32}));
    let settled = |expected: bool| {
        let mut server = sandbox.server();
        server.env("NURONES_CACHE_DIR", sandbox.path("cache"));
        let mut client = server.start_session();
        let list = client.request("tools/list", json!({}));
        let described = list["result"]["tools"].as_array().unwrap().iter().all(|tool| tool["description"] != "");
        assert_eq!(described, expected, "{list}");
        for tool in ["many_0000", "many_0019", "narrow"] {
            client.assert_echoes(tool);
        }
        assert_eq!(client.all_it_said(), "");
    };
    settled(false);
    let kept = || std::fs::read_dir(sandbox.path("cache")).unwrap().count();
    assert_eq!(kept(), 1);
    settled(true);
    assert_eq!(kept(), 1);
}
