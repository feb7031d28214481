//! The log for people on standard error, and the commands that read the supervision log back.

use std::io::{ErrorKind, PipeReader, PipeWriter, Write};
use std::path::Path;
use std::process::Command;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde_json::{Value, json};

use crate::process::log_lines;
use crate::supervision::{LOG, sandbox, server};
use crate::support::{SERVER, Sandbox};

/// Runs `nurones-mcp log` and returns its exit code, what it printed and what it complained of.
fn log(args: &[&str], file: &Path) -> (i32, String, String) {
    let output = Command::new(SERVER).arg("log").args(args).arg(file).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A session in which a tool traps a few times.
fn trouble(sandbox: &Sandbox) {
    let mut client = server(sandbox).start_session();
    for _ in 0..3 {
        assert_eq!(client.call_fault("probe", json!({"verb": "trap"})).0, "tool_trapped");
    }
    assert!(client.finish().1.success());
}

#[test]
fn the_log_of_a_session_breaks_no_rule() {
    let sandbox = sandbox();
    trouble(&sandbox);
    let (code, said, complaint) = log(&["check"], &sandbox.path(LOG));
    assert_eq!((code, complaint.as_str()), (0, ""), "{said}");
    let summary = said.lines().last().unwrap();
    assert!(summary.contains("1 boot, 3 call faults: no rule broken"), "{said}");
}

#[test]
fn a_log_that_was_tampered_with_breaks_one() {
    let sandbox = sandbox();
    trouble(&sandbox);
    let mut lines: Vec<String> = sandbox.read_text(LOG).lines().map(str::to_owned).collect();
    let lost = lines.iter().position(|line| line.contains("child_exited")).unwrap();
    lines.remove(lost);
    let path = sandbox.write(LOG, lines.join("\n"));
    let (code, said, complaint) = log(&["check"], &path);
    assert_eq!((code, complaint.as_str()), (1, ""), "{said}");
    assert!(said.contains(&format!("{}:{}: [seq]", path.display(), lost + 1)), "{said}");
    assert!(said.lines().last().unwrap().ends_with(": 1 break of the rules"), "{said}");
}

#[test]
fn a_log_that_cannot_be_read_is_named() {
    let sandbox = Sandbox::new();
    for args in [&["check"][..], &["timeline"]] {
        for path in [sandbox.path("none.jsonl"), sandbox.data()] {
            let (code, said, complaint) = log(args, &path);
            assert_eq!((code, said.as_str()), (64, ""), "{complaint}");
            let named = complaint.contains(&path.display().to_string()) && complaint.contains("--supervision-log");
            assert!(named, "{complaint}");
        }
    }
}

#[test]
fn the_timeline_shows_what_happened_to_a_tool() {
    let sandbox = sandbox();
    trouble(&sandbox);
    let (code, said, _) = log(&["timeline"], &sandbox.path(LOG));
    assert_eq!(code, 0, "{said}");
    for part in ["boot ", "  probe\n", "w0  started #0", "1 call failed: tool_trapped", "call faults: tool_trapped 3"] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    let page = sandbox.path("page.html");
    let (code, said, _) = log(&["timeline", "--html", page.to_str().unwrap()], &sandbox.path(LOG));
    assert!(code == 0 && said.contains("page.html"), "{said}");
    let page = sandbox.read_text("page.html");
    assert!(page.contains("<svg") && page.contains("root/tools/probe/w0") && page.ends_with("</html>\n"), "{page}");
}

#[test]
fn what_stands_in_a_log_cannot_take_over_the_terminal() {
    let sandbox = Sandbox::new();
    let bad = "\u{1b}[2J<script>";
    let line = json!({"v": 1, "seq": 7, "boot": bad, "ts": bad, "mono_us": 0, "event": bad, "path": bad});
    let path = sandbox.write(LOG, format!("{line}\n"));
    for args in [&["check"][..], &["timeline"]] {
        let said = log(args, &path).1;
        assert!(said.contains("\\u{1b}[2J") && !said.contains('\u{1b}'), "{said}");
    }
    let page = sandbox.path("page.html");
    log(&["timeline", "--html", page.to_str().unwrap()], &path);
    let page = sandbox.read_text("page.html");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script") && !page.contains('\u{1b}'), "{page}");
}

/// A log of an earlier boot that is `room` bytes short of `bytes`.
fn nearly_full(path: &Path, bytes: usize, room: usize) {
    let line = |seq: u64, event: &str, more: Value| {
        let mut line =
            json!({"v": 1, "seq": seq, "boot": "earlier", "ts": "", "mono_us": seq, "event": event, "path": "root"});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("{line}\n")
    };
    let mut text = line(0, "boot", json!({"server": {"version": "0", "tools": []}}));
    let mut seq = 1;
    while text.len() + room + 1000 < bytes {
        text += &line(seq, "failpoint", json!({"reason": {"kind": "filler", "msg": "x".repeat(300)}}));
        seq += 1;
    }
    text += &line(seq, "stopped", json!({"count": 0}));
    std::fs::write(path, text).unwrap();
}

#[test]
fn processes_that_share_a_rotating_log_lose_nothing() {
    const PROCESSES: usize = 4;
    const RUNS: usize = 3;
    const TRAPS: usize = 20;
    let sandbox = sandbox();
    let config = sandbox.write(".mcp/config.json", r#"{"supervision":{"logMaxMb":1,"logKeep":2,"breakerCalls":0}}"#);
    nearly_full(&sandbox.path(LOG), 1 << 20, 4000);
    std::thread::scope(|scope| {
        for _ in 0..PROCESSES {
            scope.spawn(|| {
                for _ in 0..RUNS {
                    let mut client = server(&sandbox).arg("--config").arg(&config).start_session();
                    for _ in 0..TRAPS {
                        client.call_fault("probe", json!({"verb": "trap"}));
                    }
                    assert!(client.finish().1.success());
                }
            });
        }
    });
    let old = sandbox.path(&format!("{LOG}.1"));
    assert!(old.exists(), "nothing was put aside");
    assert!(log_lines(&sandbox.path(LOG)).iter().any(|line| line["event"] == "log_rotated"));
    let (code, said, _) = log(&["check"], &sandbox.path(LOG));
    let boots = 1 + PROCESSES * RUNS;
    let faults = PROCESSES * RUNS * TRAPS;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("{boots} boots, {faults} call faults: no rule broken")), "{said}");
}

