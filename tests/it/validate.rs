//! `nurones-mcp validate`: what a person learns of a module before giving it to a server.

use serde_json::{Value, json};

use crate::support::{Output, Sandbox, ServerCommand};
use crate::wat_guests::printing;

fn validate(arguments: &[&str]) -> Output {
    ServerCommand::bare().arg("validate").args(arguments).run("")
}

/// The reports on `files` of the sandbox, as JSON.
fn reports(sandbox: &Sandbox, files: &[&str]) -> (Vec<Value>, i32) {
    let files: Vec<String> = files.iter().map(|file| sandbox.path(file).display().to_string()).collect();
    let arguments: Vec<&str> = ["--json"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let output = validate(&arguments);
    (serde_json::from_str(&output.stdout).expect("an array"), output.code())
}

#[test]
fn a_tool_component_is_described_and_timed() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("reader", "fs-read", json!({"permissions": ["read"], "memory_mb": 8}));
    let (reports, code) = reports(&sandbox, &["tools/reader.json"]);
    let report = &reports[0];
    assert_eq!((code, &report["good"], &report["kind"]), (0, &json!(true), &json!("tool component")), "{report}");
    assert_eq!((&report["tool"]["memoryBytes"], &report["tool"]["permissions"]), (&json!(8 << 20), &json!("read")));
    assert!(
        report["imports"].as_array().unwrap().iter().any(|name| name.as_str().unwrap().contains("wasi:filesystem"))
    );
    assert!(report["exports"].as_array().unwrap().iter().any(|name| name == "describe"));
    assert!(report["needs"][0].as_str().unwrap().starts_with("read"), "{report}");
    assert!(report["description"].as_str().unwrap().starts_with("Read a file"), "{report}");
    assert_eq!(report["inputSchema"]["required"], json!(["path"]));
    for timing in ["compile", "load", "instantiate", "describe"] {
        assert!(report["timingUs"][timing].as_u64().is_some(), "{timing}: {report}");
    }
}

#[test]
fn a_command_alone_is_told_without_a_manifest() {
    let sandbox = Sandbox::new();
    sandbox.wat_tool("said", &printing("it was run", ""), json!({}));
    let file = sandbox.path("tools/said.wasm");
    let output = validate(&[file.to_str().unwrap()]);
    assert_eq!(output.code(), 0, "{}", output.stderr);
    for words in [
        "said.wasm: good",
        "kind       command",
        "wasi_snapshot_preview1.fd_write",
        "needs      read or write",
        "compiled in",
    ] {
        assert!(output.stdout.contains(words), "{words} is not in:\n{}", output.stdout);
    }
    assert!(!output.stdout.contains("it was run"), "{}", output.stdout);
}

#[test]
fn what_would_be_refused_is_told_with_what_is_known_of_it() {
    let sandbox = Sandbox::new();
    sandbox.wat_tool("gpu", r#"(module (import "gpu" "draw" (func)) (func (export "_start")))"#, json!({}));
    sandbox.tool("text", b"hello", json!({}));
    sandbox.wat_tool("good", &printing("x", ""), json!({}));
    sandbox.write("tools/wrong.json", r#"{"name": "wrong", "memory_mb": "many"}"#);
    sandbox.write("tools/lost.json", r#"{"name":"lost","version":"1.1.0","entry":"wasm://no.wasm","permissions":[]}"#);
    let files = ["tools/gpu.json", "tools/text.json", "tools/good.json", "tools/wrong.json", "tools/lost.json"];
    let (reports, code) = reports(&sandbox, &files);
    assert_eq!(code, 1);
    let problem = |index: usize| reports[index]["problem"].as_str().unwrap_or("none").to_owned();
    assert!(problem(0).contains("gpu"), "{}", problem(0));
    assert_eq!(reports[0]["imports"], json!(["gpu.draw"]));
    assert!(problem(1).contains("does not start like WebAssembly"), "{}", problem(1));
    assert_eq!((problem(2).as_str(), &reports[2]["good"]), ("none", &json!(true)));
    for key in ["version", "entry", "memory_mb"] {
        assert!(problem(3).contains(key), "{key}: {}", problem(3));
    }
    assert!(problem(4).contains("no.wasm"), "{}", problem(4));
}

#[test]
fn the_manifests_of_this_repository_are_good() {
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/.mcp/tools");
    let files: Vec<String> = std::fs::read_dir(manifests)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| path.ends_with(".json"))
        .collect();
    let output = validate(&files.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.code(), 0, "{}", output.stdout);
}

#[test]
fn no_file_is_a_wrong_command_line() {
    assert_eq!(validate(&[]).code(), 64);
}

#[test]
fn names_in_a_module_do_not_reach_the_terminal_raw() {
    let sandbox = Sandbox::new();
    let module = r#"(module (import "wasi" "\1b[31mred\0afoo.wasm: good" (func)) (func (export "_start")))"#;
    let file = sandbox.write("odd.wasm", wat::parse_str(module).unwrap());
    let output = validate(&[file.to_str().unwrap()]);
    assert_eq!(output.code(), 1);
    assert!(!output.stdout.contains('\u{1b}') && !output.stdout.contains("\nfoo.wasm"), "{}", output.stdout);
    assert!(output.stdout.contains("[31mred"), "{}", output.stdout);
}
