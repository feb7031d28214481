//! The command line: what a person at the shell gets, and the exit codes scripts rely on.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Output, Sandbox, ServerCommand, log_lines};
use crate::wat_guests::{command, printing};

/// Runs `nurones-mcp ARGS` with nothing on standard input.
fn run(args: &[&str]) -> Output {
    ServerCommand::bare().args(args).run("")
}

/// Runs `nurones-mcp call TOOL ARGUMENTS` over the sandbox, with `more` options.
fn call(sandbox: &Sandbox, tool: &str, arguments: &str, more: &[&str]) -> Output {
    sandbox.server().args(["call", tool, arguments]).args(more).run("")
}

#[test]
fn help_goes_to_standard_output_and_names_every_way_in() {
    for flag in ["--help", "-h", "help"] {
        let help = run(&[flag]);
        help.assert_success();
        for part in ["--allow", "--tools", "--config", "call", "tools", "demo"] {
            assert!(help.stdout.contains(part), "{flag}: {part} not in {}", help.stdout);
        }
        assert_eq!(help.stderr, "");
    }
    let help = run(&["--help"]).stdout;
    for part in ["FS_ALLOWLIST", "CONTEXT_ENGINE", "NURONES_CONFIG", "NURONES_LOG", "Exit codes", "Examples"] {
        assert!(help.contains(part), "{part} not in {help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
}

#[test]
fn the_version_is_the_packages() {
    let version = run(&["--version"]);
    version.assert_success();
    assert_eq!(version.stdout, format!("nurones-mcp {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_command_line_ends_with_64_and_says_what_is_wrong() {
    for (args, part) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["no-such-command"], "no-such-command"),
        (&["--allow"], "--allow"),
        (&["call"], "<NAME>"),
        (&["call", "fs.read", "{}", "extra"], "extra"),
        (&["tools", "extra"], "extra"),
        (&["--context-engine", "maybe"], "must be on or off"),
        (&["--allow", "/no/such/folder"], "/no/such/folder"),
        (&["--allow", ""], "must not be empty"),
        (&["--allow", ":rw"], "must not be empty"),
        (&["--tools", "/no/such/folder"], "/no/such/folder"),
        (&["--tools", "/etc/passwd"], "/etc/passwd"),
        (&["--config", "/no/such/config.json"], "/no/such/config.json"),
        (&["--supervision-log", "/no/such/folder/log"], "/no/such/folder/log"),
    ] {
        let output = run(args);
        assert_eq!((output.code(), output.stdout.as_str()), (64, ""), "{args:?}: {}", output.stderr);
        assert!(output.stderr.contains(part), "{args:?}: {}", output.stderr);
    }
}

#[test]
fn a_call_prints_exactly_the_content() {
    let sandbox = Sandbox::new();
    for content in ["", "no newline", "with newline\n", "\u{1b}[31m\0"] {
        sandbox.write("data/a.txt", content);
        let output = call(&sandbox, "fs.read", r#"{"path":"a.txt"}"#, &[]);
        output.assert_success();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), (content, ""));
    }
}

#[test]
fn a_call_prints_bytes_as_they_are() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.bin", [0xff_u8, 0, 0xfe]);
    let mut server = sandbox.server();
    server.args(["call", "fs_read", r#"{"path":"a.bin"}"#]);
    let output = server.command().stdin(Stdio::null()).output().unwrap();
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&[0xff, 0, 0xfe][..], Some(0)));
}

