//! What tools can reach, and what they cannot, whichever kind of guest tries.

use serde_json::{Value, json};

use crate::support::{Client, Sandbox, ServerCommand, fault, text};
use crate::wat_guests::{on_path, open};

/// The content of a file outside of `data/`. No answer may ever hold it.
const SECRET: &str = "top-secret-9f3a";

/// `path_open` for reading, and the rights that go with it.
const OPEN_TO_READ: (u32, u64) = (0, 2);

/// A folder with a file inside `data/` and a secret beside it, and every kind of guest that can read: the embedded
/// tool, its command twin, one that uses std, and one that calls WASI without any library between.
fn guarded() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("secret.txt", SECRET);
    sandbox.write("data/a.txt", "inside");
    sandbox.write("data/sub/b.txt", "deeper");
    sandbox.prebuilt_tool("command", "fs-read-command", json!({"permissions": ["read"]}));
    sandbox.prebuilt_tool("std", "probe", json!({"permissions": ["read"]}));
    let raw = on_path(&open(OPEN_TO_READ.0, OPEN_TO_READ.1));
    sandbox.wat_tool("raw", &raw, json!({"permissions": ["read"]}));
    sandbox
}

/// Starts a session in which every reader can read what is inside, so that the refusals of a test mean something.
fn readers(sandbox: &Sandbox) -> Client {
    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), "inside");
    assert_eq!(client.call_text("command", json!({"path": "a.txt"})), "inside");
    let path = sandbox.path("data/a.txt");
    assert_eq!(client.call_text("std", json!({"verb": "read", "path": path})), "inside");
    assert_eq!(client.call_text("raw", json!({"path": "a.txt"})), "000");
    client
}

/// No reader gets at `path`; the embedded tool says so with `code`.
fn nobody_reads(sandbox: &Sandbox, client: &mut Client, path: &str, code: &str) {
    let answer = client.call("fs_read", json!({"path": path}));
    assert_eq!(fault(&answer).0, code, "{path}: {answer}");
    let mut answers = vec![answer];
    answers.push(client.call("command", json!({"path": path})));
    answers.push(client.call("std", json!({"verb": "read", "path": path})));
    for answer in &answers {
        let (_, said) = fault(answer);
        let told = said.replace(path, "");
        assert!(!told.contains(sandbox.root().to_str().unwrap()), "{path}: a host path is told: {said}");
    }
    let raw = client.call("raw", json!({"path": path}));
    assert_ne!(text(&raw), "000", "{path} was opened by a guest of its own");
    answers.push(raw);
    for answer in answers {
        assert!(!answer.to_string().contains(SECRET), "{path}: {answer}");
    }
}

fn path_text(path: impl AsRef<std::path::Path>) -> String {
    path.as_ref().to_str().unwrap().to_owned()
}

#[test]
fn a_way_up_leads_nowhere() {
    let sandbox = guarded();
    let mut client = readers(&sandbox);
    for path in ["../secret.txt", "sub/../../secret.txt", "./sub/./../../secret.txt", "../data/../secret.txt"] {
        nobody_reads(&sandbox, &mut client, path, "permission_denied");
    }
    nobody_reads(&sandbox, &mut client, &path_text(sandbox.data().join("../secret.txt")), "permission_denied");
    nobody_reads(&sandbox, &mut client, "missing/../../secret.txt", "not_found");
    nobody_reads(&sandbox, &mut client, "a.txt/../../secret.txt", "invalid_arguments");
    assert_eq!(client.call_text("fs_read", json!({"path": "sub/../a.txt"})), "inside", "but not every .. leads out");
}

#[test]
fn an_absolute_path_outside_is_denied() {
    let sandbox = guarded();
    let mut client = readers(&sandbox);
    for path in [path_text(sandbox.path("secret.txt")), "/etc/passwd".to_owned(), "//etc/passwd".to_owned()] {
        nobody_reads(&sandbox, &mut client, &path, "permission_denied");
    }
    let denied = client.call_fault("fs_read", json!({"path": "/etc/passwd"}));
    assert!(denied.1.contains("--allow DIR"), "it says how to grant it: {}", denied.1);
}

