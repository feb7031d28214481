//! Who may call what: enforced on every way a call can take, explained by the command line, and not to be widened from
//! inside.

use std::path::Path;

use serde_json::{Value, json};

use crate::eras::modern;
use crate::output::Output;
use crate::support::{Client, Sandbox, ServerCommand, fault, text};
use crate::wat_guests::command;

/// A project with `data/` allowed for writing and these rules.
fn project(rules: &Value) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "whole");
    let config = json!({
        "rbac": {"defaultRole": "operator"}, "policies": {"fs_allowlist": ["data:rw"]}, "tools": ["tools"]
    });
    sandbox.write(".mcp/config.json", config.to_string());
    sandbox.write(".mcp/policies.json", rules.to_string());
    sandbox
}

fn roles() -> Value {
    json!({
        "roles": {"operator": ["*"], "viewer": {"tools": ["fs.*"], "deny": ["fs.write"], "max_risk": 1}},
        "users": {"guest": {"role": "viewer"}},
        "prod": {"destructive": "approval"}
    })
}

fn with_config(sandbox: &Sandbox) -> ServerCommand {
    let mut server = ServerCommand::bare();
    server.arg("--config").arg(sandbox.path(".mcp/config.json"));
    server
}

fn write() -> Value {
    json!({"path": "b.txt", "content": "x", "mode": "overwrite"})
}

fn listed(client: &mut Client, params: Value) -> Vec<String> {
    let list = client.request("tools/list", params);
    let tools = list["result"]["tools"].as_array().unwrap_or_else(|| panic!("{list}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

fn explain(sandbox: &Sandbox, args: &[&str]) -> Output {
    with_config(sandbox).args(["policy", "explain"]).args(args).run("")
}

fn explained(sandbox: &Sandbox, args: &[&str]) -> (i32, Value) {
    let output = with_config(sandbox).args(["policy", "explain", "--json"]).args(args).run("");
    let report = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.stderr));
    (output.code(), report)
}

#[test]
fn a_user_is_told_of_and_may_call_what_its_role_names_in_both_eras_and_on_both_ways() {
    let sandbox = project(&roles());
    for is_modern in [false, true] {
        let era = |params: Value| if is_modern { modern(params) } else { params };
        let mut server = with_config(&sandbox);
        server.args(["--user", "guest"]);
        let mut client = if is_modern { server.start() } else { server.start_session() };
        assert_eq!(listed(&mut client, era(json!({}))), ["fs_read"]);
        let read = json!({"name": "fs.read", "arguments": {"path": "a.txt"}});
        // The first one compiles the tool; what follows may go the short way.
        for _ in 0..2 {
            assert_eq!(text(&client.request("tools/call", era(read.clone()))), "whole");
        }
        for name in ["fs_write", "fs.write"] {
            for long_way in [false, true] {
                let mut call = json!({"name": name, "arguments": write()});
                if long_way {
                    call["_meta"]["progressToken"] = json!("long");
                }
                let (code, said) = fault(&client.request("tools/call", era(call)));
                assert_eq!(code, "permission_denied");
                for part in ["the user guest may not call fs_write", "policies.json#/roles/viewer/deny/0"] {
                    assert!(said.contains(part), "{part} not in: {said}");
                }
                assert!(!said.contains(sandbox.root().to_str().unwrap()), "no folder of this machine: {said}");
            }
        }
        let unknown = client.request("tools/call", era(json!({"name": "nothing", "arguments": {}})));
        let said = unknown["error"]["message"].as_str().unwrap();
        assert!(said.ends_with("known tools: fs_read"), "{said}");
    }
    assert_eq!(sandbox.names("data"), ["a.txt"]);
}

#[test]
fn who_the_user_is_comes_from_whoever_starts_the_server() {
    let sandbox = project(&roles());
    let tools = |server: &mut ServerCommand| listed(&mut server.start_session(), json!({}));
    assert_eq!(tools(&mut with_config(&sandbox)), ["fs_read", "fs_write"], "the default role");
    assert_eq!(tools(with_config(&sandbox).env("NURONES_USER", "guest")), ["fs_read"]);
    assert_eq!(tools(with_config(&sandbox).env("NURONES_USER", "")), ["fs_read", "fs_write"]);
    let config =
        json!({"rbac": {"defaultRole": "operator", "user": "guest"}, "policies": {"fs_allowlist": ["data:rw"]}});
    sandbox.write(".mcp/config.json", config.to_string());
    assert_eq!(tools(&mut with_config(&sandbox)), ["fs_read"]);
    let mut client = with_config(&sandbox).start_session();
    for claim in [json!({"user": "admin"}), json!({"user": "admin", "role": "operator", "tenant_id": "admin"})] {
        assert_eq!(fault(&client.call_framed("fs_write", write(), claim)).0, "permission_denied");
    }
}

#[test]
fn at_the_highest_risk_nothing_destructive_is_called() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "whole");
    let mut client = sandbox.server().start_session();
    let (code, said) = fault(&client.call_framed("fs_write", write(), json!({"risk_level": 2})));
    assert_eq!(code, "permission_denied");
    assert!(said.contains("risk_level is 2") && said.contains("built in"), "{said}");
    text(&client.call_framed("fs_read", json!({"path": "a.txt"}), json!({"risk_level": 2})));
    text(&client.call_framed("fs_write", write(), json!({"risk_level": 1})));
}

