//! Command guests, the seed's kind: JSON in, JSON out, a fresh process for each call.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{Client, Sandbox, text};
use crate::wat_guests::{command, printing};

/// A session with the seed's two tools, as commands.
fn seed() -> (Sandbox, Client) {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("read", "fs-read-command", json!({"permissions": ["read"]}));
    sandbox.prebuilt_tool("write", "fs-write-command", json!({"permissions": ["write"]}));
    let client = sandbox.server().start_session();
    (sandbox, client)
}

/// What a command that prints `said` is answered with.
fn answer_to(said: &str) -> Value {
    let sandbox = Sandbox::new();
    sandbox.wat_tool("printer", &printing(said, ""), json!({}));
    sandbox.server().start_session().call("printer", json!({}))
}

#[test]
fn the_seeds_tools_read_and_write() {
    let (sandbox, mut client) = seed();
    assert!(client.call_text("write", json!({"path": "a.txt", "content": "héllo\n"})).contains("wrote 7 bytes"));
    assert_eq!(client.call_text("read", json!({"path": "a.txt"})), "héllo\n");
    client.call_text("write", json!({"path": "a.txt", "content": "more", "mode": "append"}));
    assert_eq!(client.call_text("read", json!({"path": sandbox.path("data/a.txt"), "offset": 7})), "more");
    let said = client.call_text("write", json!({"path": "a.txt", "content": "new", "mode": "overwrite"}));
    assert!(said.contains("in place"), "{said}");
    assert_eq!(sandbox.read_text("data/a.txt"), "new");
    assert_eq!(sandbox.names("data"), ["a.txt"]);
}

#[test]
fn the_seeds_tools_explain_their_failures() {
    let (sandbox, mut client) = seed();
    sandbox.write("data/a.txt", "whole");
    sandbox.fifo("data/fifo");
    for (tool, arguments, said) in [
        ("read", json!({"path": "missing"}), "does not exist"),
        ("read", json!({"path": "../x"}), "not permitted"),
        ("read", json!({"path": "fifo"}), "not a regular file"),
        ("read", json!({"path": "."}), "is a directory"),
        ("read", json!({"path": "a.txt", "lenght": 1}), "lenght"),
        ("write", json!({"path": "a.txt", "content": "x"}), "overwrite"),
        ("write", json!({"path": "missing/a.txt", "content": "x"}), "create the directory first"),
        ("write", json!({"path": "../x", "content": "x", "mode": "overwrite"}), "not permitted"),
        ("write", json!({"path": "fifo", "content": "x", "mode": "append"}), "not a regular file"),
        ("write", json!({"path": "a.txt"}), "content"),
    ] {
        let (code, message) = client.call_fault(tool, arguments.clone());
        assert_eq!(code, "tool_error", "{arguments}: {message}");
        assert!(message.contains(said), "{arguments}: {message}");
    }
    assert_eq!(sandbox.read_text("data/a.txt"), "whole");
}

#[test]
fn a_command_cannot_write_through_a_link_that_leaves() {
    let (sandbox, mut client) = seed();
    sandbox.write("outside/a.txt", "whole");
    sandbox.link("data/relative", "../outside/a.txt");
    sandbox.link("data/absolute", sandbox.path("outside/a.txt"));
    sandbox.link("data/new", "../outside/new.txt");
    sandbox.link("data/folder", "../outside");
    for path in ["relative", "absolute", "new", "folder/a.txt", "folder/new.txt"] {
        for mode in ["create", "overwrite", "append"] {
            client.call_fault("write", json!({"path": path, "content": "spoilt", "mode": mode}));
        }
    }
    assert_eq!((sandbox.names("outside"), sandbox.read_text("outside/a.txt")), (vec!["a.txt".into()], "whole".into()));
}

