//! Standard input and output of every kind that clients connect: pipes, sockets, files, terminals.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, OptionalActions, OutputModes};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Sandbox, ServerCommand};

const CALLS: usize = 50;
/// Longer than a pipe holds, so that writing has to wait.
const CONTENT_BYTES: usize = 20_000;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "x".repeat(CONTENT_BYTES));
    sandbox
}

fn session() -> String {
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}});
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let mut lines = format!("{initialize}\n{}\n", json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    for id in 1..=CALLS {
        let params = json!({"name": "fs_read", "arguments": {"path": "a.txt"}});
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        lines.push_str(&format!("{call}\n"));
    }
    lines
}

/// Every line is an answer, and every request has one.
fn assert_whole_session(output: &str) {
    let mut seen = vec![0; CALLS + 1];
    for line in output.lines() {
        let message: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert_eq!(message["jsonrpc"], "2.0");
        let id = message["id"].as_u64().unwrap() as usize;
        seen[id] += 1;
        if id > 0 {
            assert_eq!(message["result"]["content"][0]["text"].as_str().map(str::len), Some(CONTENT_BYTES));
        }
    }
    assert!(seen.iter().all(|count| *count == 1), "{seen:?}");
}

fn spawn(server: &mut ServerCommand, stdin: impl Into<Stdio>, stdout: impl Into<Stdio>) -> Child {
    let child = server.command().stdin(stdin).stdout(stdout).stderr(Stdio::null()).spawn().unwrap();
    // The command keeps what it was given; a socket or a terminal only ends once nobody holds it.
    server.command().stdin(Stdio::null()).stdout(Stdio::null());
    child
}

fn in_background(mut to: impl Write + Send + 'static, then: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        to.write_all(session().as_bytes()).unwrap();
        drop(to);
        then();
    });
}

