//! `fs.write`: what is on disk afterwards, through which links, and what is refused.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Client, Sandbox};

fn writing() -> (Sandbox, Client) {
    let sandbox = Sandbox::new();
    let client = sandbox.server().start_session();
    (sandbox, client)
}

fn write(path: impl AsRef<Path>, content: &str, mode: &str) -> Value {
    json!({"path": path.as_ref(), "content": content, "mode": mode})
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn create_is_the_default_and_refuses_an_existing_file_with_a_hint() {
    let (sandbox, mut client) = writing();
    let said = client.call_text("fs_write", json!({"path": "a.txt", "content": "first"}));
    assert!(said.contains("wrote 5 bytes"), "{said}");
    sandbox.link("data/link", "a.txt");
    sandbox.link("data/dangling", "nowhere");
    for arguments in [
        json!({"path": "a.txt", "content": "second"}),
        write("a.txt", "second", "create"),
        write("link", "second", "create"),
        write("dangling", "second", "create"),
    ] {
        let (code, said) = client.call_fault("fs_write", arguments);
        assert_eq!(code, "invalid_arguments");
        assert!(said.contains("overwrite"), "{said}");
    }
    assert_eq!(sandbox.read_text("data/a.txt"), "first");
    assert_eq!(sandbox.names("data"), ["a.txt", "dangling", "link"]);
}

#[test]
fn overwrite_replaces_and_append_extends_and_both_create() {
    let (sandbox, mut client) = writing();
    for (path, content, mode, then) in [
        ("a.txt", "long content", "overwrite", "long content"),
        ("a.txt", "short", "overwrite", "short"),
        ("a.txt", " and more", "append", "short and more"),
        ("a.txt", "", "append", "short and more"),
        ("a.txt", "", "overwrite", ""),
        ("b.txt", "x", "append", "x"),
        ("b.txt", "ü", "append", "xü"),
    ] {
        let said = client.call_text("fs_write", write(path, content, mode));
        assert!(said.starts_with(&format!("wrote {} byte", content.len())), "{said}");
        assert_eq!(sandbox.read_text(&format!("data/{path}")), then, "{mode} {content:?}");
    }
}

#[test]
fn the_result_says_what_was_done_as_data_too() {
    let (_sandbox, mut client) = writing();
    let answer = client.call("fs_write", write("a.txt", "héllo", "create"));
    let created = json!({"bytes": 6, "path": "a.txt", "mode": "create", "replaced": false, "atomic": true});
    assert_eq!(answer["result"]["structuredContent"], created);
    let answer = client.call("fs_write", write("a.txt", "x", "overwrite"));
    let replaced = json!({"bytes": 1, "path": "a.txt", "mode": "overwrite", "replaced": true, "atomic": true});
    assert_eq!(answer["result"]["structuredContent"], replaced);
}

#[test]
fn base64_content_is_written_as_the_bytes_it_means() {
    let (sandbox, mut client) = writing();
    let base64 =
        |content: &str, mode: &str| json!({"path": "a", "content": content, "mode": mode, "encoding": "base64"});
    client.call_text("fs_write", base64("/wAB", "create"));
    client.call_text("fs_write", base64("/w==", "append"));
    assert_eq!(sandbox.read("data/a"), [0xff, 0, 1, 0xff]);
    let (code, said) = client.call_fault("fs_write", base64("not base64!", "overwrite"));
    assert_eq!(code, "invalid_arguments");
    assert!(said.contains("base64"), "{said}");
    assert_eq!(sandbox.read("data/a"), [0xff, 0, 1, 0xff]);
}

#[test]
fn a_file_keeps_its_mode_when_it_is_overwritten() {
    let (sandbox, mut client) = writing();
    for wanted in [0o600, 0o644, 0o755, 0o666] {
        let path = sandbox.write(&format!("data/{wanted:o}"), "old");
        set_mode(&path, wanted);
        client.call_text("fs_write", write(&path, "new", "overwrite"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(mode(&path), wanted, "{wanted:o}");
    }
}

#[test]
fn no_set_user_or_group_id_bit_is_carried_to_new_content() {
    let (sandbox, mut client) = writing();
    for bits in [0o4755, 0o2755, 0o6755] {
        let path = sandbox.write(&format!("data/{bits:o}"), "old");
        set_mode(&path, bits);
        assert_eq!(mode(&path), bits, "the file system of the test keeps these bits");
        client.call_text("fs_write", write(&path, "new", "overwrite"));
        assert_eq!(mode(&path), 0o755, "{bits:o}");
    }
}

#[test]
fn nothing_but_the_file_is_left_behind() {
    let (sandbox, mut client) = writing();
    sandbox.write("data/a.txt", "old");
    std::fs::create_dir(sandbox.path("data/sub")).unwrap();
    for mode in ["create", "overwrite", "append"] {
        for path in ["a.txt", "b.txt", "sub", "sub/c.txt", "missing/d.txt", "../e.txt"] {
            client.call("fs_write", write(path, "new", mode));
        }
    }
    assert_eq!(sandbox.names("data"), ["a.txt", "b.txt", "sub"]);
    assert_eq!(sandbox.names("data/sub"), ["c.txt"]);
    assert_eq!(sandbox.names("."), ["data", "tools"]);
}

#[test]
fn no_directory_is_made_for_a_file() {
    let (sandbox, mut client) = writing();
    for mode in ["create", "overwrite", "append"] {
        let (code, said) = client.call_fault("fs_write", write("missing/a.txt", "x", mode));
        assert_eq!(code, "not_found", "{mode}: {said}");
        assert!(said.contains("create the directory first"), "{mode}: {said}");
    }
    assert!(sandbox.names("data").is_empty());
}

#[test]
fn writing_through_a_link_cannot_leave() {
    let (sandbox, mut client) = writing();
    sandbox.write("outside/a.txt", "whole");
    sandbox.link("data/absolute", sandbox.path("outside/a.txt"));
    sandbox.link("data/relative", "../outside/a.txt");
    sandbox.link("data/second", "relative");
    sandbox.link("data/new-absolute", sandbox.path("outside/new.txt"));
    sandbox.link("data/new-relative", "../outside/new.txt");
    sandbox.link("data/folder", "../outside");
    sandbox.link("data/folder-absolute", sandbox.path("outside"));
    let links = ["absolute", "relative", "second", "new-absolute", "new-relative"];
    let before = sandbox.names("data");
    for mode in ["overwrite", "append"] {
        for path in links.iter().chain(&["folder/a.txt", "folder/new.txt", "folder-absolute/a.txt"]) {
            let (code, said) = client.call_fault("fs_write", write(path, "spoilt", mode));
            assert_eq!(code, "permission_denied", "{mode} {path}: {said}");
            assert!(!said.contains("outside/"), "{mode} {path}: where the link leads is told: {said}");
        }
    }
    for path in ["folder/new.txt", "folder-absolute/new.txt", "../outside/new.txt"] {
        assert_eq!(client.call_fault("fs_write", write(path, "spoilt", "create")).0, "permission_denied", "{path}");
    }
    for path in links {
        let (code, said) = client.call_fault("fs_write", write(path, "spoilt", "create"));
        // WASI does not even tell a guest what an absolute link holds, so that is refused sooner.
        let wanted = if path.contains("absolute") { "permission_denied" } else { "invalid_arguments" };
        assert_eq!(code, wanted, "{path}: {said}");
    }
    assert_eq!(sandbox.names("outside"), ["a.txt"]);
    assert_eq!(sandbox.read_text("outside/a.txt"), "whole");
    assert_eq!(sandbox.names("data"), before);
}

#[test]
fn a_link_that_stays_inside_is_followed_and_its_file_is_replaced() {
    let (sandbox, mut client) = writing();
    let file = sandbox.write("data/sub/b.txt", "old");
    set_mode(&file, 0o640);
    sandbox.link("data/link", "sub/b.txt");
    sandbox.link("data/chain", "link");
    sandbox.link("data/folder", "sub");
    for (path, mode, then) in [
        ("link", "overwrite", "1"),
        ("chain", "overwrite", "2"),
        ("folder/b.txt", "overwrite", "3"),
        ("link", "append", "34"),
        ("folder/b.txt", "append", "345"),
    ] {
        client.call_text("fs_write", write(path, &then[then.len() - 1..], mode));
        assert_eq!(sandbox.read_text("data/sub/b.txt"), then, "{path}");
    }
    for link in ["link", "chain", "folder"] {
        let path = sandbox.path("data").join(link);
        assert!(std::fs::symlink_metadata(path).unwrap().is_symlink(), "{link} is no link any more");
    }
    assert_eq!(mode(&file), 0o640);
    assert_eq!(sandbox.names("data/sub"), ["b.txt"]);
}

#[test]
fn a_link_to_nothing_is_refused() {
    let (sandbox, mut client) = writing();
    sandbox.link("data/dangling", "new.txt");
    sandbox.link("data/loop", "loop");
    for mode in ["overwrite", "append"] {
        assert_eq!(client.call_fault("fs_write", write("dangling", "x", mode)).0, "not_found", "{mode}");
        assert_eq!(client.call_fault("fs_write", write("loop", "x", mode)).0, "invalid_arguments", "{mode}");
    }
    assert_eq!(sandbox.names("data"), ["dangling", "loop"]);
}

#[test]
fn a_hard_link_outside_does_not_see_what_is_overwritten() {
    let (sandbox, mut client) = writing();
    sandbox.write("outside.txt", "whole");
    std::fs::hard_link(sandbox.path("outside.txt"), sandbox.path("data/a.txt")).unwrap();
    client.call_text("fs_write", write("a.txt", "new", "overwrite"));
    assert_eq!((sandbox.read_text("data/a.txt").as_str(), sandbox.read_text("outside.txt").as_str()), ("new", "whole"));
}

#[test]
fn a_reader_sees_the_old_file_or_the_new_one() {
    let (sandbox, mut client) = writing();
    let (old, new) = ("o".repeat(1 << 20), "n".repeat(1 << 20));
    let path = sandbox.write("data/a.txt", &old);
    let ids: Vec<i64> = (0..20)
        .map(|turn| client.begin_call("fs_write", write("a.txt", if turn % 2 == 0 { &new } else { &old }, "overwrite")))
        .collect();
    let last = *ids.last().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                let content = std::fs::read(&path).unwrap();
                assert_eq!(content.len(), 1 << 20);
                assert!(content.iter().all(|byte| *byte == content[0]), "a mixture of both");
            }
        });
        client.answer(last);
    });
}

#[test]
fn content_as_large_as_a_line_carries_is_written_whole() {
    let (sandbox, mut client) = writing();
    let content = "0123456789abcdef".repeat(3 << 16);
    client.call_text("fs_write", write("a.txt", &content, "create"));
    client.call_text("fs_write", write("a.txt", &content, "append"));
    assert_eq!(sandbox.read_text("data/a.txt"), content.repeat(2));
}