#[test]
fn a_link_out_of_the_allowed_directory_is_denied() {
    let sandbox = guarded();
    let secret = sandbox.path("secret.txt");
    sandbox.link("data/absolute", &secret);
    sandbox.link("data/relative", "../secret.txt");
    sandbox.link("data/third", "../secret.txt");
    sandbox.link("data/second", "third");
    sandbox.link("data/first", "second");
    sandbox.link("data/folder", sandbox.root());
    sandbox.link("data/up", "..");
    sandbox.link("data/back-in", "../data/a.txt");
    sandbox.link("inner", "data");
    let mut client = readers(&sandbox);
    for path in [
        "absolute",
        "relative",
        "first",
        "folder/secret.txt",
        "up/secret.txt",
        "back-in",
        "up/data/a.txt",
        "up/inner/a.txt",
    ] {
        nobody_reads(&sandbox, &mut client, path, "permission_denied");
    }
}

#[test]
fn a_link_inside_the_allowed_directory_is_followed() {
    let sandbox = guarded();
    sandbox.link("data/file", "sub/b.txt");
    sandbox.link("data/chain", "file");
    sandbox.link("data/folder", "sub");
    sandbox.link("data/sub/up", "../a.txt");
    let mut client = readers(&sandbox);
    for (path, content) in [("file", "deeper"), ("chain", "deeper"), ("folder/b.txt", "deeper"), ("sub/up", "inside")] {
        assert_eq!(client.call_text("fs_read", json!({"path": path})), content, "{path}");
        assert_eq!(client.call_text("command", json!({"path": path})), content, "{path}");
    }
}

#[test]
fn a_link_that_holds_an_absolute_path_is_denied_even_if_it_leads_inside() {
    let sandbox = guarded();
    sandbox.link("data/absolute", sandbox.path("data/a.txt"));
    let mut client = readers(&sandbox);
    nobody_reads(&sandbox, &mut client, "absolute", "permission_denied");
    let (_, said) = client.call_fault("fs_read", json!({"path": "absolute"}));
    assert!(said.contains("absolute"), "it says why: {said}");
}

#[test]
fn a_link_loop_ends() {
    let sandbox = guarded();
    sandbox.link("data/loop", "loop");
    sandbox.link("data/ping", "pong");
    sandbox.link("data/pong", "ping");
    let mut client = readers(&sandbox);
    for path in ["loop", "ping"] {
        nobody_reads(&sandbox, &mut client, path, "invalid_arguments");
    }
}

#[test]
fn a_sibling_with_the_same_beginning_is_denied() {
    let sandbox = guarded();
    sandbox.write("data-evil/secret.txt", SECRET);
    sandbox.write("dat/secret.txt", SECRET);
    let mut client = readers(&sandbox);
    for path in ["data-evil/secret.txt", "dat/secret.txt"] {
        nobody_reads(&sandbox, &mut client, &path_text(sandbox.path(path)), "permission_denied");
        nobody_reads(&sandbox, &mut client, &format!("../{path}"), "permission_denied");
    }
}

#[test]
fn the_environment_of_the_server_cannot_be_read() {
    let sandbox = guarded();
    let mut server = sandbox.server();
    server.env("A_TOKEN", SECRET);
    let mut client = server.start_session();
    for path in ["/proc/self/environ", "/proc/self/root/etc/passwd", "/proc/1/environ", "/dev/fd/0", "/dev/stdin"] {
        nobody_reads(&sandbox, &mut client, path, "permission_denied");
    }
    let environ = format!("/proc/{}/environ", client.pid());
    nobody_reads(&sandbox, &mut client, &environ, "permission_denied");
}

