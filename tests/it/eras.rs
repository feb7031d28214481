//! Both protocol eras: clients that begin with `initialize`, and clients that send their version with every request.

use serde_json::{Value, json};

use crate::support::{Client, Sandbox, ServerCommand, fault};

/// The version of the modern era.
pub const MODERN: &str = "2026-07-28";

/// `params` with what a modern client sends along on every request.
pub fn modern(params: Value) -> Value {
    with_version(params, MODERN)
}

fn with_version(mut params: Value, version: &str) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(version);
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    params
}

fn assert_serves(client: &mut Client) {
    assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), "content");
}

pub fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "content");
    sandbox
}

/// Compiling the probe takes a while, so it is there only where it is called.
fn sandbox_with_probe() -> Sandbox {
    let sandbox = sandbox();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    sandbox
}

#[test]
fn every_legacy_version_is_spoken() {
    let sandbox = sandbox();
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut client = sandbox.server().start();
        let result = client.initialize(version);
        assert_eq!(result["protocolVersion"], version);
        assert_eq!(result["serverInfo"]["name"], "nurones-mcp");
        assert_eq!(result["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(
            result["capabilities"],
            json!({"tools": {"listChanged": true}}),
            "nothing is promised that is not kept"
        );
        assert_serves(&mut client);
        let (rest, status) = client.finish();
        assert!(rest.is_empty() && status.success(), "{version}: {rest:?} {status}");
    }
}

#[test]
fn a_version_that_has_no_handshake_or_is_unknown_falls_back_to_the_latest_legacy_one() {
    for version in [MODERN, "2099-01-01", "1.0", ""] {
        let sandbox = sandbox();
        let mut client = sandbox.server().start();
        assert_eq!(client.initialize(version)["protocolVersion"], "2025-11-25", "asked for {version}");
        assert_serves(&mut client);
    }
}

#[test]
fn a_legacy_client_is_not_made_to_wait_for_its_own_initialized() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start();
    client.request(
        "initialize",
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}}),
    );
    assert_serves(&mut client);
}

#[test]
fn legacy_results_have_none_of_the_modern_members() {
    let sandbox = sandbox_with_probe();
    let mut client = sandbox.server().start_session();
    let mut results = vec![client.request("ping", json!({}))["result"].clone()];
    assert_eq!(results[0], json!({}));
    results.push(client.request("tools/list", json!({}))["result"].clone());
    results.push(client.call("fs_read", json!({"path": "a.txt"}))["result"].clone());
    results.push(client.call("probe", json!({"verb": "trap"}))["result"].clone());
    for result in results {
        assert!(result.is_object(), "{result}");
        for member in ["resultType", "ttlMs", "cacheScope"] {
            assert!(result.get(member).is_none(), "{member} in {result}");
        }
        assert!(result["_meta"].get("io.modelcontextprotocol/serverInfo").is_none(), "{result}");
    }
}

#[test]
fn a_modern_request_needs_no_handshake() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start();
    let answer = client.request("tools/call", modern(json!({"name": "fs_read", "arguments": {"path": "a.txt"}})));
    assert_eq!(answer["result"]["content"][0]["text"], "content", "{answer}");
}

#[test]
fn every_modern_result_says_its_type_and_who_answered() {
    let sandbox = sandbox_with_probe();
    let mut client = sandbox.server().start();
    let call = |name: &str, arguments: Value| ("tools/call", json!({"name": name, "arguments": arguments}));
    for (method, params) in [
        ("server/discover", json!({})),
        ("tools/list", json!({})),
        call("fs_read", json!({"path": "a.txt"})),
        call("fs_read", json!({"path": "missing.txt"})),
        call("fs_read", json!({})),
        call("probe", json!({"verb": "trap"})),
    ] {
        let answer = client.request(method, modern(params.clone()));
        let result = &answer["result"];
        assert_eq!(result["resultType"], "complete", "{method} {params}: {answer}");
        let server = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(server["name"], "nurones-mcp", "{method} {params}: {answer}");
        assert_eq!(server["version"], env!("CARGO_PKG_VERSION"));
        assert!(result.get("protocolVersion").is_none() && result.get("serverInfo").is_none(), "{answer}");
    }
}

#[test]
fn modern_lists_say_how_long_they_may_be_kept() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start();
    for method in ["server/discover", "tools/list"] {
        let result = client.request(method, modern(json!({})))["result"].clone();
        assert!(result["ttlMs"].is_u64(), "{method}: {result}");
        assert!(["public", "private"].contains(&result["cacheScope"].as_str().unwrap()), "{method}: {result}");
    }
}

#[test]
fn discovery_names_every_version_that_is_spoken() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start();
    let result = client.request("server/discover", modern(json!({})))["result"].clone();
    let versions = json!(["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", MODERN]);
    assert_eq!(result["supportedVersions"], versions);
    assert_eq!(result["capabilities"], json!({"tools": {}}));
}

