//! Modules that cannot be served: each is refused with its reason, and the others serve.

use serde_json::{Value, json};

use crate::process::eventually;
use crate::support::{Sandbox, ServerCommand};
use crate::wat_guests::{command, printing, tool_component};

const SCHEMA: &str = r#"{"type":"object"}"#;

/// Puts the module in `tools/` and returns why `nurones-mcp tools` refuses it. The reason is in the server's log too,
/// the other tools serve, and the bad one is not listed.
fn refusal(bytes: &[u8], extra: Value) -> String {
    let sandbox = Sandbox::new();
    sandbox.tool("bad", bytes, extra);
    sandbox.wat_tool("good", &printing("fine", ""), json!({}));
    let report = ServerCommand::bare().args(["tools", "--json", "--tools"]).arg(sandbox.path("tools")).run("");
    assert_eq!(report.code(), 1, "{}", report.stderr);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    let names: Vec<_> = report["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names, ["fs_read", "fs_write", "good"]);
    assert_eq!(report["refused"].as_array().unwrap().len(), 1, "{report}");
    let refused = &report["refused"][0];
    assert!(refused["manifest"].as_str().unwrap().ends_with("bad.json"), "{refused}");
    let reason = refused["reason"].as_str().unwrap().to_owned();

    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_text("good", json!({})), "fine");
    let answer = client.call("bad", json!({}));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    let listed = client.request("tools/list", json!({}));
    assert!(!listed.to_string().contains("bad"), "{listed}");
    eventually("the reason is in the log", || client.stderr().contains(&reason));
    reason
}

fn wat_refusal(wat: &str) -> String {
    refusal(&wat::parse_str(wat).unwrap(), json!({}))
}

#[test]
fn bytes_that_are_no_module_are_refused_for_what_they_are() {
    let whole = wat::parse_str(command("")).unwrap();
    for (bytes, reason) in [
        (&b""[..], "the file is empty"),
        (b"\0", "does not start like WebAssembly"),
        (b"\x7fELF\x02\x01\x01", "does not start like WebAssembly"),
        (b"#!/bin/sh\necho hi\n", "does not start like WebAssembly"),
        (b"(module)", "build it to .wasm first"),
        (b"\0asm", "version is unknown"),
        (b"\0asm\x02\0\0\0", "version is unknown"),
        (b"\0asm\x01\0\0\0\xff\xff\xff\xff", "not a usable WebAssembly module"),
        (&whole[..whole.len() / 2], "not a usable WebAssembly module"),
        (&whole[..whole.len() - 1], "not a usable WebAssembly module"),
    ] {
        let said = refusal(bytes, json!({}));
        assert!(said.contains(reason), "{reason} not in {said}");
    }
}

#[test]
fn a_truncated_component_is_refused() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/prebuilt/probe.wasm");
    let whole = std::fs::read(path).unwrap();
    for bytes in [8, 100, whole.len() / 2, whole.len() - 1] {
        refusal(&whole[..bytes], json!({}));
    }
}