#[test]
fn odd_spellings_of_a_way_up_are_plain_names() {
    let sandbox = guarded();
    sandbox.write("data/%2e%2e/secret.txt", "a name like any other");
    let mut client = readers(&sandbox);
    let spellings = ["%2e%2e%2fsecret.txt", "..%2fsecret.txt", "‥/secret.txt", "․․/secret.txt", "．．/secret.txt"];
    for path in spellings.iter().chain(&["..∕secret.txt", "..／secret.txt", "..\\secret.txt", "~/secret.txt", "... /x"])
    {
        nobody_reads(&sandbox, &mut client, path, "not_found");
    }
    assert_eq!(client.call_text("fs_read", json!({"path": "%2e%2e/secret.txt"})), "a name like any other");
}

#[test]
fn impossible_paths_are_refused_with_a_reason() {
    let sandbox = guarded();
    let mut client = readers(&sandbox);
    let (endless, long_name) = ("x/".repeat(3000) + "x", "x".repeat(300));
    for (path, reason) in [
        ("a.txt\0", "NUL"),
        ("a.txt\0/../../secret.txt", "NUL"),
        ("", "shorter than 1 character"),
        ("a.txt/", "is a directory"),
        ("..", "is a directory"),
        ("a.txt/b", "is a file where a directory is needed"),
        (&endless, "longer than 4096"),
        (&long_name, "too long"),
    ] {
        nobody_reads(&sandbox, &mut client, path, "invalid_arguments");
        let (_, said) = client.call_fault("fs_read", json!({"path": path}));
        assert!(said.contains(reason), "{path}: {said}");
    }
    let (code, said) = client.call_fault("fs_read", json!({"path": "sub"}));
    assert!(code == "invalid_arguments" && said.contains("is a directory"), "{said}");
}

#[test]
fn without_a_grant_nothing_is_reachable_and_the_answer_says_how_to_grant() {
    let sandbox = guarded();
    let mut server = ServerCommand::bare();
    let mut client = server.arg("--tools").arg(sandbox.path("tools")).current_dir(sandbox.data()).start_session();
    let inside = path_text(sandbox.path("data/a.txt"));
    for path in ["a.txt", "/etc/passwd", &inside, "./a.txt"] {
        let (code, said) = client.call_fault("fs_read", json!({"path": path}));
        assert_eq!(code, "permission_denied", "{said}");
        assert!(said.contains("--allow DIR"), "{said}");
        let (code, said) = client.call_fault("fs_write", json!({"path": path, "content": "", "mode": "overwrite"}));
        assert_eq!(code, "permission_denied", "{said}");
        assert!(said.contains("--allow DIR:rw"), "{said}");
        client.call_fault("std", json!({"verb": "read", "path": path}));
        client.call_fault("command", json!({"path": path}));
        assert_ne!(client.call_text("raw", json!({"path": path})), "000");
    }
    assert_eq!(sandbox.read_text("data/a.txt"), "inside");
}

#[test]
fn a_guest_inherits_nothing() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("bare", "probe", json!({}));
    sandbox.prebuilt_tool("reader", "probe", json!({"permissions": ["read"]}));
    sandbox.prebuilt_tool("writer", "probe", json!({"permissions": ["write"]}));
    let mut server = sandbox.server();
    server.env("A_TOKEN", SECRET).args(["--allow", &path_text(sandbox.path("tools"))]);
    let mut client = server.start_session();
    let mut seen =
        |tool: &str| -> Value { serde_json::from_str(&client.call_text(tool, json!({"verb": "env"}))).unwrap() };
    let (data, tools) = (sandbox.data(), sandbox.path("tools"));
    assert_eq!(seen("bare"), json!({"env": [], "args": [], "cwd": null, "preopens": []}));
    assert_eq!(seen("reader"), json!({"env": [], "args": [], "cwd": null, "preopens": [data, tools]}));
    assert_eq!(seen("writer")["preopens"], json!([data, tools]), "a path must mean the same to every tool");
}

#[test]
fn no_tool_reaches_the_network() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({"permissions": ["read", "write"]}));
    let mut client = sandbox.server().start_session();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let denied = client.call_fault("probe", json!({"verb": "connect", "address": format!("127.0.0.1:{port}")}));
    assert_eq!(denied.0, "permission_denied", "{}", denied.1);
    // Not even a name is looked up.
    client.call_fault("probe", json!({"verb": "connect", "address": format!("localhost:{port}")}));
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}