#[test]
fn discovery_decides_nothing_about_the_era() {
    let sandbox = sandbox();
    let mut legacy = sandbox.server().start();
    legacy.request("server/discover", modern(json!({})));
    assert_eq!(legacy.initialize("2025-06-18")["protocolVersion"], "2025-06-18");
    assert_serves(&mut legacy);
    let mut again = sandbox.server().start();
    for _ in 0..3 {
        assert!(again.request("server/discover", modern(json!({})))["result"].is_object());
    }
    assert!(again.request("tools/list", modern(json!({})))["result"]["tools"].is_array());
}

#[test]
fn a_modern_request_is_served_in_a_legacy_session() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    let modern_list = client.request("tools/list", modern(json!({})));
    assert_eq!(modern_list["result"]["resultType"], "complete", "{modern_list}");
    let legacy_list = client.request("tools/list", json!({}));
    assert!(legacy_list["result"].get("resultType").is_none(), "{legacy_list}");
    assert_eq!(modern_list["result"]["tools"], legacy_list["result"]["tools"]);
}

#[test]
fn a_request_before_initialize_and_without_its_version_is_told_what_is_missing() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start();
    let half = json!({"_meta": {"io.modelcontextprotocol/protocolVersion": MODERN}});
    for params in [json!({}), json!({"_meta": {}}), half] {
        let answer = client.request("tools/list", params.clone());
        assert_eq!(answer["error"]["code"], -32602, "{params}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("io.modelcontextprotocol/clientCapabilities"), "{message}");
    }
    assert_eq!(client.initialize("2025-11-25")["protocolVersion"], "2025-11-25", "the process serves on");
    assert_serves(&mut client);
}

#[test]
fn the_version_is_never_taken_from_an_earlier_request() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start();
    assert!(client.request("tools/list", modern(json!({})))["result"].is_object());
    assert_eq!(client.request("tools/list", json!({}))["error"]["code"], -32602);
    assert!(client.request("tools/list", modern(json!({})))["result"].is_object());
}

#[test]
fn an_unsupported_version_is_refused_with_those_that_are_supported() {
    let sandbox = sandbox();
    let mut fresh = sandbox.server().start();
    let mut served = sandbox.server().start();
    served.request("tools/list", modern(json!({})));
    for client in [&mut fresh, &mut served] {
        for method in ["tools/list", "tools/call"] {
            let params = with_version(json!({"name": "fs_read", "arguments": {"path": "a.txt"}}), "2099-01-01");
            let answer = client.request(method, params);
            let error = &answer["error"];
            assert_eq!(error["code"], -32022, "{answer}");
            assert_eq!(error["data"]["requested"], "2099-01-01");
            assert!(error["data"]["supported"].as_array().unwrap().contains(&json!(MODERN)), "{answer}");
        }
        assert!(client.request("tools/list", modern(json!({})))["result"].is_object());
    }
}

#[test]
fn a_ping_is_answered_at_any_time_of_a_legacy_session() {
    let mut client = ServerCommand::bare().start();
    assert_eq!(client.request("ping", json!({}))["result"], json!({}), "before initialize");
    client.initialize("2025-11-25");
    assert_eq!(client.request("ping", json!({}))["result"], json!({}));
}

#[test]
fn a_modern_session_has_no_ping_and_no_initialize() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start();
    client.request("tools/list", modern(json!({})));
    for method in ["ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"] {
        let answer = client.request(method, modern(json!({"level": "info", "uri": "x:y"})));
        assert_eq!(answer["error"]["code"], -32601, "{method}: {answer}");
    }
}

#[test]
fn a_notification_before_the_first_request_is_ignored() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start();
    client.notify("notifications/initialized", json!({}));
    client.notify("notifications/cancelled", json!({"requestId": 1}));
    client.notify("notifications/anything", json!({}));
    client.initialize("2025-11-25");
    assert_serves(&mut client);
}

#[test]
fn a_notification_between_probe_and_handshake_does_not_end_the_session() {
    let sandbox = sandbox();
    for probe in ["ping", "server/discover", "tools/list"] {
        let mut client = sandbox.server().start();
        let params = if probe == "server/discover" { modern(json!({})) } else { json!({}) };
        let id = client.begin(probe, params);
        client.answer(id);
        client.notify("notifications/initialized", json!({}));
        client.notify("notifications/cancelled", json!({"requestId": id}));
        client.notify("notifications/anything", json!({}));
        client.initialize("2025-11-25");
        assert_serves(&mut client);
    }
}

#[test]
fn both_eras_get_the_same_fault() {
    let sandbox = sandbox();
    let mut client = sandbox.server().start_session();
    let params = json!({"name": "fs_read", "arguments": {"path": "missing.txt"}});
    let legacy = client.request("tools/call", params.clone());
    let modern = client.request("tools/call", modern(params));
    assert_eq!(fault(&legacy), fault(&modern));
    assert_eq!(fault(&legacy).0, "not_found");
}
