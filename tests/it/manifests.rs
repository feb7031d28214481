//! Manifests: which are served, which not and why, and what their keys do.

use serde_json::{Value, json};

use crate::process::eventually;
use crate::support::{Client, Output, Sandbox, ServerCommand};
use crate::wat_guests::printing;

/// What `nurones-mcp tools --json` says of the folders.
fn report(folders: &[std::path::PathBuf]) -> (Value, Output) {
    let mut server = ServerCommand::bare();
    server.args(["tools", "--json"]);
    for folder in folders {
        server.arg("--tools").arg(folder);
    }
    let output = server.run("");
    (serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}{}", output.stdout, output.stderr)), output)
}

fn names(report: &Value) -> Vec<&str> {
    report["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

fn reasons(report: &Value) -> Vec<&str> {
    report["refused"].as_array().unwrap().iter().map(|refused| refused["reason"].as_str().unwrap()).collect()
}

/// Writes a module that prints `said`, and a manifest `file` for it that `extra` completes.
fn printer(sandbox: &Sandbox, file: &str, said: &str, extra: Value) {
    sandbox.write(&format!("tools/{file}.wasm"), wat::parse_str(printing(said, "")).unwrap());
    let mut manifest =
        json!({"name": file, "version": "1.1.0", "entry": format!("wasm://{file}.wasm"), "permissions": []});
    for (key, value) in extra.as_object().unwrap() {
        manifest[key] = value.clone();
    }
    sandbox.write(&format!("tools/{file}.json"), manifest.to_string());
}

/// The reason why a manifest with `extra` is refused.
fn refusal(extra: Value) -> String {
    let sandbox = Sandbox::new();
    printer(&sandbox, "t", "x", extra);
    let (report, output) = report(&[sandbox.path("tools")]);
    assert_eq!((names(&report), output.code()), (vec!["fs_read", "fs_write"], 1));
    reasons(&report).join("\n")
}

#[test]
fn the_seeds_manifest_is_served() {
    let sandbox = Sandbox::new();
    printer(&sandbox, "hello", "hi", json!({"name": "greet.hello", "description": "Says hello."}));
    let (report, output) = report(&[sandbox.path("tools")]);
    output.assert_success();
    let tool = &report["tools"][2];
    for (key, value) in [
        ("name", json!("greet_hello")),
        ("ownName", json!("greet.hello")),
        ("version", json!("1.1.0")),
        ("kind", json!("command")),
        ("permissions", json!("none")),
        ("description", json!("Says hello.")),
        ("inputSchema", json!({"type": "object"})),
        ("manifest", json!(sandbox.path("tools/hello.json"))),
    ] {
        assert_eq!(tool[key], value, "{key}");
    }
    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_text("greet_hello", json!({})), "hi");
    assert_eq!(client.call_text("greet.hello", json!({})), "hi");
}

#[test]
fn every_mistake_of_a_manifest_is_named_at_once() {
    let said = refusal(json!({
        "name": "no spaces", "version": "1.0.9", "entry": "file.wasm", "permissions": ["read", "network"],
        "deadline_ms": 0, "memory_mb": "64", "output_kb": -1, "workers": 65, "queue_depth": 0, "isolation": "cold",
        "inputSchema": {"type": "array"}, "description": 7, "premissions": [], "handles": 1.5, "priority": "urgent",
        "rate_limit": {"burst": 0, "per_minute": 60}
    }));
    for key in [
        "name",
        "version",
        "entry",
        "permissions",
        "deadline_ms",
        "memory_mb",
        "output_kb",
        "workers",
        "queue_depth",
        "isolation",
        "inputSchema",
        "description",
        "premissions",
        "handles",
        "priority",
        "rate_limit.per_s",
        "rate_limit.burst",
        "rate_limit.per_minute",
    ] {
        assert!(said.contains(&format!("`{key}`")), "{key} is not in {said}");
    }
}

#[test]
fn each_key_is_checked() {
    for (extra, part) in [
        (json!({"name": null}), "`name` is missing"),
        (json!({"name": ""}), "`name` must not be empty"),
        (json!({"name": "x".repeat(65)}), "1 to 64 characters"),
        (json!({"name": "ü"}), "A-Z a-z 0-9"),
        (json!({"version": "latest"}), "a version like 1.1.0"),
        (json!({"version": "1.1.0-beta"}), "1.1.0 or newer"),
        (json!({"permissions": null}), "`permissions` is missing"),
        (json!({"permissions": "read"}), "must be a list of strings"),
        (json!({"permissions": ["READ"]}), r#"not "READ""#),
        (json!({"entry": null}), "`entry` is missing"),
        (json!({"entry": "wasm://"}), "must be wasm://PATH"),
        (json!({"entry": "https://example.org/t.wasm"}), "must be wasm://PATH"),
        (json!({"entry": "/t.wasm"}), "must be wasm://PATH"),
        (json!({"entry": "wasm://../t.wasm"}), "must stay inside"),
        (json!({"entry": "wasm://a/../../t.wasm"}), "must stay inside"),
        (json!({"entry": "wasm://missing.wasm"}), "missing.wasm"),
        (json!({"entry": "wasm://."}), "cannot read"),
        (json!({"inputSchema": {"type": "object", "properties": []}}), "not a usable JSON Schema"),
        (json!({"inputSchema": {"type": "object", "$ref": "http://127.0.0.1:9/x.json"}}), "not a usable JSON Schema"),
    ] {
        let said = refusal(extra.clone());
        assert!(said.contains(part), "{extra}: {said}");
    }
}

#[test]
fn a_file_that_is_no_manifest_is_refused_and_the_others_serve() {
    let sandbox = Sandbox::new();
    printer(&sandbox, "good", "fine", json!({}));
    for (name, content) in [
        ("empty", &b""[..]),
        ("list", b"[]"),
        ("half", b"{\"name\":"),
        ("latin", b"{\"name\":\"\xe9\"}"),
        ("text", b"hello"),
    ] {
        sandbox.write(&format!("tools/{name}.json"), content);
    }
    std::fs::create_dir(sandbox.path("tools/folder.json")).unwrap();
    sandbox.link("tools/dangling.json", "nowhere");
    let (report, output) = report(&[sandbox.path("tools")]);
    assert_eq!(names(&report), ["fs_read", "fs_write", "good"]);
    let mut refused: Vec<_> = report["refused"].as_array().unwrap().iter().map(|one| &one["manifest"]).collect();
    refused.sort_by_key(|path| path.to_string());
    let expected = ["dangling", "empty", "folder", "half", "latin", "list", "text"];
    assert_eq!(
        refused,
        expected.map(|name| json!(sandbox.path(&format!("tools/{name}.json")))).iter().collect::<Vec<_>>()
    );
    assert_eq!(output.code(), 1);

    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_text("good", json!({})), "fine");
    for name in expected {
        eventually("it is in the log", || client.stderr().contains(&format!("{name}.json")));
    }
}

#[test]
fn only_json_files_of_the_folder_itself_are_manifests() {
    let sandbox = Sandbox::new();
    printer(&sandbox, "good", "fine", json!({}));
    let manifest = sandbox.read_text("tools/good.json").replace("good", "other");
    for name in ["tools/other.json.bak", "tools/other.txt", "tools/deeper/other.json", "tools/json"] {
        sandbox.write(name, &manifest);
    }
    let (report, output) = report(&[sandbox.path("tools")]);
    assert_eq!((names(&report), output.code()), (vec!["fs_read", "fs_write", "good"], 0));
}

#[test]
fn of_two_manifests_with_one_published_name_the_second_is_refused_naming_both() {
    let sandbox = Sandbox::new();
    printer(&sandbox, "a", "first", json!({"name": "same.name"}));
    printer(&sandbox, "b", "second", json!({"name": "same_name"}));
    let (report, _) = report(&[sandbox.path("tools")]);
    assert_eq!(names(&report), ["fs_read", "fs_write", "same_name"]);
    let [reason] = reasons(&report)[..] else { panic!("{report}") };
    assert!(reason.contains("a.json") && reason.contains("b.json") && reason.contains("same_name"), "{reason}");
    assert_eq!(sandbox.server().start_session().call_text("same_name", json!({})), "first");
}

#[test]
fn of_two_folders_the_first_named_wins() {
    let sandbox = Sandbox::new();
    printer(&sandbox, "t", "first", json!({}));
    std::fs::rename(sandbox.path("tools"), sandbox.path("one")).unwrap();
    printer(&sandbox, "t", "second", json!({}));
    let folders = [sandbox.path("tools"), sandbox.path("one")];
    for (first, second, said) in [(0, 1, "second"), (1, 0, "first")] {
        let (report, output) = report(&[folders[first].clone(), folders[second].clone()]);
        assert_eq!((reasons(&report).len(), output.code()), (1, 1));
        let mut server = ServerCommand::bare();
        server.arg("--tools").arg(&folders[first]).arg("--tools").arg(&folders[second]);
        assert_eq!(server.start_session().call_text("t", json!({})), said);
    }
}

#[test]
fn a_manifest_replaces_the_built_in_tool_of_its_name() {
    for name in ["fs.read", "fs_read"] {
        let sandbox = Sandbox::new();
        printer(&sandbox, "mine", "replaced", json!({"name": name}));
        let (report, output) = report(&[sandbox.path("tools")]);
        assert_eq!((names(&report), output.code()), (vec!["fs_read", "fs_write"], 0));
        assert_eq!(sandbox.server().start_session().call_text("fs_read", json!({})), "replaced");
    }
}

#[test]
fn a_replacement_that_cannot_load_is_not_replaced_by_the_built_in_tool() {
    let sandbox = Sandbox::new();
    sandbox.tool("mine", b"garbage", json!({"name": "fs.read"}));
    let (report, _) = report(&[sandbox.path("tools")]);
    assert_eq!(names(&report), ["fs_write"]);
    assert_eq!(reasons(&report).len(), 1);
}

#[test]
fn a_misspelt_replacement_is_not_replaced_by_the_built_in_tool() {
    let sandbox = Sandbox::new();
    printer(&sandbox, "mine", "x", json!({"name": "fs.read", "deadline_sm": 5}));
    let (report, _) = report(&[sandbox.path("tools")]);
    assert_eq!(names(&report), ["fs_write"], "a limit that was meant must not turn into none");
    assert!(reasons(&report)[0].contains("deadline_sm"));
}

#[test]
fn an_entry_is_relative_to_its_folder_or_absolute() {
    let sandbox = Sandbox::new();
    let module = wat::parse_str(printing("found", "")).unwrap();
    let absolute = sandbox.write("elsewhere/m.wasm", &module);
    sandbox.write("tools/deep/m.wasm", &module);
    let entries =
        ["wasm://deep/m.wasm".to_owned(), "wasm://./deep/m.wasm".to_owned(), format!("wasm://{}", absolute.display())];
    for (number, entry) in entries.iter().enumerate() {
        let manifest = json!({"name": format!("t{number}"), "version": "1.1.0", "entry": entry, "permissions": []});
        sandbox.write(&format!("tools/t{number}.json"), manifest.to_string());
    }
    let mut client = sandbox.server().current_dir(sandbox.data()).start_session();
    for (number, entry) in entries.iter().enumerate() {
        assert_eq!(client.call_text(&format!("t{number}"), json!({})), "found", "{entry}");
    }
}

#[test]
fn an_entry_beside_a_config_is_relative_to_the_project() {
    let sandbox = Sandbox::new();
    sandbox.write("project/wasm/m.wasm", wat::parse_str(printing("found", "")).unwrap());
    let manifest = json!({"name": "t", "version": "1.1.0", "entry": "wasm://wasm/m.wasm", "permissions": []});
    sandbox.write("project/.mcp/tools/t.json", manifest.to_string());
    let config = sandbox.write("project/.mcp/config.json", "{}");
    let mut client = ServerCommand::bare().arg("--config").arg(config).current_dir(sandbox.data()).start_session();
    assert_eq!(client.call_text("t", json!({})), "found");
}

#[test]
fn the_manifests_words_beat_the_tools_own() {
    let sandbox = Sandbox::new();
    let schema = json!({"type": "object", "required": ["verb", "text"], "properties": {"verb": {"const": "echo"}}});
    sandbox.prebuilt_tool("plain", "probe", json!({}));
    sandbox.prebuilt_tool("narrow", "probe", json!({"description": "Only echoes.", "inputSchema": schema}));
    let mut client = sandbox.server().start_session();
    // A tool that was called has been asked what it is.
    assert_eq!(client.call_text("plain", json!({"verb": "echo", "text": "hi"})), "hi");
    let list = client.request("tools/list", json!({}));
    let tools = list["result"]["tools"].as_array().unwrap();
    let find = |name: &str| tools.iter().find(|tool| tool["name"] == name).unwrap();
    assert_eq!((&find("narrow")["description"], &find("narrow")["inputSchema"]), (&json!("Only echoes."), &schema));
    assert!(find("plain")["description"].as_str().unwrap().starts_with("Test tool"));
    assert_eq!(client.call_text("narrow", json!({"verb": "echo", "text": "hi"})), "hi");
    assert_eq!(client.call_fault("narrow", json!({"verb": "count", "text": "hi"})).0, "invalid_arguments");
    assert_eq!(client.call_text("plain", json!({"verb": "count"})), "2", "the refused call did not reach a guest");
}

#[test]
fn permissions_are_what_a_tool_can_do() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("data/a.txt", "whole");
    for (name, permissions) in [("none", vec![]), ("read", vec!["read"]), ("both", vec!["read", "write"])] {
        sandbox.prebuilt_tool(name, "probe", json!({"permissions": permissions}));
    }
    let mut client: Client = sandbox.server().start_session();
    let (read, write) =
        (json!({"verb": "read", "path": &path}), json!({"verb": "write", "path": &path, "content": "new"}));
    client.call_fault("none", read.clone());
    assert_eq!(client.call_text("read", read), "whole");
    client.call_fault("none", write.clone());
    client.call_fault("read", write.clone());
    assert_eq!(sandbox.read_text("data/a.txt"), "whole");
    client.call_text("both", write);
    assert_eq!(sandbox.read_text("data/a.txt"), "new");
}

