//! Calls with an idempotency key: made once, whatever their client, their server or another server does.

use serde_json::{Value, json};

use crate::eras::modern;
use crate::support::{Client, Sandbox, ServerCommand, fault, text};

const KEY: &str = "io.nurones/idempotencyKey";
const HOUR_MS: u64 = 3_600_000;

/// A server whose keys are in a folder of this test.
fn server(sandbox: &Sandbox) -> ServerCommand {
    let mut server = sandbox.server();
    server.args(["--state-dir"]).arg(sandbox.path("state"));
    server
}

fn keyed(tool: &str, arguments: Value, key: impl Into<Value>) -> Value {
    json!({"name": tool, "arguments": arguments, "_meta": {KEY: key.into()}})
}

/// Adds a line to a file: two of them would be seen.
fn appending(key: &str) -> Value {
    keyed("fs_write", json!({"path": "log.txt", "content": "once\n", "mode": "append"}), key)
}

fn replayed(answer: &Value) -> bool {
    answer["result"]["_meta"]["io.nurones/replayed"] == true
}

/// The answer without what differs from request to request.
fn told(mut answer: Value) -> Value {
    answer["id"] = Value::Null;
    answer["result"]["_meta"].as_object_mut().unwrap().remove("io.nurones/replayed");
    answer
}

#[test]
fn a_call_under_a_key_is_made_once_and_answered_the_same_in_both_eras() {
    let sandbox = Sandbox::new();
    for (era, key) in [("legacy", "k1"), ("modern", "k2")] {
        let mut client = if era == "legacy" { server(&sandbox).start_session() } else { server(&sandbox).start() };
        let shaped = |params| if era == "legacy" { params } else { modern(params) };
        let first = client.request("tools/call", shaped(appending(key)));
        let second = client.request("tools/call", shaped(appending(key)));
        assert_eq!((first["result"]["isError"].as_bool(), replayed(&first)), (Some(false), false), "{first}");
        assert!(replayed(&second), "{second}");
        assert_eq!(told(first), told(second));
    }
    assert_eq!(sandbox.read_text("data/log.txt"), "once\nonce\n");
}

#[test]
fn a_thousand_calls_under_one_key_through_two_servers_and_three_restarts_write_once() {
    let sandbox = Sandbox::new();
    let mut answered = 0;
    for _ in 0..4 {
        let mut clients = [server(&sandbox).start_session(), server(&sandbox).start_session()];
        let ids = clients
            .each_mut()
            .map(|client| (0..125).map(|_| client.begin("tools/call", appending("storm"))).collect::<Vec<_>>());
        for (client, ids) in clients.iter_mut().zip(ids) {
            for id in ids {
                let answer = client.answer(id);
                assert_eq!(answer["result"]["isError"], false, "{answer}");
                answered += 1;
            }
        }
    }
    assert_eq!((answered, sandbox.read_text("data/log.txt").as_str()), (1000, "once\n"));
}

#[test]
fn the_same_key_for_another_call_is_a_conflict_and_for_another_tenant_another_key() {
    let sandbox = Sandbox::new();
    let mut client = server(&sandbox).start_session();
    client.request("tools/call", appending("k"));
    let others = [
        keyed("fs_write", json!({"path": "log.txt", "content": "twice\n", "mode": "append"}), "k"),
        keyed("fs_read", json!({"path": "log.txt"}), "k"),
    ];
    for other in others {
        let answer = client.request("tools/call", other);
        assert_eq!(
            (&answer["error"]["code"], &answer["error"]["data"]["reason"]),
            (&json!(-32602), &json!("key_conflict"))
        );
    }
    let mut of_another = appending("k");
    of_another["_meta"]["io.nurones/context"] = json!({"tenant_id": "another"});
    assert!(!replayed(&client.request("tools/call", of_another)));
    assert_eq!(sandbox.read_text("data/log.txt"), "once\nonce\n");
}

#[test]
fn of_two_calls_that_come_at_once_under_one_key_one_is_made() {
    let sandbox = Sandbox::new();
    let mut client = server(&sandbox).start_session();
    for round in 0..20 {
        let lines: Vec<Value> = ["a", "b", "c"]
            .iter()
            .enumerate()
            .map(|(at, line)| {
                let arguments = json!({"path": "log.txt", "content": format!("{round}{line}\n"), "mode": "append"});
                let params = keyed("fs_write", arguments, format!("k{round}"));
                json!({"jsonrpc": "2.0", "id": 1000 + 10 * round + at, "method": "tools/call", "params": params})
            })
            .collect();
        let bytes: String = lines.iter().map(|line| format!("{line}\n")).collect();
        client.send_bytes(bytes.as_bytes());
        let answers = lines.iter().map(|line| client.answer(line["id"].clone())).collect::<Vec<_>>();
        let conflicts = answers.iter().filter(|answer| answer["error"]["data"]["reason"] == "key_conflict").count();
        let made = answers.iter().filter(|answer| answer["result"]["isError"] == false).count();
        assert_eq!((made, conflicts), (1, 2), "{answers:?}");
    }
    assert_eq!(sandbox.read_text("data/log.txt").lines().count(), 20);
}

