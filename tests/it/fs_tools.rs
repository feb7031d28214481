//! `fs.read`: what comes back and how much of it; and what both file tools refuse before they open it.

use std::os::unix::net::UnixListener;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::{Client, Sandbox, ServerCommand};

fn reading(files: &[(&str, &[u8])]) -> (Sandbox, Client) {
    let sandbox = Sandbox::new();
    for (name, content) in files {
        sandbox.write(&format!("data/{name}"), content);
    }
    let client = sandbox.server().start_session();
    (sandbox, client)
}

/// The one block of a result.
fn block(answer: &Value) -> &Value {
    let content = answer["result"]["content"].as_array().unwrap_or_else(|| panic!("no result: {answer}"));
    assert_eq!((content.len(), &answer["result"]["isError"] == true), (1, false), "{answer}");
    &content[0]
}

/// Asserts that both file tools refuse `path` in every way they can be asked, with `reason`.
fn refused_at_once(client: &mut Client, path: &str, reason: &str) {
    let mut calls = vec![("fs_read", json!({"path": path}))];
    for mode in ["create", "overwrite", "append"] {
        calls.push(("fs_write", json!({"path": path, "content": "x", "mode": mode})));
    }
    for (tool, arguments) in calls {
        let (code, said) = client.call_fault(tool, arguments.clone());
        assert_eq!(code, "invalid_arguments", "{arguments}: {said}");
        assert!(said.contains(reason), "{arguments}: {said}");
    }
}

#[test]
fn text_comes_back_as_one_block_exactly_as_it_is() {
    for content in
        ["", "a", "no newline", "\u{feff}bom\r\n\r\n", "nul \0 and bell \u{7}", "\"quotes\" \\ {}", "日本語 🦀\n"]
    {
        let (_sandbox, mut client) = reading(&[("a.txt", content.as_bytes())]);
        let answer = client.call("fs_read", json!({"path": "a.txt"}));
        assert_eq!(block(&answer), &json!({"type": "text", "text": content}));
    }
}

#[test]
fn bytes_that_are_no_text_come_back_as_base64_with_their_media_type() {
    let bytes = [0xff_u8, 0xfe, 0, 1, 2];
    let names = ["a.bin", "a.pdf", "noext", "a.png", "a.mp3"];
    let (_sandbox, mut client) = reading(&names.map(|name| (name, bytes.as_slice())));
    let mut read = |name: &str| client.call("fs_read", json!({"path": name}));
    for (name, media) in
        [("a.bin", "application/octet-stream"), ("a.pdf", "application/pdf"), ("noext", "application/octet-stream")]
    {
        let answer = read(name);
        let (kind, resource) = (&block(&answer)["type"], &block(&answer)["resource"]);
        assert_eq!((kind, &resource["mimeType"]), (&json!("resource"), &json!(media)), "{answer}");
        assert_eq!(BASE64_STANDARD.decode(resource["blob"].as_str().unwrap()).unwrap(), bytes);
    }
    for (name, kind, media) in [("a.png", "image", "image/png"), ("a.mp3", "audio", "audio/mpeg")] {
        let answer = read(name);
        assert_eq!((&block(&answer)["type"], &block(&answer)["mimeType"]), (&json!(kind), &json!(media)), "{answer}");
        assert_eq!(BASE64_STANDARD.decode(block(&answer)["data"].as_str().unwrap()).unwrap(), bytes);
    }
}

#[test]
fn offset_and_length_count_bytes() {
    let (_sandbox, mut client) = reading(&[("a.txt", "0123456789".as_bytes())]);
    for (arguments, part) in [
        (json!({"offset": 0}), "0123456789"),
        (json!({"offset": 4}), "456789"),
        (json!({"length": 3}), "012"),
        (json!({"offset": 4, "length": 3}), "456"),
        (json!({"offset": 8, "length": 100}), "89"),
        (json!({"offset": 9}), "9"),
        (json!({"offset": 10}), ""),
        (json!({"offset": 11, "length": 1}), ""),
        (json!({"offset": 4_611_686_018_427_387_904_i64, "length": 1}), ""),
    ] {
        let mut arguments = arguments;
        arguments["path"] = json!("a.txt");
        assert_eq!(client.call_text("fs_read", arguments.clone()), part, "{arguments}");
    }
}

#[test]
fn a_part_that_cuts_a_character_comes_back_as_bytes() {
    let (_sandbox, mut client) = reading(&[("a.txt", "aü".as_bytes())]);
    let cut = client.call("fs_read", json!({"path": "a.txt", "length": 2}));
    assert_eq!(block(&cut)["resource"]["blob"], BASE64_STANDARD.encode([b'a', 0xc3]), "{cut}");
    assert_eq!(client.call_text("fs_read", json!({"path": "a.txt", "offset": 1, "length": 2})), "ü");
}