fn assert_success(mut child: Child) {
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn pipes() {
    let sandbox = sandbox();
    let output = sandbox.server().run(session());
    output.assert_success();
    assert_whole_session(&output.stdout);
}

#[test]
fn a_pipe_that_others_share_stays_blocking() {
    in_time(|| {
        let sandbox = sandbox();
        let (input, to_server) = std::io::pipe().unwrap();
        let (mut from_server, output) = std::io::pipe().unwrap();
        let shared = (input.try_clone().unwrap(), output.try_clone().unwrap());
        let child = spawn(&mut sandbox.server(), input, output);
        in_background(to_server, || {});
        let mut text = String::new();
        let reader = std::thread::spawn(move || {
            from_server.read_to_string(&mut text).unwrap();
            text
        });
        assert_success(child);
        for flags in [rustix::fs::fcntl_getfl(&shared.0).unwrap(), rustix::fs::fcntl_getfl(&shared.1).unwrap()] {
            assert!(!flags.contains(OFlags::NONBLOCK), "{flags:?}");
        }
        drop(shared);
        assert_whole_session(&reader.join().unwrap());
    });
}

#[test]
fn one_socket_both_ways() {
    in_time(|| {
        let sandbox = sandbox();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = spawn(&mut sandbox.server(), OwnedFd::from(theirs.try_clone().unwrap()), OwnedFd::from(theirs));
        let closing = ours.try_clone().unwrap();
        in_background(ours.try_clone().unwrap(), move || closing.shutdown(Shutdown::Write).unwrap());
        let mut text = String::new();
        (&ours).read_to_string(&mut text).unwrap();
        assert_whole_session(&text);
        assert_success(child);
    });
}

#[test]
fn a_socket_each_way() {
    in_time(|| {
        let sandbox = sandbox();
        let (to_server, input) = UnixStream::pair().unwrap();
        let (mut from_server, output) = UnixStream::pair().unwrap();
        let child = spawn(&mut sandbox.server(), OwnedFd::from(input), OwnedFd::from(output));
        in_background(to_server, || {});
        let mut text = String::new();
        from_server.read_to_string(&mut text).unwrap();
        assert_whole_session(&text);
        assert_success(child);
    });
}

#[test]
fn regular_files() {
    in_time(|| {
        let sandbox = sandbox();
        let input = sandbox.write("session.jsonl", session());
        let output = sandbox.path("answers.jsonl");
        let child = spawn(&mut sandbox.server(), File::open(input).unwrap(), File::create(&output).unwrap());
        assert_success(child);
        assert_whole_session(&sandbox.read_text("answers.jsonl"));
    });
}

#[test]
fn an_output_file_is_written_on_where_it_stands() {
    in_time(|| {
        let sandbox = sandbox();
        let input = sandbox.write("session.jsonl", session());
        sandbox.write("answers.jsonl", "\n");
        let output = File::options().append(true).open(sandbox.path("answers.jsonl")).unwrap();
        assert_success(spawn(&mut sandbox.server(), File::open(input).unwrap(), output));
        assert_whole_session(sandbox.read_text("answers.jsonl").strip_prefix('\n').expect("the first line is kept"));
    });
}

#[test]
fn a_file_in_and_a_pipe_out() {
    in_time(|| {
        let sandbox = sandbox();
        let input = sandbox.write("session.jsonl", session());
        let mut child = spawn(&mut sandbox.server(), File::open(input).unwrap(), Stdio::piped());
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_whole_session(&text);
        assert_success(child);
    });
}

/// Runs `work`; a hang becomes a failure. For tests that wait for the process by other means than a client.
pub fn in_time(work: impl FnOnce() + Send + 'static) {
    let worker = std::thread::spawn(work);
    let until = Instant::now() + PATIENCE;
    while !worker.is_finished() {
        assert!(Instant::now() < until, "this did not end within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
    if let Err(panic) = worker.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A terminal as a program would set it: lines, no echo, bytes unchanged.
fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    // No child may hold our side open: then it would never be closed.
    #[cfg(target_os = "linux")]
    let flags = flags | OpenptFlags::CLOEXEC;
    let ours = rustix::pty::openpt(flags).unwrap();
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC).unwrap();
    rustix::pty::grantpt(&ours).unwrap();
    rustix::pty::unlockpt(&ours).unwrap();
    let path = rustix::pty::ptsname(&ours, Vec::new()).unwrap();
    let theirs =
        rustix::fs::open(path.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, rustix::fs::Mode::empty())
            .unwrap();
    let mut modes = rustix::termios::tcgetattr(&theirs).unwrap();
    modes.local_modes.remove(LocalModes::ECHO);
    modes.output_modes.remove(OutputModes::OPOST);
    rustix::termios::tcsetattr(&theirs, OptionalActions::Now, &modes).unwrap();
    (ours, theirs)
}

#[test]
fn a_terminal() {
    in_time(|| {
        const END_OF_INPUT: &[u8] = b"\x04";
        let sandbox = sandbox();
        let (ours, theirs) = terminal();
        let child = spawn(&mut sandbox.server(), theirs.try_clone().unwrap(), theirs);
        let mut keyboard = File::from(ours.try_clone().unwrap());
        let screen = BufReader::new(File::from(ours));
        // A person who types a line and waits for its answer.
        let mut lines = screen.lines();
        let mut text = String::new();
        for line in session().lines() {
            keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
            if line.contains("\"id\"") {
                text.push_str(&lines.next().unwrap().unwrap());
                text.push('\n');
            }
        }
        keyboard.write_all(END_OF_INPUT).unwrap();
        assert_whole_session(&text);
        assert_success(child);
    });
}

#[test]
fn a_terminal_that_is_closed_ends_the_process() {
    in_time(|| {
        let sandbox = sandbox();
        let (ours, theirs) = terminal();
        let mut child = spawn(&mut sandbox.server(), theirs.try_clone().unwrap(), theirs);
        let mut keyboard = File::from(ours.try_clone().unwrap());
        keyboard.write_all(b"garbage\n").unwrap();
        let mut screen = BufReader::new(File::from(ours));
        screen.read_line(&mut String::new()).unwrap();
        drop((keyboard, screen));
        let status = child.wait().unwrap();
        assert!(status.code().is_some(), "it ended by itself, not by a crash: {status}");
    });
}

#[test]
fn nothing_at_all() {
    in_time(|| {
        let sandbox = sandbox();
        assert_success(spawn(&mut sandbox.server(), Stdio::null(), Stdio::null()));
        let mut child = spawn(&mut sandbox.server(), Stdio::null(), Stdio::piped());
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "");
        assert_success(child);
    });
}

#[test]
fn answers_that_nobody_wants_are_no_failure() {
    in_time(|| {
        let sandbox = sandbox();
        let input = sandbox.write("session.jsonl", session());
        assert_success(spawn(&mut sandbox.server(), File::open(input).unwrap(), Stdio::null()));
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_the_process_with_the_code_for_output() {
    in_time(|| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let sandbox = sandbox();
        let input = sandbox.write("session.jsonl", session());
        let mut child = spawn(&mut sandbox.server(), File::open(input).unwrap(), full);
        assert_eq!(child.wait().unwrap().code(), Some(74));
    });
}
