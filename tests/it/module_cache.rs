//! Compiled modules on disk: what a second start gains, and what damage, strangers and sudden ends cost.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::process::eventually;
use crate::support::{Client, SERVER, Sandbox, ServerCommand};
use crate::wat_guests::printing;

/// A server with `probe` and `said`, a command, whose cache is `cache/` in the sandbox.
fn server(sandbox: &Sandbox) -> ServerCommand {
    let mut server = sandbox.server();
    server.env("NURONES_CACHE_DIR", sandbox.path("cache"));
    server
}

fn with_tools() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    sandbox.wat_tool("said", &printing("said it", ""), json!({}));
    sandbox
}

fn kept(sandbox: &Sandbox) -> Vec<PathBuf> {
    let Ok(folder) = std::fs::read_dir(sandbox.path("cache")) else { return Vec::new() };
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "nurones-module"));
    files.sort();
    files
}

/// Uses both tools; returns what the server has logged at its end.
fn use_both(mut server: ServerCommand) -> String {
    let mut client = server.start_session();
    client.assert_echoes("probe");
    assert_eq!(client.call_text("said", json!({})), "said it");
    client.all_it_said()
}

#[test]
fn what_is_called_is_kept_and_only_that() {
    let sandbox = with_tools();
    assert_eq!(use_both(server(&sandbox)), "");
    let files = kept(&sandbox);
    assert_eq!(files.len(), 2, "{files:?}");
    for file in &files {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::metadata(sandbox.path("cache")).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(use_both(server(&sandbox)), "");
    assert_eq!(kept(&sandbox), files, "the second start found what it needs");
}

#[test]
fn a_tool_that_was_asked_once_is_described_from_the_first_moment() {
    let sandbox = with_tools();
    use_both(server(&sandbox));
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{
        "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#
        .replace('\n', "");
    let output = server(&sandbox).run(format!("{list}\n"));
    let answer = output.answer(1);
    assert_eq!(answer["result"]["ttlMs"], 300_000, "the list is final: {answer}");
    let probe = tool(&answer["result"], "probe").expect("probe is listed");
    assert!(probe["description"].as_str().unwrap().starts_with("Test tool"), "{probe}");
}

fn tool(list: &Value, name: &str) -> Option<Value> {
    list["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == name).cloned()
}

#[test]
fn a_damaged_file_is_said_once_and_compiled_anew() {
    let sandbox = with_tools();
    use_both(server(&sandbox));
    let files = kept(&sandbox);
    let flip = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    let truncate = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let empty = |bytes: &mut Vec<u8>| bytes.clear();
    for damage in [&flip as &dyn Fn(&mut Vec<u8>), &truncate, &empty] {
        let whole: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        for (file, bytes) in files.iter().zip(&whole) {
            let mut bytes = bytes.clone();
            damage(&mut bytes);
            std::fs::write(file, bytes).unwrap();
        }
        let said = use_both(server(&sandbox));
        assert_eq!(said.matches("a cached module is not used").count(), 2, "{said}");
        assert_eq!(use_both(server(&sandbox)), "", "the files are whole again");
    }
}

#[test]
fn a_file_of_another_module_is_not_used_for_this_one() {
    let sandbox = with_tools();
    use_both(server(&sandbox));
    let files = kept(&sandbox);
    let [one, other] = files.as_slice() else { panic!("{files:?}") };
    let aside = sandbox.path("cache/aside");
    std::fs::rename(one, &aside).unwrap();
    std::fs::rename(other, one).unwrap();
    std::fs::rename(&aside, other).unwrap();
    let said = use_both(server(&sandbox));
    assert_eq!(said.matches("a cached module is not used").count(), 2, "{said}");
}

#[test]
fn without_a_cache_nothing_is_written() {
    let sandbox = with_tools();
    let mut without = server(&sandbox);
    without.arg("--no-cache");
    assert_eq!(use_both(without), "");
    assert!(!sandbox.path("cache").exists());
    let config = sandbox.write("nurones.json", json!({"cache": {"enabled": false}}).to_string());
    let mut without = sandbox.server();
    without.command().env_remove("NURONES_CACHE_DIR").env("XDG_CACHE_HOME", sandbox.path("cache"));
    without.arg("--config").arg(config);
    assert_eq!(use_both(without), "");
    assert!(!sandbox.path("cache").exists());
}

#[test]
fn the_cache_is_where_a_users_cache_is_unless_said_otherwise() {
    let sandbox = with_tools();
    let mut own = sandbox.server();
    own.command().env_remove("NURONES_CACHE_DIR").env("XDG_CACHE_HOME", sandbox.path("xdg"));
    use_both(own);
    assert!(sandbox.path("xdg/nurones-mcp/modules").is_dir());
    let mut own = sandbox.server();
    own.command().env_remove("NURONES_CACHE_DIR").env_remove("XDG_CACHE_HOME").env("HOME", sandbox.path("home"));
    use_both(own);
    assert!(sandbox.path("home/.cache/nurones-mcp/modules").is_dir());
    let config = sandbox.write("nurones.json", json!({"cache": {"dir": "said"}}).to_string());
    let mut said = sandbox.server();
    said.command().env_remove("NURONES_CACHE_DIR");
    said.arg("--config").arg(config);
    use_both(said);
    assert!(sandbox.path("said").is_dir());
}

#[test]
fn a_folder_that_cannot_be_trusted_is_said_and_done_without() {
    let sandbox = with_tools();
    let folder = sandbox.path("cache");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let said = use_both(server(&sandbox));
    assert!(said.contains("chmod go-w"), "{said}");
    assert!(kept(&sandbox).is_empty());
    std::fs::remove_dir(&folder).unwrap();
    sandbox.write("cache", "a file");
    let said = use_both(server(&sandbox));
    assert!(said.contains("cannot be created"), "{said}");
}

#[test]
fn a_small_cache_keeps_what_was_used_last() {
    let sandbox = with_tools();
    let config = sandbox.write("nurones.json", json!({"cache": {"maxMb": 1}}).to_string());
    let mut small = server(&sandbox);
    small.arg("--config").arg(config);
    // Three modules of their own, of about 0.7 MB compiled: the same code with different custom sections.
    let probe = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/prebuilt/probe.wasm")).unwrap();
    for name in 0..3 {
        sandbox.tool(&format!("probe{name}"), &[&probe[..], &[0, 2, 1, b'a' + name]].concat(), json!({}));
    }
    let mut client = small.start_session();
    for name in 0..3 {
        client.assert_echoes(&format!("probe{name}"));
    }
    let total: u64 = kept(&sandbox).iter().map(|file| std::fs::metadata(file).unwrap().len()).sum();
    assert!((1..=1 << 20).contains(&total), "{total} bytes are kept");
    assert!(kept(&sandbox).len() < 4, "something had to go");
}

#[test]
fn servers_killed_while_they_compile_leave_nothing_that_hurts() {
    let sandbox = with_tools();
    for _ in 0..6 {
        let mut client = server(&sandbox).start_session();
        client.begin_call("probe", json!({"verb": "echo", "text": "x"}));
        client.begin_call("said", json!({}));
        client.kill();
    }
    let servers: Vec<Client> = (0..4).map(|_| server(&sandbox).start_session()).collect();
    for mut client in servers {
        client.assert_echoes("probe");
        assert_eq!(client.call_text("said", json!({})), "said it");
        assert_eq!(client.all_it_said(), "");
    }
    assert_eq!(kept(&sandbox).len(), 2);
}

#[test]
fn a_tool_nobody_has_asked_yet_is_listed_at_once_and_its_description_is_announced() {
    let sandbox = with_tools();
    let mut client = server(&sandbox).start_session();
    let first = client.request("tools/list", json!({}))["result"].clone();
    let described = |list: &Value| tool(list, "probe").expect("probe is listed")["description"] != "";
    if !described(&first) {
        client.notification("notifications/tools/list_changed");
    }
    let second = client.request("tools/list", json!({}))["result"].clone();
    assert!(described(&second), "{second}");
}

#[test]
fn a_module_that_changes_under_the_server_is_not_run() {
    let sandbox = with_tools();
    let mut client = server(&sandbox).start_session();
    client.request("tools/list", json!({}));
    sandbox.write("tools/said.wasm", wat::parse_str(printing("something else", "")).unwrap());
    let answer = client.call("said", json!({}));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("restart the server"), "{answer}");
    eventually("it is said", || client.stderr().contains("has changed since the server started"));
    assert_eq!(server(&sandbox).start_session().call_text("said", json!({})), "something else");
}

#[test]
fn what_is_no_file_in_a_cached_modules_place_is_neither_waited_for_nor_followed() {
    let sandbox = with_tools();
    use_both(server(&sandbox));
    let files = kept(&sandbox);
    let replace: [&dyn Fn(&PathBuf); 2] =
        [&|file| assert!(std::process::Command::new("mkfifo").arg(file).status().unwrap().success()), &|file| {
            std::os::unix::fs::symlink(file.with_extension("elsewhere"), file).unwrap();
        }];
    for put in replace {
        for file in &files {
            std::fs::rename(file, file.with_extension("elsewhere")).unwrap();
            put(file);
        }
        let said = use_both(server(&sandbox));
        assert_eq!(said.matches("a cached module is not used").count(), 2, "{said}");
        assert_eq!(use_both(server(&sandbox)), "", "the files are whole again");
    }
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::create_dir(&files[0]).unwrap();
    let said = use_both(server(&sandbox));
    assert!(said.contains("remove it by hand"), "{said}");
}

#[test]
fn a_module_too_large_for_the_systems_file_size_limit_is_served_and_not_kept() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "here");
    // 200 KiB: less than the compiled module, more than the memory image that wasmtime keeps in a file of its own.
    let output = std::process::Command::new("sh")
        .args(["-c", r#"ulimit -f 400; exec "$0" call fs.read '{"path":"a.txt"}' --allow "$1""#, SERVER])
        .arg(sandbox.data())
        .env("NURONES_CACHE_DIR", sandbox.path("cache"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"here"[..]), "{said}");
    assert!(said.contains("cannot be kept"), "{said}");
    assert_eq!(std::fs::read_dir(sandbox.path("cache")).unwrap().count(), 0, "nothing unfinished is left");
}