#[test]
fn the_deadline_is_the_manifests() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("short", "probe", json!({"deadline_ms": 50}));
    sandbox.prebuilt_tool("long", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    let (code, said) = client.call_fault("short", json!({"verb": "sleep", "ms": 200}));
    assert_eq!(code, "deadline_exceeded");
    assert!(said.contains("50 ms") && said.contains("deadline_ms"), "{said}");
    assert_eq!(client.call_text("long", json!({"verb": "sleep", "ms": 200})), "slept 200 ms");
}

#[test]
fn more_workers_serve_at_the_same_time() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("pair", "probe", json!({"workers": 2}));
    let mut client = sandbox.server().start_session();
    let hanging = client.begin_call("pair", json!({"verb": "sleep", "ms": 3_600_000}));
    for _ in 0..20 {
        assert_eq!(client.call_text("pair", json!({"verb": "echo", "text": "hi"})), "hi");
    }
    assert!(client.leftovers().iter().all(|message| message["id"] != hanging));
}

#[test]
fn the_list_for_people_shows_what_is_served_and_what_not() {
    let sandbox = Sandbox::new();
    printer(&sandbox, "good", "x", json!({"permissions": ["read", "write"], "isolation": "fresh"}));
    sandbox.write("tools/bad.json", "{}");
    let mut server = sandbox.server();
    let output = server.arg("tools").run("");
    assert_eq!(output.code(), 1);
    for part in
        ["fs_read", "fs.read 1.1.0", "tool component", "command", "permissions: read, write", "fresh", "<embedded>"]
    {
        assert!(output.stdout.contains(part), "{part} not in {}", output.stdout);
    }
    let bad = format!("not served: {}", sandbox.path("tools/bad.json").display());
    let allowed = format!("allowed directories: {} (read, write)", sandbox.data().display());
    for part in [&bad, "`name` is missing", &allowed] {
        assert!(output.stdout.contains(part), "{part} not in {}", output.stdout);
    }
    let none = ServerCommand::bare().arg("tools").run("");
    none.assert_success();
    assert!(
        none.stdout.contains("allowed directories: none") && none.stdout.contains("--allow DIR"),
        "{}",
        none.stdout
    );
}