#[test]
fn at_prod_a_destructive_call_is_denied_that_needs_approval() {
    let sandbox = project(&roles());
    let mut client = with_config(&sandbox).start_session();
    let (code, said) = fault(&client.call_framed("fs_write", write(), json!({"stage": "prod"})));
    assert_eq!(code, "permission_denied");
    for part in ["clients cannot be asked for it yet", "policies.json#/prod/destructive"] {
        assert!(said.contains(part), "{part} not in: {said}");
    }
    text(&client.call_framed("fs_read", json!({"path": "a.txt"}), json!({"stage": "prod"})));
    text(&client.call_framed("fs_write", write(), json!({"stage": "staging"})));
}

#[test]
fn an_answer_kept_under_a_key_is_not_given_to_whom_the_rules_deny() {
    let sandbox = project(&roles());
    let call = json!({"name": "fs_write", "arguments": write(), "_meta": {"io.nurones/idempotencyKey": "k-1"}});
    let state = sandbox.path("state");
    let server = |user: &str| {
        let mut server = with_config(&sandbox);
        server.env("NURONES_STATE_DIR", &state).env("NURONES_USER", user).start_session()
    };
    text(&server("").request("tools/call", call.clone()));
    assert_eq!(fault(&server("guest").request("tools/call", call)).0, "permission_denied");
}

#[test]
fn a_client_cannot_talk_its_way_out_of_the_servers_own_stage_risk_and_read_only() {
    let sandbox = project(&roles());
    let lax = json!({"stage": "dev", "risk_level": 0, "flags": {"read_only": false}});
    for (strict, part) in [
        (json!({"stage": "prod"}), "stage prod"),
        (json!({"risk_level": 2}), "risk_level is 2"),
        (json!({"flags": {"read_only": true}}), "flags.read_only"),
    ] {
        sandbox.write(".mcp/context-default.json", strict.to_string());
        let answer = with_config(&sandbox).start_session().call_framed("fs_write", write(), lax.clone());
        let (code, said) = fault(&answer);
        assert_eq!(code, "permission_denied", "{strict}: {said}");
        assert!(said.contains(part), "{strict}: {said}");
        let used = &answer["result"]["_meta"]["io.nurones/context"];
        for (key, value) in strict.as_object().unwrap() {
            assert_eq!(&used[key], value, "what was used comes back");
        }
    }
}