#[test]
fn a_command_keeps_the_mode_of_a_file_it_overwrites() {
    let (sandbox, mut client) = seed();
    let path = sandbox.write("data/a.txt", "old");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    client.call_text("write", json!({"path": "a.txt", "content": "new", "mode": "overwrite"}));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn an_answer_with_ok_true_is_its_data() {
    assert_eq!(text(&answer_to(r#"{"ok":true,"data":"plain","bytes":5}"#)), "plain");
    assert_eq!(text(&answer_to(r#" {"ok":true,"data":{"a":[1]}} "#)), r#"{"a":[1]}"#);
    assert_eq!(text(&answer_to(r#"{"ok":true}"#)), "");
}

#[test]
fn an_answer_with_ok_false_is_a_tool_error() {
    for (said, message) in [
        (r#"{"ok":false,"error":"no such thing"}"#, "no such thing"),
        (r#"{"ok":false,"error":{"code":7}}"#, r#"{"code":7}"#),
        (r#"{"ok":false}"#, "without saying which"),
    ] {
        let (code, told) = crate::support::fault(&answer_to(said));
        assert_eq!(code, "tool_error", "{said}");
        assert!(told.contains(message), "{said}: {told}");
    }
}

#[test]
fn anything_else_that_is_printed_is_text_as_it_is() {
    for said in
        ["", "hello\n", r#"{"ok":"yes"}"#, r#"{"ok":true"#, "[1,2]", "true", r#"{"ok":true} trailing"#, "\u{1b}[0m"]
    {
        assert_eq!(text(&answer_to(said)), said);
    }
}

#[test]
fn output_that_is_no_text_comes_back_as_bytes() {
    let sandbox = Sandbox::new();
    let wat =
        command("(i32.store (i32.const 1024) (i32.const 0x00ff01fe)) (call $print (i32.const 1024) (i32.const 4))");
    sandbox.wat_tool("printer", &wat, json!({}));
    let answer = sandbox.server().start_session().call("printer", json!({}));
    let resource = &answer["result"]["content"][0]["resource"];
    assert_eq!((&resource["blob"], &resource["mimeType"]), (&json!("/gH/AA=="), &json!("application/octet-stream")));
}

#[test]
fn a_command_that_exits_with_a_failure_may_explain_it() {
    let sandbox = Sandbox::new();
    let exit = "(call $proc_exit (i32.const 2))";
    sandbox.wat_tool("explains", &printing(r#"{"ok":false,"error":"disk on fire"}"#, exit), json!({}));
    sandbox.wat_tool("mumbles", &printing("half a res", exit), json!({}));
    let mut client = sandbox.server().start_session();
    let (code, said) = client.call_fault("explains", json!({}));
    assert_eq!(code, "exit_code");
    assert!(said.contains("code 2") && said.contains("disk on fire"), "{said}");
    let (code, said) = client.call_fault("mumbles", json!({}));
    assert_eq!(code, "exit_code");
    assert!(said.contains("code 2"), "{said}");
}

#[test]
fn standard_input_is_exactly_the_arguments() {
    let sandbox = Sandbox::new();
    sandbox.wat_tool("echo", &command("(call $print (i32.const 1024) (call $arguments))"), json!({}));
    let mut client = sandbox.server().start_session();
    for arguments in [json!({}), json!({"b": [1, 2.5, null], "a": "ü\n\u{0}", "c": {"ok": 1}})] {
        let seen: Value = serde_json::from_str(&client.call_text("echo", arguments.clone())).unwrap();
        assert_eq!(seen, arguments);
    }
    assert_eq!(client.call_text("echo", json!({"a": 1})), r#"{"a":1}"#, "not a byte more");
}

#[test]
fn the_frame_is_the_only_variable_and_there_are_no_arguments() {
    let sandbox = Sandbox::new();
    // The counts of variables and of arguments, then the variables themselves, each ended by a NUL.
    let shows = "(drop (call $environ_sizes_get (i32.const 64) (i32.const 68)))
        (drop (call $args_sizes_get (i32.const 72) (i32.const 76)))
        (drop (call $environ_get (i32.const 1024) (i32.const 2048)))
        (call $print_number (i32.load (i32.const 64))) (call $print_number (i32.load (i32.const 72)))
        (call $print (i32.const 2048) (i32.load (i32.const 68)))";
    sandbox.wat_tool("shows", &command(shows), json!({}));
    let mut client = sandbox.server().env("A_TOKEN", "secret").start_session();
    let answer = client.call_framed("shows", json!({}), json!({"tenant_id": "acme", "x-own": "ü"}));
    let shown = text(&answer);
    let frame = shown.strip_prefix("001000NURONES_CONTEXT=").and_then(|rest| rest.strip_suffix('\0'));
    let frame: Value = serde_json::from_str(frame.unwrap_or_else(|| panic!("{shown}"))).unwrap();
    assert_eq!(&frame, &answer["result"]["_meta"]["io.nurones/context"]);
    assert_eq!(frame["tenant_id"], "acme");
}

#[test]
fn a_command_keeps_nothing_between_calls() {
    let sandbox = Sandbox::new();
    let counts = "(i32.store (i32.const 128) (i32.add (i32.load (i32.const 128)) (i32.const 1)))
        (call $print_number (i32.load (i32.const 128)))";
    sandbox.wat_tool("counts", &command(counts), json!({}));
    let mut client = sandbox.server().start_session();
    for _ in 0..3 {
        assert_eq!(client.call_text("counts", json!({})), "001");
    }
}

#[test]
fn output_of_exactly_the_limit_is_fine_and_one_byte_more_is_not() {
    let sandbox = Sandbox::new();
    for bytes in [4096, 4097] {
        let body = format!(
            "(memory.fill (i32.const 1024) (i32.const 120) (i32.const {bytes}))
            (call $print (i32.const 1024) (i32.const {bytes}))"
        );
        sandbox.wat_tool(&format!("prints_{bytes}"), &command(&body), json!({"output_kb": 4}));
    }
    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_text("prints_4096", json!({})), "x".repeat(4096));
    assert_eq!(client.call_fault("prints_4097", json!({})).0, "output_limit");
}

#[test]
fn a_command_without_permissions_has_no_directory() {
    let sandbox = Sandbox::new();
    let asks = command("(call $print_number (call $fd_prestat_get (i32.const 3) (i32.const 64)))");
    sandbox.wat_tool("none", &asks, json!({}));
    sandbox.wat_tool("reads", &asks, json!({"permissions": ["read"]}));
    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_text("none", json!({})), "008", "bad descriptor");
    assert_eq!(client.call_text("reads", json!({})), "000");
}
