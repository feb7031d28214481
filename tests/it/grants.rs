//! What is allowed: for reading or for writing, under which names, and for how long.

use std::path::Path;

use serde_json::json;

use crate::support::{Client, Sandbox, ServerCommand};
use crate::wat_guests::{on_path, open};

fn allowing(grants: &[&str]) -> ServerCommand {
    let mut server = ServerCommand::bare();
    for grant in grants {
        server.args(["--allow", grant]);
    }
    server
}

fn shown(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

/// Writing `path` is denied in every mode.
fn no_mode_writes(client: &mut Client, path: &str) {
    for mode in ["create", "overwrite", "append"] {
        let (code, said) = client.call_fault("fs_write", json!({"path": path, "content": "spoilt", "mode": mode}));
        if mode == "create" && code == "invalid_arguments" {
            // What may be read may be seen to exist, and that is found out first.
            assert!(said.contains("already exists"), "{path}: {said}");
            continue;
        }
        assert_eq!(code, "permission_denied", "{path} {mode}: {said}");
        assert!(said.contains("--allow DIR:rw"), "{path} {mode}: {said}");
    }
}

#[test]
fn a_directory_allowed_for_reading_refuses_every_mode_of_writing() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("data/a.txt", "whole");
    let mut client = allowing(&[&shown(sandbox.data())]).start_session();
    assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), "whole");
    for path in ["a.txt", "new.txt", &shown(&file)] {
        no_mode_writes(&mut client, path);
    }
    assert_eq!(sandbox.names("data"), ["a.txt"]);
    assert_eq!(sandbox.read_text("data/a.txt"), "whole");
}

#[test]
fn a_directory_allowed_for_writing_takes_every_mode_of_writing() {
    let sandbox = Sandbox::new();
    let mut client = allowing(&[&format!("{}:rw", shown(sandbox.data()))]).start_session();
    for mode in ["create", "overwrite", "append"] {
        client.call_text("fs_write", json!({"path": "a.txt", "content": mode, "mode": mode}));
    }
    assert_eq!(sandbox.read_text("data/a.txt"), "overwriteappend");
}

/// Everything that WASI offers to change a directory, as calls of [`on_path`].
fn changes() -> Vec<(&'static str, String)> {
    let second = "(local.get $d) (i32.const 512) (i32.const 3)";
    vec![
        ("open_to_write", open(0, 64)),
        ("open_and_create", open(1, 2)),
        ("open_and_truncate", open(8, 2)),
        ("create_directory", "(call $path_create_directory (local.get $d) PATH)".to_owned()),
        ("remove_directory", "(call $path_remove_directory (local.get $d) PATH)".to_owned()),
        ("unlink", "(call $path_unlink_file (local.get $d) PATH)".to_owned()),
        ("rename", format!("(call $path_rename (local.get $d) PATH {second})")),
        ("link", format!("(call $path_link (local.get $d) (i32.const 0) PATH {second})")),
        ("symlink", "(call $path_symlink (i32.const 512) (i32.const 3) (local.get $d) PATH)".to_owned()),
        (
            "set_times",
            "(call $path_filestat_set_times (local.get $d) (i32.const 0) PATH (i64.const 0) (i64.const 0)
               (i32.const 5))"
                .to_owned(),
        ),
    ]
}

/// A path for the change of this name, so that only the missing right can stand in its way.
fn path_for(change: &str) -> &'static str {
    match change {
        "create_directory" | "symlink" | "open_and_create" => "fresh",
        "remove_directory" => "empty",
        _ => "a.txt",
    }
}

fn with_changes(permissions: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, call) in changes() {
        sandbox.wat_tool(name, &on_path(&call), json!({"permissions": permissions}));
    }
    sandbox
}

fn lay_out(sandbox: &Sandbox) {
    let _ = std::fs::remove_dir_all(sandbox.data());
    sandbox.write("data/a.txt", "whole");
    std::fs::create_dir(sandbox.path("data/empty")).unwrap();
}

#[test]
fn a_guest_without_manners_changes_nothing_where_it_may_only_read() {
    let sandbox = with_changes(&["read", "write"]);
    lay_out(&sandbox);
    let modified = || std::fs::metadata(sandbox.path("data/a.txt")).unwrap().modified().unwrap();
    let before = modified();
    let mut client = allowing(&[&shown(sandbox.data())]).arg("--tools").arg(sandbox.path("tools")).start_session();
    for (name, _) in changes() {
        assert_ne!(client.call_text(name, json!({"path": path_for(name)})), "000", "{name}");
        assert_eq!(sandbox.names("data"), ["a.txt", "empty"], "{name}");
        assert_eq!((sandbox.read_text("data/a.txt").as_str(), modified()), ("whole", before), "{name}");
    }
}

#[test]
fn the_same_guest_changes_what_it_may_write() {
    let sandbox = with_changes(&["read", "write"]);
    for (name, _) in changes() {
        lay_out(&sandbox);
        let mut client = sandbox.server().start_session();
        assert_eq!(client.call_text(name, json!({"path": path_for(name)})), "000", "{name}");
    }
}

#[test]
fn a_manifest_that_only_reads_changes_nothing_in_a_writable_directory() {
    let sandbox = with_changes(&["read"]);
    lay_out(&sandbox);
    let mut client = sandbox.server().start_session();
    for (name, _) in changes() {
        assert_ne!(client.call_text(name, json!({"path": path_for(name)})), "000", "{name}");
    }
    assert_eq!(sandbox.names("data"), ["a.txt", "empty"]);
    assert_eq!(sandbox.read_text("data/a.txt"), "whole");
}