#[test]
fn a_tool_sees_only_the_directories_its_rule_names() {
    let mut rules = roles();
    rules["tools"] = json!({
        "fs.read": {"filesystem": [{"dir": "data/open"}]},
        "fs.write": {"filesystem": [{"dir": "data/open", "access": "ro"}]}
    });
    let sandbox = project(&rules);
    sandbox.write("data/open/b.txt", "open");
    let mut client = with_config(&sandbox).start_session();
    assert_eq!(client.call_text("fs_read", json!({"path": "b.txt"})), "open", "relative to the first it sees");
    assert_eq!(client.call_text("fs_read", json!({"path": sandbox.path("data/open/b.txt")})), "open");
    for path in [sandbox.path("data/a.txt"), "../a.txt".into()] {
        assert_eq!(client.call_fault("fs_read", json!({"path": path})).0, "permission_denied");
    }
    assert_eq!(client.call_fault("fs_write", write()).0, "permission_denied");
    rules["tools"]["fs.write"]["filesystem"] = json!([]);
    sandbox.write(".mcp/policies.json", rules.to_string());
    let mut client = with_config(&sandbox).start_session();
    let write = json!({"path": sandbox.path("data/new.txt"), "content": "x"});
    assert_eq!(client.call_fault("fs_write", write).0, "permission_denied");
    assert_eq!(sandbox.names("data"), ["a.txt", "open"]);
}

