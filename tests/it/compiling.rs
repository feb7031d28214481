//! The compiler at work beside the server: nobody waits for it but those who need its result.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::process::{eventually, log_lines};
use crate::support::{Client, SERVER, Sandbox};

/// A command that is no larger than many others and takes a compiler of today many seconds: one function body of
/// `additions` additions, again and again.
fn bomb(functions: u32, additions: usize) -> Vec<u8> {
    fn number(mut value: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                bytes.push(low);
                return bytes;
            }
            bytes.push(low | 0x80);
        }
    }
    let section = |id: u8, content: Vec<u8>| [vec![id], number(content.len() as u32), content].concat();
    // One local of type i32; then, again and again: local += local * local.
    let step = [0x20, 0, 0x20, 0, 0x20, 0, 0x6c, 0x6a, 0x21, 0];
    let body = [&[1, 1, 0x7f][..], &step.repeat(additions), &[0x0b]].concat();
    let body = [number(body.len() as u32), body].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, vec![1, 0x60, 0, 0]),
        section(3, [number(functions), vec![0; functions as usize]].concat()),
        section(7, [&[1, 6][..], b"_start", &[0, 0]].concat()),
        section(10, [number(functions), body.repeat(functions as usize)].concat()),
    ]
    .concat()
}

#[test]
fn a_module_that_takes_too_long_to_compile_is_given_up_and_nobody_else_waits() {
    let sandbox = Sandbox::new();
    sandbox.tool("bomb", &bomb(3000, 1000), json!({}));
    sandbox.write("data/a.txt", "here");
    let config = sandbox.write("nurones.json", json!({"cache": {"compileDeadlineMs": 300}}).to_string());
    let mut server = sandbox.server();
    server.arg("--config").arg(config).arg("--supervision-log").arg(sandbox.path("log.jsonl"));
    let mut client = server.start_session();
    let called = client.begin_call("bomb", json!({}));
    let listed = client.request("tools/list", json!({}));
    assert!(listed.to_string().contains("bomb"), "it is not known yet what it is: {listed}");
    let answer = client.answer(called);
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("longer than 300 ms"), "{message}");
    client.notification("notifications/tools/list_changed");
    assert!(!client.request("tools/list", json!({})).to_string().contains("bomb"));
    eventually("it is said", || client.stderr().contains("not served: "));
    eventually("it is recorded", || {
        log_lines(&sandbox.path("log.jsonl")).iter().any(|line| line["event"] == "tool_refused")
    });
    assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), "here");
}

#[test]
fn a_call_that_waits_for_the_compiler_can_be_cancelled() {
    let sandbox = Sandbox::new();
    sandbox.tool("bomb", &bomb(3000, 1000), json!({}));
    let mut client = sandbox.server().start_session();
    let called = client.begin_call("bomb", json!({}));
    client.notify("notifications/cancelled", json!({"requestId": called}));
    // Its id is free at once, and nothing is answered to it.
    assert!(client.request("ping", json!({}))["result"].is_object());
    client.close_input();
    let (messages, status) = client.ended();
    assert!(status.success(), "{status}");
    assert!(messages.iter().all(|message| message["id"] != called), "{messages:?}");
}

#[test]
fn the_end_does_not_wait_for_the_compiler() {
    let sandbox = Sandbox::new();
    sandbox.tool("bomb", &bomb(3000, 1000), json!({}));
    let config = sandbox.write("nurones.json", json!({"shutdown": {"drainMs": 100}}).to_string());
    let mut server = sandbox.server();
    server.arg("--config").arg(config);
    let mut client = server.start_session();
    let called = client.begin_call("bomb", json!({}));
    client.close_input();
    let (messages, status) = client.ended();
    assert!(status.success(), "{status}");
    let answer = messages.iter().find(|message| message["id"] == called).expect("an answer is owed");
    assert_eq!(answer["error"]["data"]["reason"], "shutting_down", "{answer}");
}

fn compile(module: &[u8]) -> std::process::Output {
    let mut child = Command::new(SERVER)
        .arg("compile")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let module = module.to_vec();
    let feed = std::thread::spawn(move || drop(stdin.write_all(&module)));
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap();
    output
}

#[test]
fn the_compiler_puts_out_code_or_says_what_is_wrong() {
    let compiled = compile(&bomb(1, 1));
    assert!(compiled.status.success() && compiled.stderr.is_empty() && !compiled.stdout.is_empty());
    let refused = compile(&bomb(3, 3)[..60]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty() && !refused.stderr.is_empty());
    assert!(!String::from_utf8(refused.stderr).unwrap().contains("panicked"));
}

#[test]
fn a_long_complaint_is_cut_and_not_waited_with() {
    let name = "x".repeat(99_000);
    let twice = format!(r#"(module (func (export "{name}")) (func (export "{name}")))"#);
    let refused = compile(&wat::parse_str(twice).unwrap());
    assert_eq!(refused.status.code(), Some(1));
    assert!((1..4096).contains(&refused.stderr.len()), "{} bytes", refused.stderr.len());
}

/// The server's compilers.
fn compilers(client: &Client) -> Vec<u32> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes
        .filter(|process: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
            parent == Some(client.pid())
        })
        .collect()
}

#[test]
fn a_compiler_that_is_stopped_from_outside_costs_one_try() {
    let sandbox = Sandbox::new();
    sandbox.tool("bomb", &bomb(3000, 1000), json!({}));
    let mut client = sandbox.server().start_session();
    for _ in 0..2 {
        let called = client.begin_call("bomb", json!({}));
        eventually("a compiler is at work", || compilers(&client).len() == 1);
        let kill = Command::new("kill").args(["-KILL", &compilers(&client)[0].to_string()]).status().unwrap();
        assert!(kill.success());
        let answer = client.answer(called);
        assert_eq!(
            (&answer["error"]["code"], &answer["error"]["data"]["reason"], &answer["error"]["data"]["retryable"]),
            (&json!(-31503), &json!("not_compiled"), &json!(true)),
            "{answer}"
        );
        assert!(client.request("tools/list", json!({})).to_string().contains("bomb"));
    }
}

#[test]
fn no_more_calls_wait_for_the_compiler_than_for_a_worker() {
    let sandbox = Sandbox::new();
    sandbox.tool("bomb", &bomb(3000, 1000), json!({"queue_depth": 2}));
    sandbox.write("data/a.txt", "here");
    let mut client = sandbox.server().start_session();
    let waiting: Vec<i64> = (0..2).map(|_| client.begin_call("bomb", json!({}))).collect();
    let answer = client.call("bomb", json!({}));
    assert_eq!(answer["error"]["data"]["reason"], "queue_full", "{answer}");
    assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), "here");
    client.notify("notifications/cancelled", json!({"requestId": waiting[0]}));
    let again = client.begin_call("bomb", json!({}));
    client.notify("notifications/cancelled", json!({"requestId": again}));
    assert!(client.request("ping", json!({}))["result"].is_object(), "the place was free again");
    assert!(client.leftovers().is_empty());
}