#[test]
fn a_call_prints_the_whole_result_as_json() {
    let sandbox = Sandbox::new();
    let arguments = r#"{"path":"a.txt","content":"hi"}"#;
    let output = call(&sandbox, "fs_write", arguments, &["--json", "--context", r#"{"tenant_id":"acme"}"#]);
    output.assert_success();
    let result: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(result["structuredContent"]["bytes"], 2);
    assert_eq!(result["_meta"]["io.nurones/context"]["tenant_id"], "acme");
    let output = call(&sandbox, "fs_write", arguments, &["--json"]);
    let result: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((output.code(), &result["isError"]), (1, &json!(true)));
    assert_eq!(result["_meta"]["io.nurones/fault"]["code"], "invalid_arguments");
}

#[test]
fn a_call_that_fails_ends_with_1_and_explains_on_standard_error() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "x");
    sandbox.prebuilt_tool("probe", "probe", json!({"deadline_ms": 200}));
    sandbox.wat_tool("exits", &command("(call $proc_exit (i32.const 3))"), json!({}));
    for (tool, arguments, more, code) in [
        ("fs.read", r#"{"path":"missing"}"#, &[][..], "not_found"),
        ("fs.read", r#"{"path":"../x"}"#, &[], "permission_denied"),
        ("fs.read", r#"{"pfad":"a.txt"}"#, &[], "invalid_arguments"),
        ("fs.read", "{}", &[], "invalid_arguments"),
        (
            "fs.write",
            r#"{"path":"b","content":""}"#,
            &["--context", r#"{"flags":{"read_only":true}}"#],
            "permission_denied",
        ),
        ("probe", r#"{"verb":"trap"}"#, &[], "tool_trapped"),
        ("probe", r#"{"verb":"spin"}"#, &[], "deadline_exceeded"),
        ("exits", "{}", &[], "exit_code"),
    ] {
        let output = call(&sandbox, tool, arguments, more);
        assert_eq!((output.code(), output.stdout.as_str()), (1, ""), "{tool} {arguments}: {}", output.stderr);
        assert!(output.stderr.starts_with(&format!("nurones-mcp: {code}: ")), "{tool} {arguments}: {}", output.stderr);
    }
    assert_eq!(sandbox.names("data"), ["a.txt"]);
}

#[test]
fn a_call_that_cannot_be_made_ends_with_64() {
    let sandbox = Sandbox::new();
    sandbox.write("tools/broken.json", "{}");
    for (tool, arguments, more, part) in [
        ("no.such", "{}", &[][..], "Unknown tool: no.such"),
        ("no.such", "{}", &[], "fs_read, fs_write"),
        ("no.such", "{}", &[], "broken.json"),
        ("fs.read", "not json", &[], "must be a JSON object"),
        ("fs.read", "[]", &[], "must be a JSON object"),
        ("fs.read", r#""path""#, &[], "must be a JSON object"),
        ("fs.read", "{}", &["--context", "{"], "--context is not JSON"),
        ("fs.read", "{}", &["--context", "[]"], "--context"),
        ("fs.read", "{}", &["--context", r#"{"risk_level":7,"stage":"qa"}"#], "risk_level"),
    ] {
        let output = call(&sandbox, tool, arguments, more);
        assert_eq!((output.code(), output.stdout.as_str()), (64, ""), "{tool} {arguments}: {}", output.stderr);
        assert!(output.stderr.contains(part), "{part} not in {}", output.stderr);
    }
}

#[test]
fn arguments_of_a_call_may_be_left_out() {
    let sandbox = Sandbox::new();
    sandbox.wat_tool("hello", &printing("hi", ""), json!({}));
    let output = sandbox.server().args(["call", "hello"]).run("");
    output.assert_success();
    assert_eq!(output.stdout, "hi");
}

#[test]
fn options_may_stand_before_or_after_the_command() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "found");
    let data = sandbox.data().display().to_string();
    let call = ["call", "fs.read", r#"{"path":"a.txt"}"#];
    let allow = ["--allow", &data];
    for args in [[&allow[..], &call].concat(), [&call[..], &allow].concat()] {
        assert_eq!(run(&args).assert_success().stdout, "found", "{args:?}");
    }
}

#[test]
fn an_allowed_folder_is_relative_to_the_working_folder() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "found");
    for (folder, allow) in [("data", "."), (".", "data"), (".", "./data:ro"), ("tools", "../data")] {
        let mut server = ServerCommand::bare();
        server.current_dir(sandbox.path(folder)).args(["call", "fs.read", r#"{"path":"a.txt"}"#, "--allow", allow]);
        assert_eq!(server.run("").assert_success().stdout, "found", "{folder} {allow}");
    }
}

#[test]
fn a_reader_that_has_gone_away_ends_a_call_with_74() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "x".repeat(1 << 20));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut server = sandbox.server();
    server.args(["call", "fs.read", r#"{"path":"a.txt"}"#]);
    let status = server.command().stdin(Stdio::null()).stdout(writer).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(74));
}

#[test]
fn the_supervision_log_of_a_call_is_complete() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let log = sandbox.path("log.jsonl");
    let output = call(&sandbox, "probe", r#"{"verb":"trap"}"#, &["--supervision-log", log.to_str().unwrap()]);
    assert_eq!(output.code(), 1);
    let lines = log_lines(&log);
    let seen = |event: &str| lines.iter().any(|line| line["event"] == event);
    assert!(seen("boot") && seen("call_faulted") && seen("stopped"), "{lines:#?}");
}

#[test]
fn the_log_goes_to_standard_error_and_nothing_but_messages_to_standard_output() {
    let sandbox = Sandbox::new();
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",
        "capabilities":{},"clientInfo":{"name":"it","version":"1"}}}"#
        .replace('\n', "");
    let output = sandbox.server().env("NURONES_LOG", "trace").run(request + "\n");
    output.assert_success();
    assert_eq!(output.messages().len(), 1);
    assert!(output.stderr.lines().count() > 5, "{}", output.stderr);
}

#[test]
fn a_server_without_a_client_ends_with_0() {
    let output = run(&[]);
    output.assert_success();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
}