#[test]
fn a_tool_gets_the_variables_and_secrets_its_rule_names_and_no_other_tool_does() {
    let mut rules = roles();
    rules["tools"] = json!({"granted": {
        "env": ["A_PLACE"],
        "secrets": [{"name": "TOKEN", "from": "file:secret"}, {"name": "OTHER", "from": "env:REAL_OTHER"}]
    }, "lacking": {"secrets": [{"name": "TOKEN", "from": "keyring:no-such-key"}]}});
    let sandbox = project(&rules);
    let secret = sandbox.write("secret", "hunter2\n");
    set_mode(&secret, 0o600);
    let shows = "(drop (call $environ_sizes_get (i32.const 64) (i32.const 68)))
        (drop (call $environ_get (i32.const 1024) (i32.const 2048)))
        (call $print (i32.const 2048) (i32.load (i32.const 68)))";
    for name in ["granted", "lacking", "bare"] {
        sandbox.wat_tool(name, &command(shows), json!({}));
    }
    let mut server = with_config(&sandbox);
    server.arg("--tools").arg(sandbox.path("tools"));
    // The guest prints its secrets here, and at debug rmcp's lines repeat whole answers.
    server.env("A_PLACE", "here").env("REAL_OTHER", "swordfish").env("NURONES_LOG", "debug");
    let mut client = server.start_session();
    let seen = client.call_text("granted", json!({}));
    for variable in ["A_PLACE=here\0", "TOKEN=hunter2\0", "OTHER=swordfish\0", "NURONES_CONTEXT="] {
        assert!(seen.contains(variable), "{variable:?} not in {seen:?}");
    }
    assert!(!seen.contains("REAL_OTHER"));
    let bare = client.call_text("bare", json!({}));
    assert!(bare.starts_with("NURONES_CONTEXT="), "{bare:?}");
    let (code, said) = client.call_fault("lacking", json!({}));
    assert_eq!(code, "permission_denied");
    assert!(said.contains("nurones-mcp:no-such-key"), "{said}");
    let log = client.all_it_said();
    assert!(!log.contains("hunter2") && !log.contains("swordfish"), "{log}");
    assert!(log.contains("[redacted:secret TOKEN]") && log.contains("[redacted:secret OTHER]"), "{log}");
    let checked = with_config(&sandbox)
        .arg("--tools")
        .arg(sandbox.path("tools"))
        .args(["policy", "check"])
        .env("REAL_OTHER", "swordfish")
        .run("");
    assert_eq!(checked.code(), 1, "{}", checked.stderr);
    for part in ["it gets the secret TOKEN from file:secret", "A_PLACE, which is not set", "cannot be called: "] {
        assert!(checked.stdout.contains(part), "{part} not in:\n{}", checked.stdout);
    }
    assert!(!checked.stdout.contains("hunter2") && !checked.stdout.contains("swordfish"));
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_server_whose_rules_tools_could_rewrite_does_not_start() {
    let sandbox = project(&roles());
    for (allow, named) in [(".", "policies.json"), (".mcp", "policies.json"), ("tools", "tools")] {
        let mut server = with_config(&sandbox);
        server.arg("--allow").arg(format!("{}:rw", sandbox.path(allow).display()));
        let output = server.run("");
        assert_eq!(output.code(), 64, "{allow}");
        assert!(output.stderr.contains("they could grant themselves more"), "{}", output.stderr);
        assert!(
            output.stderr.contains(&format!("{}:", sandbox.path(".mcp").join(named).display())) || named == "tools"
        );
        let mut server = with_config(&sandbox);
        let mut client = server.arg("--allow").arg(sandbox.path(allow)).start_session();
        assert_eq!(listed(&mut client, json!({})), ["fs_read", "fs_write"], "for reading it may be allowed");
    }
}

#[test]
fn rules_that_cannot_be_read_are_no_rules_to_start_with() {
    let sandbox = project(&json!({"roles": {"a": ["fs read"]}, "rolls": {}, "prod": {"destructive": "ask"}}));
    let output = with_config(&sandbox).run("");
    assert_eq!(output.code(), 64);
    for part in ["`roles.a.0`", "`rolls` is not a known key", "`prod.destructive` must be", "names the role `operator`"]
    {
        assert!(output.stderr.contains(part), "{part} not in:\n{}", output.stderr);
    }
    assert_eq!(output.stderr.lines().filter(|line| line.starts_with("nurones-mcp: ")).count(), 4, "{}", output.stderr);
    for text in ["{", "[]", ""] {
        sandbox.write(".mcp/policies.json", text);
        assert_eq!(with_config(&sandbox).run("").code(), 64, "{text:?}");
    }
    std::fs::remove_file(sandbox.path(".mcp/policies.json")).unwrap();
    std::os::unix::fs::symlink("nowhere.json", sandbox.path(".mcp/policies.json")).unwrap();
    assert_eq!(with_config(&sandbox).run("").code(), 64, "a link to nothing is no missing file");
}

#[test]
fn explain_names_the_rule_its_place_and_all_it_looked_at() {
    let sandbox = project(&roles());
    let (code, report) = explained(&sandbox, &["--tool", "fs.write", "--user", "guest"]);
    assert_eq!(code, 1);
    let answer = &report["answers"][0];
    assert_eq!((&answer["allowed"], &report["role"]), (&json!(false), &json!("viewer")));
    assert_eq!(answer["rule"]["pointer"], "/roles/viewer/deny/0");
    assert_eq!(answer["rule"]["file"], json!(sandbox.path(".mcp/policies.json")));
    let looked: Vec<&Value> = answer["lookedAt"].as_array().unwrap().iter().map(|rule| &rule["pointer"]).collect();
    assert_eq!(looked, ["/users/guest", "/roles/viewer/deny/0"]);
    for (args, code, part) in [
        (&["--tool", "fs.write"][..], 0, "call: allowed"),
        (&["--tool", "fs_write", "--stage", "prod"], 1, "#/prod/destructive"),
        (&["--tool", "fs.write", "--risk", "2"], 1, "built in: at risk_level 2"),
        (&["--tool", "fs.write", "--read-only"], 1, "flags.read_only"),
        (&["--tool", "fs.read", "--user", "guest", "--risk", "2"], 1, "#/roles/viewer/max_risk"),
        (&["--tool", "fs.read", "--url", "https://example.com"], 1, "network guests are not built yet"),
    ] {
        let output = explain(&sandbox, args);
        assert_eq!(output.code(), code, "{args:?}: {}{}", output.stdout, output.stderr);
        assert!(output.stdout.contains(part), "{args:?}: {part} not in:\n{}", output.stdout);
    }
    for (args, part) in [
        (&["--tool", "nothing"][..], "known tools: fs_read, fs_write"),
        (&["--tool", "fs.read", "--user", "stranger"], "`stranger`"),
        (&["--tool", "fs.read", "--risk", "3"], "3"),
        (&["--tool", "fs.read", "--url", "example.com"], "no URL"),
    ] {
        let output = explain(&sandbox, args);
        assert_eq!(output.code(), 64, "{args:?}");
        assert!(output.stderr.contains(part), "{args:?}: {}", output.stderr);
    }
    let output = ServerCommand::bare().args(["policy", "explain", "--tool", "fs.write"]).run("");
    assert_eq!(output.code(), 0);
    assert!(output.stdout.contains("no policy: everything the server was started with"), "{}", output.stdout);
}

#[test]
fn explain_and_the_sandbox_agree_about_paths() {
    let sandbox = project(&roles());
    sandbox.write("outside/s.txt", "secret");
    sandbox.write("data/sub/c.txt", "whole");
    for (link, target) in [("up", "../outside"), ("abs", "/etc"), ("fine", "sub"), ("inside", "sub/../a.txt")] {
        std::os::unix::fs::symlink(target, sandbox.path("data").join(link)).unwrap();
    }
    let mut client = with_config(&sandbox).start_session();
    for path in [
        "a.txt",
        "fine/c.txt",
        "inside",
        "up/s.txt",
        "abs/hostname",
        "../outside/s.txt",
        "/etc/hostname",
        sandbox.path("data/a.txt").to_str().unwrap(),
        sandbox.path("outside/s.txt").to_str().unwrap(),
    ] {
        let read = client.call("fs_read", json!({"path": path}));
        let may = read["result"]["isError"] != true;
        let (code, report) = explained(&sandbox, &["--tool", "fs.read", "--path", path]);
        assert_eq!(report["answers"][1]["question"], "read");
        assert_eq!(report["answers"][1]["allowed"], may, "{path}: {read}\n{report}");
        assert_eq!(code == 0, may, "{path}");
    }
    let said = explain(&sandbox, &["--tool", "fs.read", "--path", "abs/hostname"]).stdout;
    assert!(said.contains("data/abs to /etc"), "{said}");
    let (_, report) = explained(&sandbox, &["--tool", "fs.write", "--path", "new.txt"]);
    assert_eq!((&report["answers"][2]["question"], &report["answers"][2]["allowed"]), (&json!("write"), &json!(true)));
    let output = with_config(&sandbox)
        .args([
            "--allow",
            sandbox.data().to_str().unwrap(),
            "policy",
            "explain",
            "--tool",
            "fs.write",
            "--path",
            "a.txt",
        ])
        .run("");
    assert!(output.stdout.contains("write: denied"), "{}", output.stdout);
}

#[test]
fn the_rules_of_this_repository_are_good() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join(".mcp/config.json");
    let mut server = ServerCommand::bare();
    let output = server.arg("--config").arg(&config).args(["policy", "check"]).run("");
    assert_eq!(output.code(), 0, "{}", output.stderr);
    assert!(output.stdout.contains("fs_write: allowed"), "{}", output.stdout);
    let mut server = ServerCommand::bare();
    let mut client = server.arg("--config").arg(&config).args(["--user", "guest"]).start_session();
    assert_eq!(listed(&mut client, json!({})), ["fs_read"]);
}