#[test]
fn another_call_does_not_wait_for_the_one_that_has_its_key() {
    let sandbox = Sandbox::new();
    writing_probe(&sandbox);
    let mut client = server(&sandbox).start_session();
    endless(&mut client, "k");
    let other = client.request("tools/call", keyed("probe", json!({"verb": "echo", "text": "x"}), "k"));
    assert_eq!(other["error"]["data"]["reason"], "key_conflict", "{other}");
}

#[test]
fn arguments_in_another_order_are_the_same_arguments() {
    let sandbox = Sandbox::new();
    let mut client = server(&sandbox).start_session();
    let line = |arguments: &str, id: u32| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"fs.write","arguments":{arguments},"_meta":{{"{KEY}":"k"}}}}}}"#
        )
    };
    client.send_line(&line(r#"{"path":"a.txt","content":"x"}"#, 71));
    assert!(!replayed(&client.answer(71)));
    client.send_line(&line(r#"{"content":"x","path":"a.txt"}"#, 72));
    assert!(replayed(&client.answer(72)));
}

#[test]
fn a_key_that_is_none_is_refused() {
    let sandbox = Sandbox::new();
    let mut client = server(&sandbox).start_session();
    for key in [json!(""), json!(7), json!("x".repeat(257)), json!({})] {
        let answer = client.request("tools/call", keyed("fs_read", json!({"path": "a"}), key));
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert_eq!(answer["error"]["data"]["keys"], json!([KEY]));
    }
}

#[test]
fn a_call_that_was_not_made_leaves_its_key_free() {
    let sandbox = Sandbox::new();
    let mut client = server(&sandbox).start_session();
    let call = |client: &mut Client, frame: Value| {
        let mut params = keyed("fs_write", json!({"path": "a.txt", "content": "x"}), "k");
        params["_meta"]["io.nurones/context"] = frame;
        client.request("tools/call", params)
    };
    // fs.write may only write, so that a call that must not is not made.
    assert_eq!(fault(&call(&mut client, json!({"flags": {"read_only": true}}))).0, "permission_denied");
    let answer = call(&mut client, json!({}));
    assert_eq!((answer["result"]["isError"].as_bool(), replayed(&answer)), (Some(false), false), "{answer}");
}

#[test]
fn an_error_of_the_tool_is_an_answer_like_any_other() {
    let sandbox = Sandbox::new();
    let mut client = server(&sandbox).start_session();
    sandbox.write("data/there.txt", "x");
    let creating = keyed("fs_write", json!({"path": "there.txt", "content": "y", "mode": "create"}), "k");
    let first = client.request("tools/call", creating.clone());
    assert_eq!(first["result"]["isError"], true, "{first}");
    std::fs::remove_file(sandbox.path("data/there.txt")).unwrap();
    let second = client.request("tools/call", creating);
    assert!(replayed(&second));
    assert_eq!(told(first), told(second));
}

/// A tool that nobody may call twice: it writes.
fn writing_probe(sandbox: &Sandbox) {
    sandbox.prebuilt_tool("probe", "probe", json!({"deadline_ms": HOUR_MS, "permissions": ["read", "write"]}));
}

fn endless(client: &mut Client, key: &str) -> i64 {
    let mut params = keyed("probe", json!({"verb": "progress", "steps": 1_u64 << 50}), key);
    params["_meta"]["progressToken"] = json!("going");
    let id = client.begin("tools/call", params);
    client.wait_for(|message| message["params"]["progressToken"] == "going");
    id
}

#[test]
fn nobody_knows_the_end_of_a_call_whose_server_was_killed_and_it_is_not_made_again() {
    let sandbox = Sandbox::new();
    writing_probe(&sandbox);
    let mut client = server(&sandbox).start_session();
    endless(&mut client, "k");
    client.kill();
    let mut client = server(&sandbox).start_session();
    let again = keyed("probe", json!({"verb": "progress", "steps": 1_u64 << 50}), "k");
    for _ in 0..2 {
        let answer = client.request("tools/call", again.clone());
        let (code, told) = fault(&answer);
        assert_eq!(code, "unknown_outcome", "{answer}");
        assert!(told.contains("use a new key"), "{told}");
    }
}

#[test]
fn a_server_killed_at_any_moment_has_written_nothing_twice_and_forgotten_no_answer() {
    const CALLS: usize = 40;
    let sandbox = Sandbox::new();
    sandbox.write("data/log.txt", "");
    let call = |n: usize| {
        let line = json!({"path": "log.txt", "content": format!("{n}\n"), "mode": "append"});
        keyed("fs_write", line, format!("k{n}"))
    };
    for answers_before_the_end in [0, 1, 7, 20] {
        let mut client = server(&sandbox).start_session();
        let ids: Vec<i64> = (0..CALLS).map(|n| client.begin("tools/call", call(n))).collect();
        ids.into_iter().take(answers_before_the_end).for_each(|id| drop(client.answer(id)));
        client.kill();
    }
    let mut client = server(&sandbox).start_session();
    let outcomes: Vec<Value> = (0..CALLS).map(|n| client.request("tools/call", call(n))).collect();
    let log = sandbox.read_text("data/log.txt");
    for (n, answer) in outcomes.iter().enumerate() {
        let written = log.lines().filter(|line| *line == n.to_string()).count();
        match answer["result"]["isError"].as_bool() {
            Some(false) => assert_eq!(written, 1, "{n}: {answer}"),
            _ => {
                assert_eq!(fault(answer).0, "unknown_outcome");
                assert!(written <= 1, "{n} was written {written} times");
            }
        }
    }
}

#[test]
fn a_cancelled_call_may_have_done_anything() {
    let sandbox = Sandbox::new();
    writing_probe(&sandbox);
    let mut client = server(&sandbox).start_session();
    let id = endless(&mut client, "k");
    client.notify("notifications/cancelled", json!({"requestId": id}));
    let again = keyed("probe", json!({"verb": "progress", "steps": 1_u64 << 50}), "k");
    assert_eq!(fault(&client.request("tools/call", again)).0, "unknown_outcome");
}

#[test]
fn a_call_that_another_server_makes_is_waited_for() {
    let sandbox = Sandbox::new();
    writing_probe(&sandbox);
    let (mut one, mut other) = (server(&sandbox).start_session(), server(&sandbox).start_session());
    let running = endless(&mut one, "k");
    let again = keyed("probe", json!({"verb": "progress", "steps": 1_u64 << 50}), "k");
    let waiting = other.begin("tools/call", again);
    // It is answered once the other's call has ended: here, because nobody wants it any more.
    one.notify("notifications/cancelled", json!({"requestId": running}));
    assert_eq!(fault(&other.answer(waiting)).0, "unknown_outcome");
}

#[test]
fn one_who_waits_is_let_go_at_the_deadline() {
    let sandbox = Sandbox::new();
    writing_probe(&sandbox);
    let (mut one, mut other) = (server(&sandbox).start_session(), server(&sandbox).start_session());
    endless(&mut one, "k");
    let mut again = keyed("probe", json!({"verb": "progress", "steps": 1_u64 << 50}), "k");
    again["_meta"]["io.nurones/deadlineMs"] = json!(50);
    assert_eq!(fault(&other.request("tools/call", again)).0, "deadline_exceeded");
}

#[test]
fn an_answer_too_large_to_be_kept_is_said_to_be() {
    let sandbox = Sandbox::new();
    sandbox.write("data/large.txt", "x".repeat(2000));
    let config = sandbox.write("conf/config.json", json!({"idempotency": {"maxAnswerKb": 1}}).to_string());
    let mut client = server(&sandbox).arg("--config").arg(config).start_session();
    let reading = keyed("fs_read", json!({"path": "large.txt"}), "k");
    assert_eq!(text(&client.request("tools/call", reading.clone())).len(), 2000);
    let second = client.request("tools/call", reading);
    assert!(replayed(&second) && text(&second).contains("too large to be kept"), "{second}");
}

#[test]
fn more_keys_than_may_be_kept_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "x");
    let config = sandbox.write("conf/config.json", json!({"idempotency": {"maxKeys": 2}}).to_string());
    let mut client = server(&sandbox).arg("--config").arg(config).start_session();
    let mut read = |key: &str| client.request("tools/call", keyed("fs_read", json!({"path": "a.txt"}), key));
    assert!(read("1")["result"].is_object() && read("2")["result"].is_object());
    let refused = read("3");
    assert_eq!((&refused["error"]["code"], &refused["error"]["data"]["reason"]), (&json!(-31503), &json!("keys_full")));
    assert!(replayed(&read("1")));
}

#[test]
fn without_a_folder_for_them_keys_are_refused_and_other_calls_are_not() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "x");
    let file = sandbox.write("no-folder", "");
    let mut client = sandbox.server().arg("--state-dir").arg(&file).start_session();
    let refused = client.request("tools/call", keyed("fs_read", json!({"path": "a.txt"}), "k"));
    let error = &refused["error"];
    assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-31503), &json!("keys_unavailable")), "{refused}");
    assert!(error["message"].as_str().unwrap().contains("no-folder"), "{error}");
    assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), "x");
}

#[test]
fn no_state_is_kept_of_calls_without_keys() {
    let sandbox = Sandbox::new();
    let mut client = server(&sandbox).start_session();
    client.call("fs_write", json!({"path": "a.txt", "content": "x"}));
    assert!(client.finish().1.success());
    assert!(!sandbox.path("state").exists());
}