#[test]
fn a_module_of_another_kind_is_refused_with_what_is_missing() {
    for (wat, reason) in [
        ("(module)", "without a `_start` function"),
        (r#"(module (func (export "run")))"#, "without a `_start` function"),
        (r#"(module (memory (export "_start") 1))"#, "without a `_start` function"),
        ("(component)", "it exports nothing"),
        (
            r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
                (func $f (canon lift (core func $i "f"))) (export "run" (func $f)))"#,
            "it exports run",
        ),
    ] {
        let said = wat_refusal(wat);
        assert!(said.contains(reason), "{reason} not in {said}");
    }
}

#[test]
fn an_unknown_import_is_refused_by_name() {
    for (wat, reason) in [
        (r#"(module (import "env" "launch" (func)) (func (export "_start")))"#, "launch"),
        (r#"(module (import "wasi_snapshot_preview1" "fd_fly" (func)) (func (export "_start")))"#, "fd_fly"),
        (r#"(module (import "wasi_snapshot_preview1" "fd_close" (func)) (func (export "_start")))"#, "fd_close"),
        (
            r#"(component (import "evil:host/door" (func $d)) (core module $m (func (export "f")))
                (core instance $i (instantiate $m)) (func $f (canon lift (core func $i "f")))
                (export "describe" (func $f)) (export "call" (func $f)))"#,
            "evil:host/door",
        ),
    ] {
        let said = wat_refusal(wat);
        assert!(said.contains(reason), "{reason} not in {said}");
    }
}

#[test]
fn a_start_of_the_wrong_type_is_refused() {
    let said = wat_refusal(r#"(module (func (export "_start") (param i32)))"#);
    assert!(said.contains("_start"), "{said}");
}

#[test]
fn a_component_whose_functions_have_other_types_is_refused() {
    let said = wat_refusal(
        r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f"))) (export "describe" (func $f)) (export "call" (func $f)))"#,
    );
    assert!(said.contains("type-checking export func"), "{said}");
}

#[test]
fn a_component_that_keeps_the_contract_is_served() {
    let sandbox = Sandbox::new();
    let wat = tool_component(SCHEMA, "", "", "");
    sandbox.wat_tool("whole", &wat, json!({}));
    let mut client = sandbox.server().start_session();
    let answer = client.call("whole", json!({"anything": 1}));
    assert_eq!(answer["result"]["content"], json!([]), "{answer}");
    assert_ne!(answer["result"]["isError"], true);
}

#[test]
fn a_component_that_hangs_while_loading_is_refused_at_its_deadline() {
    let endless = "(loop $again (br $again))";
    for wat in [
        tool_component(SCHEMA, endless, "", ""),
        tool_component(SCHEMA, "", "", &format!("(func $first {endless}) (start $first)")),
    ] {
        let said = wat_refusal(&wat);
        assert!(said.contains("while describing itself") && said.contains("deadline_exceeded"), "{said}");
    }
}

#[test]
fn a_component_that_crashes_while_loading_is_refused() {
    for wat in [
        tool_component(SCHEMA, "unreachable", "", ""),
        tool_component(SCHEMA, "", "", "(func $first unreachable) (start $first)"),
        tool_component(SCHEMA, "(call $deeper)", "", "(func $deeper (call $deeper))"),
    ] {
        let said = wat_refusal(&wat);
        assert!(said.contains("while describing itself") && said.contains("tool_trapped"), "{said}");
    }
}

#[test]
fn a_component_that_outgrows_its_limits_while_loading_is_refused() {
    let huge_table = "(table 100000 funcref)";
    let grows = "(loop $again (br_if $again (i32.ne (i32.const -1) (memory.grow (i32.const 16)))) unreachable)";
    for wat in [tool_component(SCHEMA, "", "", huge_table), tool_component(SCHEMA, grows, "", "")] {
        let said = wat_refusal(&wat);
        assert!(said.contains("memory_limit"), "{said}");
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/prebuilt/probe.wasm");
    let probe = std::fs::read(path).unwrap();
    for extra in [json!({"memory_mb": 1}), json!({"instances": 1}), json!({"tables": 1}), json!({"table_elements": 1})]
    {
        let said = refusal(&probe, extra.clone());
        assert!(said.contains("while describing itself"), "{extra}: {said}");
    }
}

#[test]
fn a_component_that_describes_an_unusable_schema_is_refused() {
    for schema in ["", "{", "[]", "{}", r#"{"type":"string"}"#, r#"{"type":"object","properties":7}"#] {
        let said = wat_refusal(&tool_component(schema, "", "", ""));
        assert!(said.contains("schema"), "{schema}: {said}");
    }
    let remote = r#"{"type":"object","$ref":"http://127.0.0.1:9/schema.json"}"#;
    let said = wat_refusal(&tool_component(remote, "", "", ""));
    assert!(said.contains("schema"), "{said}");
}

#[test]
fn a_component_whose_call_hurts_is_answered_and_works_again() {
    let sandbox = Sandbox::new();
    let hurts_once = "(if (i32.eqz (memory.grow (i32.const 0))) (then unreachable))";
    for (name, calling, more) in [
        ("loops", "(loop $again (br $again))", ""),
        ("grows", "(loop $again (br_if $again (i32.ne (i32.const -1) (memory.grow (i32.const 16)))) unreachable)", ""),
        (
            "grows_its_table",
            "(loop $again (br_if $again (i32.ne (i32.const -1) (table.grow $t (ref.null func) (i32.const 999))))
               unreachable)",
            "(table $t 1 funcref)",
        ),
        ("returns_nonsense", "(i32.store8 (i32.const 256) (i32.const 9))", ""),
        (
            "returns_out_of_bounds",
            "(i32.store (i32.const 264) (i32.const -64)) (i32.store (i32.const 268) (i32.const 9))",
            "",
        ),
        ("harmless", hurts_once, ""),
    ] {
        let wat = tool_component(SCHEMA, "", calling, more);
        sandbox.wat_tool(name, &wat, json!({"deadline_ms": 300, "memory_mb": 8}));
    }
    let mut client = sandbox.server().start_session();
    for _ in 0..2 {
        for (name, code) in [
            ("loops", "deadline_exceeded"),
            ("grows", "memory_limit"),
            ("grows_its_table", "memory_limit"),
            ("returns_nonsense", "tool_trapped"),
            ("returns_out_of_bounds", "tool_trapped"),
        ] {
            let (met, said) = client.call_fault(name, json!({}));
            assert_eq!(met, code, "{name}: {said}");
        }
        assert_eq!(client.call("harmless", json!({}))["result"]["content"], json!([]));
    }
}

#[test]
fn a_proposal_that_is_switched_off_is_refused() {
    for wat in [
        r#"(module (memory i64 1) (func (export "_start")))"#,
        r#"(module (memory 1 1 shared) (func (export "_start")))"#,
        r#"(module (func (export "_start") (return_call 0)))"#,
        r#"(module (type (struct)) (func (export "_start")))"#,
        r#"(module (tag) (func (export "_start")))"#,
    ] {
        let said = wat_refusal(wat);
        assert!(said.contains("not a usable WebAssembly module"), "{wat}: {said}");
    }
}

#[test]
fn what_is_no_regular_file_is_not_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.wat_tool("good", &printing("fine", ""), json!({}));
    for pipe in ["tools/bad.wasm", "tools/pipe.json"] {
        assert!(std::process::Command::new("mkfifo").arg(sandbox.path(pipe)).status().unwrap().success());
    }
    let manifest = json!({"name": "bad", "version": "1.1.0", "entry": "wasm://bad.wasm", "permissions": []});
    sandbox.write("tools/bad.json", manifest.to_string());
    sandbox.write("tools/large.json", "x".repeat((1 << 20) + 1));
    let report = ServerCommand::bare().args(["tools", "--json", "--tools"]).arg(sandbox.path("tools")).run("");
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    let reasons = report["refused"].to_string();
    assert_eq!(report["refused"].as_array().unwrap().len(), 3, "{reasons}");
    assert_eq!(reasons.matches("not a regular file").count(), 2, "{reasons}");
    assert_eq!(reasons.matches("larger than 1048576 bytes").count(), 1, "{reasons}");
    assert_eq!(sandbox.server().start_session().call_text("good", json!({})), "fine");
}