#[test]
fn supervision_is_told_in_words_on_standard_error() {
    let sandbox = sandbox();
    let mut client = sandbox.server().env("NURONES_LOG", "supervision=debug").start_session();
    client.call_fault("probe", json!({"verb": "trap"}));
    let said = client.all_it_said();
    for part in ["probe/w0 started", "probe/w0: a call failed (tool_trapped", "probe/w0 ended (normal), stopped"] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    let quiet = sandbox.server().start_session().all_it_said();
    assert!(!quiet.contains("supervision"), "a session without trouble is told without being asked:\n{quiet}");
}

/// A pipe that takes nothing more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        loop {
            match writer.write(&vec![b'.'; size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

#[test]
fn a_standard_error_that_nobody_reads_holds_nobody_up() {
    let sandbox = sandbox();
    let (reader, writer) = full_pipe();
    let mut server = server(&sandbox);
    let mut client = server.env("NURONES_LOG", "trace").start_with_stderr(writer);
    client.initialize("2025-11-25");
    for number in 0..400 {
        let text = number.to_string();
        assert_eq!(client.call_text("probe", json!({"verb": "echo", "text": text})), text);
        if number % 100 == 0 {
            client.call_fault("probe", json!({"verb": "trap"}));
        }
    }
    assert!(client.finish().1.success(), "the end was held up");
    assert!(log_lines(&sandbox.path(LOG)).iter().any(|line| line["event"] == "stopped"));
    drop(reader);
}

#[test]
fn a_page_never_replaces_the_log_it_is_drawn_from() {
    let sandbox = sandbox();
    server(&sandbox).run("").assert_success();
    let path = sandbox.path(LOG);
    let before = std::fs::read(&path).unwrap();
    let page = path.to_str().unwrap().to_owned();
    let (code, _, complaint) = log(&["timeline", "--html", &page], &path);
    assert!(code == 64 && complaint.contains("part of the log itself"), "{code}: {complaint}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_no_log_is_not_called_a_sound_one() {
    let sandbox = sandbox();
    for text in ["", "some words\nand more\n"] {
        let path = sandbox.write("no.log", text);
        for command in ["check", "timeline"] {
            let (code, said, complaint) = log(&[command], &path);
            assert!(
                code == 64 && complaint.contains("holds no record"),
                "{command} {text:?}: {code} {said} {complaint}"
            );
        }
    }
}

#[test]
fn faults_of_different_kinds_are_counted_apart() {
    let sandbox = sandbox();
    let mut client = server(&sandbox).start_session();
    for _ in 0..5 {
        client.assert_echoes("probe");
        client.call_fault("probe", json!({"verb": "trap"}));
        let spun = client.call_framed("probe", json!({"verb": "spin"}), json!({"budgets": {"cpu_ms": 5}}));
        assert_eq!(crate::support::fault(&spun).0, "deadline_exceeded");
    }
    client.finish();
    let count = |kind: &str| -> u64 {
        let lines = log_lines(&sandbox.path(LOG));
        let of_kind = lines.iter().filter(|line| line["event"] == "call_faulted" && line["reason"]["kind"] == kind);
        of_kind.map(|line| line["count"].as_u64().unwrap()).sum()
    };
    assert_eq!((count("tool_trapped"), count("deadline_exceeded")), (5, 5));
}