#[test]
fn arguments_that_make_no_sense_are_refused_by_name() {
    let (sandbox, mut client) = reading(&[("a.txt", "x".as_bytes())]);
    for (tool, arguments, named) in [
        ("fs_read", json!({}), "path"),
        ("fs_read", json!({"path": 7}), "path"),
        ("fs_read", json!({"path": "a.txt", "offset": -1}), "offset"),
        ("fs_read", json!({"path": "a.txt", "offset": 1.5}), "offset"),
        ("fs_read", json!({"path": "a.txt", "length": 0}), "length"),
        ("fs_read", json!({"path": "a.txt", "lenght": 1}), "lenght"),
        ("fs_write", json!({"path": "b.txt"}), "content"),
        ("fs_write", json!({"path": "b.txt", "content": ["x"]}), "content"),
        ("fs_write", json!({"path": "b.txt", "content": "x", "mode": "truncate"}), "mode"),
        ("fs_write", json!({"path": "b.txt", "content": "x", "encoding": "latin-1"}), "encoding"),
    ] {
        let (code, said) = client.call_fault(tool, arguments.clone());
        assert_eq!(code, "invalid_arguments", "{arguments}: {said}");
        assert!(said.contains(named), "{arguments}: {said}");
    }
    assert_eq!(sandbox.names("data"), ["a.txt"]);
}

#[test]
fn what_does_not_exist_is_said_so() {
    let (_sandbox, mut client) = reading(&[]);
    for path in ["missing", "missing/too"] {
        let (code, said) = client.call_fault("fs_read", json!({"path": path}));
        assert_eq!(code, "not_found");
        assert!(said.contains(path), "{said}");
    }
}

#[test]
fn a_file_over_the_output_limit_is_refused_with_its_size_and_what_to_do() {
    const LIMIT: u64 = 4 << 20;
    let (sandbox, mut client) = reading(&[]);
    let sized = |name: &str, byte: u8, size: u64| sandbox.write(name, vec![byte; size as usize]);
    sized("data/full", b'x', LIMIT);
    sized("data/over", b'x', LIMIT + 1);
    // Base64 is a third larger than what it encodes.
    sized("data/blob", 0xff, LIMIT);
    std::fs::File::create(sandbox.path("data/sparse")).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(client.call_text("fs_read", json!({"path": "full"})).len() as u64, LIMIT);
    for (path, size) in [("over", LIMIT + 1), ("blob", LIMIT), ("sparse", 1 << 40)] {
        let (code, said) = client.call_fault("fs_read", json!({"path": path}));
        assert_eq!(code, "output_limit", "{said}");
        for part in [&size.to_string(), "offset", "length"] {
            assert!(said.contains(part), "{part} not in {said}");
        }
    }
    assert_eq!(client.call_text("fs_read", json!({"path": "over", "offset": LIMIT, "length": LIMIT})), "x");
    assert_eq!(client.call_text("fs_read", json!({"path": "sparse", "offset": 1_u64 << 39, "length": 3})), "\0\0\0");
}

#[test]
fn the_output_limit_is_the_manifests() {
    let sandbox = Sandbox::new();
    sandbox.write("data/full", "x".repeat(2048));
    sandbox.write("data/over", "x".repeat(2049));
    sandbox.prebuilt_tool("small", "fs-read", json!({"permissions": ["read"], "output_kb": 2}));
    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_text("small", json!({"path": "full"})).len(), 2048);
    assert_eq!(client.call_fault("small", json!({"path": "over"})).0, "output_limit");
}

#[test]
fn a_directory_is_refused_at_once() {
    let (sandbox, mut client) = reading(&[]);
    std::fs::create_dir(sandbox.path("data/sub")).unwrap();
    sandbox.link("data/link", "sub");
    let by_name = sandbox.data();
    for path in ["sub", "sub/", ".", "..", by_name.to_str().unwrap()] {
        refused_at_once(&mut client, path, "is a directory");
    }
    assert_eq!(client.call_fault("fs_read", json!({"path": "link"})).0, "invalid_arguments");
}

#[test]
fn a_pipe_or_a_socket_is_refused_at_once() {
    let (sandbox, mut client) = reading(&[]);
    sandbox.fifo("data/fifo");
    let _listening = UnixListener::bind(sandbox.path("data/socket")).unwrap();
    for path in ["fifo", "socket"] {
        let (code, said) = client.call_fault("fs_read", json!({"path": path}));
        assert_eq!(code, "invalid_arguments");
        assert!(said.contains("a pipe, a socket or a device"), "{said}");
        refused_at_once(&mut client, path, "not a regular file");
        sandbox.link(&format!("data/{path}-link"), path);
        assert_eq!(client.call_fault("fs_read", json!({"path": format!("{path}-link")})).0, "invalid_arguments");
    }
}

#[test]
fn a_device_is_refused_at_once() {
    let mut client = ServerCommand::bare().args(["--allow", "/dev:rw"]).start_session();
    for path in ["null", "zero", "/dev/full", "/dev/tty"] {
        refused_at_once(&mut client, path, "not a regular file");
    }
}
