//! Where settings come from, which wins, and what is said when they are wrong.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Output, Sandbox, ServerCommand, text};
use crate::wat_guests::printing;

/// A project as a repository may ship it: it grants itself everything and brings a tool.
fn project() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    sandbox.write("project/data/a.txt", "of the project");
    sandbox.write("project/wasm/t.wasm", wat::parse_str(printing("from the project", "")).unwrap());
    let manifest =
        json!({"name": "theirs", "version": "1.1.0", "entry": "wasm://wasm/t.wasm", "permissions": ["read"]});
    for folder in ["project/.mcp/tools", "project/tools", "project"] {
        sandbox.write(&format!("{folder}/theirs.json"), manifest.to_string());
    }
    sandbox.write("project/.mcp/context-default.json", r#"{"tenant_id":"theirs","flags":{"read_only":true}}"#);
    let config = json!({"policies": {"fs_allowlist": ["data:rw"]}, "supervision": {"log": "their.log"}});
    let config = sandbox.write("project/.mcp/config.json", config.to_string());
    (sandbox, config)
}

fn tools(output: &Output) -> Vec<String> {
    let report: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.stderr));
    report["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_config_nothing_is_read_from_the_working_folder() {
    let (sandbox, _) = project();
    let before = sandbox.names("project");
    let mut server = ServerCommand::bare();
    // Variables that say nothing must not stand for the working folder either.
    for name in ["NURONES_CONFIG", "NURONES_TOOLS", "FS_ALLOWLIST", "NURONES_SUPERVISION_LOG", "CONTEXT_ENGINE"] {
        server.env(name, "");
    }
    let mut client = server.current_dir(sandbox.path("project")).start_session();
    let listed = client.request("tools/list", json!({}));
    let names: Vec<_> = listed["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["fs_read", "fs_write"]);
    for path in ["data/a.txt", "a.txt", sandbox.path("project/data/a.txt").to_str().unwrap()] {
        let answer = client.call("fs_read", json!({"path": path}));
        assert_eq!(crate::support::fault(&answer).0, "permission_denied");
        assert_eq!(answer["result"]["_meta"]["io.nurones/context"]["tenant_id"], "default");
    }
    assert!(client.finish().1.success());
    assert_eq!(sandbox.names("project"), before, "no log was written");
}

#[test]
fn with_config_all_of_it_is_read() {
    let (sandbox, config) = project();
    for given in [config, PathBuf::from("../project/.mcp/config.json")] {
        let mut server = ServerCommand::bare();
        let mut client = server.arg("--config").arg(given).current_dir(sandbox.path("data")).start_session();
        assert_eq!(client.call_text("theirs", json!({})), "from the project");
        let answer = client.call("fs_read", json!({"path": "a.txt"}));
        assert_eq!(text(&answer), "of the project");
        assert_eq!(answer["result"]["_meta"]["io.nurones/context"]["tenant_id"], "theirs");
        let write = json!({"path": "b.txt", "content": "x"});
        assert_eq!(client.call_fault("fs_write", write.clone()).0, "permission_denied", "read_only is their default");
        text(&client.call_framed("fs_write", write, json!({"flags": {"read_only": false}})));
        std::fs::remove_file(sandbox.path("project/data/b.txt")).unwrap();
    }
    assert!(sandbox.names("project").contains(&"their.log".to_owned()), "relative to the project");
}

#[test]
fn an_empty_entry_in_a_list_is_not_the_working_folder() {
    let (sandbox, _) = project();
    let empty = sandbox.path("tools").display().to_string();
    for list in [format!("{empty},"), format!(",{empty}"), " ".to_owned(), ",".to_owned()] {
        let mut server = ServerCommand::bare();
        server.env("NURONES_TOOLS", &list).current_dir(sandbox.path("project"));
        assert_eq!(tools(&server.args(["tools", "--json"]).run("")), ["fs_read", "fs_write"], "{list:?}");
    }
    for list in [",", " , ", " "] {
        let mut server = ServerCommand::bare();
        server.env("FS_ALLOWLIST", list).current_dir(sandbox.path("project"));
        assert_eq!(server.args(["call", "fs.read", r#"{"path":"data/a.txt"}"#]).run("").code(), 1, "{list:?}");
    }
    let mut server = ServerCommand::bare();
    server.args(["tools", "--json", "--tools", ""]).current_dir(sandbox.path("project"));
    assert_eq!(server.run("").code(), 64);
}

#[test]
fn every_mistake_of_every_source_is_reported_at_once() {
    let sandbox = Sandbox::new();
    let config = json!({
        "profile": 7, "server": {"port": 70_000}, "tools": [1], "polices": {},
        "performance": {"maxInflight": 0, "queueWatermark": "high", "codelTargetMs": 0, "codelIntervalMs": -1, "coalesceUs": 1001},
        "policies": {"fs_allowlist": "data"}, "supervision": {"restartIntensity": -1}
    });
    let config = sandbox.write("p/.mcp/config.json", config.to_string());
    sandbox.write("p/.mcp/context-default.json", r#"{"risk_level":9,"stage":"qa"}"#);
    for command in [&[][..], &["tools"], &["call", "fs.read", "{}"]] {
        let mut server = ServerCommand::bare();
        server.arg("--config").arg(&config).args(["--allow", "/no/such/folder", "--allow", "/neither/this", "--tools"]);
        server.arg("/no/tools/here").args(command).env("CONTEXT_ENGINE", "maybe").env("NURONES_MAX_INFLIGHT", "many");
        let output = server.run("");
        assert_eq!((output.code(), output.stdout.as_str()), (64, ""), "{}", output.stderr);
        for part in [
            "`profile`",
            "`server.port`",
            "`performance.maxInflight`",
            "`performance.queueWatermark`",
            "`performance.codelTargetMs`",
            "`performance.codelIntervalMs`",
            "`performance.coalesceUs`",
            "`policies.fs_allowlist`",
            "`supervision.restartIntensity`",
            "`polices`",
            "`tools`",
            "`risk_level`",
            "`stage`",
            "--allow: cannot allow the directory /no/such/folder",
            "/neither/this",
            "/no/tools/here",
            "CONTEXT_ENGINE",
            "NURONES_MAX_INFLIGHT",
            "config.json",
            "context-default.json",
        ] {
            assert!(output.stderr.contains(part), "{part} is not in\n{}", output.stderr);
        }
    }
}

#[test]
fn a_config_that_is_no_json_object_is_said_so() {
    let sandbox = Sandbox::new();
    for (content, part) in [("", "is not JSON"), ("[]", "must hold a JSON object"), ("{,}", "is not JSON")] {
        let config = sandbox.write("config.json", content);
        let output = ServerCommand::bare().arg("--config").arg(&config).run("");
        assert_eq!(output.code(), 64);
        assert!(output.stderr.contains(part) && output.stderr.contains("config.json"), "{}", output.stderr);
    }
}

#[test]
fn a_variable_that_is_not_text_is_a_mistake_and_not_unset() {
    use std::os::unix::ffi::OsStrExt;
    let mut server = ServerCommand::bare();
    server.env("FS_ALLOWLIST", std::ffi::OsStr::from_bytes(b"/tmp/\xff"));
    let output = server.run("");
    assert_eq!(output.code(), 64);
    assert!(output.stderr.contains("FS_ALLOWLIST: must be UTF-8"), "{}", output.stderr);
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let sandbox = Sandbox::new();
    for folder in ["file", "env", "flag"] {
        sandbox.write(&format!("p/{folder}/a.txt"), folder);
    }
    let config = sandbox.write("p/.mcp/config.json", r#"{"policies":{"fs_allowlist":["file"]}}"#);
    let read = |env: bool, flag: bool| {
        let mut server = ServerCommand::bare();
        server.arg("--config").arg(&config).args(["call", "fs.read", r#"{"path":"a.txt"}"#]);
        if env {
            server.env("FS_ALLOWLIST", sandbox.path("p/env"));
        }
        if flag {
            server.arg("--allow").arg(sandbox.path("p/flag"));
        }
        server.run("").assert_success().stdout.clone()
    };
    assert_eq!(read(false, false), "file");
    assert_eq!(read(true, false), "env");
    assert_eq!(read(false, true), "flag");
    assert_eq!(read(true, true), "flag");
}

#[test]
fn what_wins_replaces_the_others_and_does_not_add_to_them() {
    let (sandbox, config) = project();
    sandbox.write("data/b.txt", "allowed");
    let mut server = ServerCommand::bare();
    server.arg("--config").arg(&config).arg("--allow").arg(sandbox.data()).arg("--tools").arg(sandbox.path("tools"));
    let mut client = server.start_session();
    assert_eq!(client.call_text("fs_read", json!({"path": "b.txt"})), "allowed");
    let theirs = json!({"path": sandbox.path("project/data/a.txt")});
    assert_eq!(client.call_fault("fs_read", theirs).0, "permission_denied");
    assert_eq!(client.call("theirs", json!({}))["error"]["code"], -32602);
}

#[test]
fn the_environment_can_say_what_flags_say() {
    let (sandbox, config) = project();
    sandbox.write("data/b.txt", "b");
    sandbox.wat_tool("ours", &printing("ours", ""), json!({}));
    let allow = format!("{}:rw, {}", sandbox.data().display(), sandbox.path("project").display());
    let log = sandbox.path("log.jsonl");
    let mut server = ServerCommand::bare();
    server.env("FS_ALLOWLIST", allow).env("NURONES_TOOLS", sandbox.path("tools")).env("NURONES_SUPERVISION_LOG", &log);
    server.env("CONTEXT_ENGINE", "on").env("NURONES_MAX_INFLIGHT", "16");
    let mut client = server.start_session();
    assert_eq!(client.call_text("ours", json!({})), "ours");
    client.call_text("fs_write", json!({"path": "b.txt", "content": "c", "mode": "append"}));
    let theirs = sandbox.path("project/data/a.txt");
    assert_eq!(client.call_text("fs_read", json!({"path": &theirs})), "of the project");
    let write = json!({"path": &theirs, "content": "x", "mode": "overwrite"});
    assert_eq!(client.call_fault("fs_write", write).0, "permission_denied");
    assert!(client.finish().1.success());
    assert!(log.exists());
    assert_eq!(sandbox.read_text("data/b.txt"), "bc");

    let output = ServerCommand::bare().env("NURONES_CONFIG", config).args(["tools", "--json"]).run("");
    assert_eq!(tools(&output), ["fs_read", "fs_write", "theirs"]);
}

#[test]
fn a_list_of_allowed_folders_has_one_entry_per_comma_and_a_flag_is_one_folder() {
    let sandbox = Sandbox::new();
    sandbox.write("a/x.txt", "a");
    sandbox.write("b/x.txt", "b");
    sandbox.write("a,b/x.txt", "both");
    let read = |flag: &str| {
        let mut server = ServerCommand::bare();
        server.current_dir(sandbox.root()).args(["call", "fs.read", r#"{"path":"x.txt"}"#, flag, "a,b"]);
        server.run("").assert_success().stdout.clone()
    };
    assert_eq!(read("--fs-allowlist"), "a");
    assert_eq!(read("--allow"), "both");
}

#[test]
fn the_seeds_config_works_as_it_is() {
    let sandbox = Sandbox::new();
    let config = json!({
        "profile": "dev", "server": {"port": 50550}, "transports": ["stdio", "ws"],
        "rbac": {"defaultRole": "operator"}, "observability": {"otelExporter": "http://localhost:4318"},
        "context_engine": {"enabled": true, "changeCapPctPerDay": 10, "minConfidence": 0.6},
        "performance": {"maxInflight": 2048, "batchSize": 64, "queueWatermark": 0.75}
    });
    let config = sandbox.write("p/.mcp/config.json", config.to_string());
    let mut client = ServerCommand::bare().arg("--config").arg(config).start_session();
    assert_eq!(client.call_fault("fs_read", json!({"path": "x"})).0, "permission_denied");
    assert!(client.finish().1.success());
}