#[test]
fn a_guest_without_manners_writes_nothing_outside() {
    let sandbox = with_changes(&["read", "write"]);
    lay_out(&sandbox);
    sandbox.write("outside/a.txt", "whole");
    std::fs::create_dir(sandbox.path("outside/empty")).unwrap();
    sandbox.link("data/folder", "../outside");
    sandbox.link("data/absolute", sandbox.path("outside"));
    let mut client = sandbox.server().start_session();
    for (name, _) in changes() {
        for folder in ["../outside", "folder", "absolute", &shown(sandbox.path("outside"))] {
            let path = format!("{folder}/{}", path_for(name));
            assert_ne!(client.call_text(name, json!({"path": path})), "000", "{name} {path}");
        }
    }
    assert_eq!(sandbox.names("outside"), ["a.txt", "empty"]);
    assert_eq!(sandbox.read_text("outside/a.txt"), "whole");
}

#[test]
fn grants_inside_each_other_add_up() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "outer");
    sandbox.write("data/in/b.txt", "inner");
    let (outer, inner) = (shown(sandbox.data()), shown(sandbox.path("data/in")));
    let mut client = allowing(&[&outer, &format!("{inner}:rw")]).start_session();
    assert_eq!(client.call_text("fs_read", json!({"path": "in/b.txt"})), "inner");
    assert_eq!(client.call_text("fs_read", json!({"path": format!("{inner}/b.txt")})), "inner");
    let replace = |path: String| json!({"path": path, "content": "new", "mode": "overwrite"});
    client.call_text("fs_write", replace(format!("{inner}/b.txt")));
    assert_eq!(sandbox.read_text("data/in/b.txt"), "new");
    no_mode_writes(&mut client, &format!("{outer}/a.txt"));
    no_mode_writes(&mut client, &format!("{inner}/../a.txt"));
    assert_eq!(sandbox.read_text("data/a.txt"), "outer");
}

#[test]
fn a_relative_path_starts_at_the_first_grant() {
    let sandbox = Sandbox::new();
    sandbox.write("one/a.txt", "one");
    sandbox.write("two/a.txt", "two");
    let (one, two) = (shown(sandbox.path("one")), shown(sandbox.path("two")));
    for (grants, content) in [([&one, &two], "one"), ([&two, &one], "two")] {
        let mut client = allowing(&grants.map(String::as_str)).start_session();
        assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), content);
        assert_eq!(client.call_text("fs_read", json!({"path": format!("{one}/a.txt")})), "one");
        assert_eq!(client.call_text("fs_read", json!({"path": format!("{two}/a.txt")})), "two");
    }
    // To a tool that writes it is the same directory, although it may only write the other one.
    let mut client = allowing(&[&one, &format!("{two}:rw")]).start_session();
    assert_eq!(client.call_fault("fs_write", json!({"path": "b.txt", "content": "x"})).0, "permission_denied");
    assert_eq!((sandbox.names("one"), sandbox.names("two")), (vec!["a.txt".to_owned()], vec!["a.txt".to_owned()]));
}

#[test]
fn the_same_directory_allowed_twice_has_the_wider_right() {
    let sandbox = Sandbox::new();
    let data = shown(sandbox.data());
    let mut client = allowing(&[&data, &format!("{data}:rw")]).start_session();
    client.call_text("fs_write", json!({"path": "a.txt", "content": "x"}));
    assert_eq!(sandbox.read_text("data/a.txt"), "x");
}

#[test]
fn a_directory_allowed_through_a_link_works_by_both_names() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "one file");
    let link = sandbox.link("link", "data");
    let mut client = allowing(&[&format!("{}:rw", shown(&link))]).start_session();
    for folder in [&link, &sandbox.data()] {
        assert_eq!(client.call_text("fs_read", json!({"path": folder.join("a.txt")})), "one file");
        let write = json!({"path": folder.join("a.txt"), "content": "one file", "mode": "overwrite"});
        client.call_text("fs_write", write);
    }
    let beside = json!({"path": sandbox.path("a.txt")});
    assert_eq!(client.call_fault("fs_read", beside).0, "permission_denied");
}

#[test]
fn a_directory_that_is_replaced_after_the_start_does_not_move_the_grant() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("data/a.txt", "granted");
    sandbox.write("other/a.txt", "never granted");
    sandbox.prebuilt_tool("probe", "probe", json!({"permissions": ["read"]}));
    let mut client = sandbox.server().start_session();
    std::fs::rename(sandbox.data(), sandbox.path("moved")).unwrap();
    sandbox.link("data", "other");
    assert_eq!(client.call_text("fs_read", json!({"path": &file})), "granted");
    // A crash builds a new Store, which must not follow the new link either.
    client.call_fault("probe", json!({"verb": "trap"}));
    assert_eq!(client.call_text("probe", json!({"verb": "read", "path": &file})), "granted");
    client.call_text("fs_write", json!({"path": "new.txt", "content": "x"}));
    assert_eq!(sandbox.names("moved"), ["a.txt", "new.txt"]);
    assert_eq!(sandbox.names("other"), ["a.txt"]);
}

#[test]
fn a_grant_of_everything_reads_everything_and_still_writes_nothing() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("data/a.txt", "whole");
    let mut client = allowing(&["/"]).start_session();
    assert_eq!(client.call_text("fs_read", json!({"path": &file})), "whole");
    no_mode_writes(&mut client, &shown(&file));
}