#[test]
fn the_rules_bound_tenants_whatever_they_allow_themselves() {
    let sandbox = project(&json!({"tenants": {"acme": {"cpu_ms_per_min": 1}, "*": {"rps": 0.001}}}));
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = with_config(&sandbox).arg("--tools").arg(sandbox.path("tools")).start_session();
    let mut burn = |tenant: &str, budgets: Value| {
        client.call_framed("probe", json!({"verb": "burn", "ms": 20}), json!({"tenant_id": tenant, "budgets": budgets}))
    };
    let refused = |answer: &Value, key: &str| {
        assert_eq!(answer["error"]["data"]["reason"], "rate", "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(key), "{answer}");
    };
    text(&burn("acme", json!({})));
    refused(&burn("acme", json!({"cpu_ms_per_min": 60_000})), "cpu_ms_per_min");
    text(&burn("somebody", json!({})));
    refused(&burn("somebody", json!({"rps": 1000})), "rps");
    text(&burn("somebody else", json!({})));
}

#[test]
fn a_wrong_rule_for_a_tenant_is_a_mistake() {
    let sandbox = project(&json!({"tenants": {"acme": {"cpu_ms": 1}, "b": 7}}));
    let output = with_config(&sandbox).run("");
    assert_eq!(output.code(), 64, "{}", output.stderr);
    for said in ["tenants.acme.cpu_ms", "tenants.b"] {
        assert!(output.stderr.contains(said), "{}", output.stderr);
    }
}
