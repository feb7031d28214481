//! The load generator from outside: what it counts, what it says, and how it ends, against our server and against
//! servers written in shell that misbehave.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process::eventually;
use crate::support::Sandbox;

/// A generator with nothing inherited from the environment that could change the server.
pub fn generator(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nurones-load"));
    for (name, _) in std::env::vars() {
        if name.starts_with("NURONES_") || ["FS_ALLOWLIST", "CONTEXT_ENGINE", "RUST_LOG"].contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// How it ended and what it said.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The one JSON object on standard output.
    pub fn report(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{}\n{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

pub fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().expect("it was not killed");
    Ran { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A server in shell that runs `on_call` for the `$n`th call, whose id is `$id`. The first call is the trial.
pub fn fake(on_call: &str) -> String {
    let script = r#"
        result() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$1" "$2"; }
        good() { result "$1" '{"content":[{"type":"text","text":"ok"}]}'; }
        error() { printf '{"jsonrpc":"2.0","id":%s,"error":{"code":%s,"message":"%s"}}\n' "$1" "$2" "$3"; }
        n=0
        while IFS= read -r line; do
            id=${line#*'"id":'}; id=${id%%[!0-9]*}
            case $line in
                *'"method":"initialize"'*) result "$id" '{"protocolVersion":"2025-06-18","capabilities":{}}' ;;
                *'"method":"server/discover"'*) result "$id" '{"supportedVersions":["2026-07-28"]}' ;;
                *'"method":"tools/list"'*) result "$id" '{"tools":[{"name":"one"},{"name":"two"}]}' ;;
                *'"method":"tools/call"'*) n=$((n + 1)); ON_CALL ;;
            esac
        done"#;
    script.replace("ON_CALL", on_call)
}

/// 100 calls over half a second of a server in shell.
pub fn against(on_call: &str, more: &[&str]) -> Ran {
    let script = fake(on_call);
    let mut args = vec!["--json", "--duration", "500ms", "--warm-up", "0s"];
    if !["--in-flight", "--ramp", "--steps"].iter().any(|load| more.contains(load)) {
        args.extend(["--rate", "200"]);
    }
    args.extend(more);
    args.extend(["--", "sh", "-c", &script]);
    run(&mut generator(&args))
}

#[test]
fn an_open_loop_on_our_server_answers_every_call() {
    for arrivals in ["fixed", "poisson"] {
        let temporary = tempfile::tempdir().unwrap();
        let args = ["--rate", "200", "--duration", "500ms", "--warm-up", "100ms", "--json", "--arrivals", arrivals];
        let ran = run(generator(&args).env("TMPDIR", temporary.path()));
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "the file to read was not removed");
        assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
        let report = ran.report();
        assert_eq!(report["sent"], report["answered"], "{report}");
        if arrivals == "fixed" {
            assert_eq!((&report["sent"], &report["offered_rps"]), (&100.into(), &200.0.into()), "{report}");
        }
        for key in ["errors", "shed", "lost", "unexpected", "unsent"] {
            assert_eq!(report[key], 0, "{key} in {report}");
        }
        let mut last = 0.0;
        for key in ["p50", "p90", "p95", "p99", "p99_9", "max"] {
            let latency = report["latency_us"][key].as_f64().unwrap();
            assert!(latency >= last && latency > 0.0, "{report}");
            last = latency;
        }
        assert!(report["achieved_rps"].as_f64().unwrap() > 0.0, "{report}");
        for key in ["cpu_s", "rss_mb_start", "rss_mb_end"] {
            assert_eq!(report["server"][key].is_f64(), cfg!(target_os = "linux"), "{key} in {report}");
        }
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn a_closed_loop_is_shown_as_a_table() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "content");
    let args = ["--in-flight", "8", "--duration", "300ms", "--warm-up", "0s", "--args", r#"{"path":"a.txt"}"#];
    let ran = run(generator(&args).current_dir(sandbox.data()));
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    for part in ["fs.read, closed loop, 8 in flight", "achieved", "p99.9", "lost  0\n", "generator"] {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
}

#[test]
fn errors_sheds_and_good_answers_are_told_apart() {
    let answer = r#"case $((n % 4)) in
        0) error "$id" -32603 'a bug' ;;
        1) [ $n = 1 ] && good "$id" || result "$id" '{"isError":true,"content":[{"type":"text","text":"no luck"}]}' ;;
        2) error "$id" -31503 'queue full' ;;
        3) good "$id" ;;
    esac"#;
    let ran = against(answer, &[]);
    let report = ran.report();
    let counts = ["sent", "answered", "errors", "shed", "lost"].map(|key| report[key].as_u64().unwrap());
    assert_eq!((ran.code, counts), (0, [100, 100, 50, 25, 0]), "{report}");
    let seen: Vec<(&str, &str, u64)> = report["first_errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|seen| {
            (seen["kind"].as_str().unwrap(), seen["message"].as_str().unwrap(), seen["count"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(seen, [("shed", "queue full (-31503)", 25), ("error", "a bug (-32603)", 25), ("error", "no luck", 25)]);
}

#[test]
fn answers_nobody_asked_for_are_counted_apart() {
    let ran = against(r#"good 999999; echo hello; good "$id""#, &[]);
    let report = ran.report();
    let counts = ["answered", "errors", "unexpected", "lost"].map(|key| report[key].as_u64().unwrap());
    assert_eq!((ran.code, counts), (0, [100, 200, 200, 0]), "{report}");
}

#[test]
fn requests_of_the_server_are_answered() {
    let ask = r#"printf '{"jsonrpc":"2.0","id":"s%s","method":"%s"}\n' $n ping; IFS= read -r reply
        case $reply in *'"result":{}'*) ;; *) exit 8 ;; esac
        printf '{"jsonrpc":"2.0","id":"s%s","method":"%s"}\n' $n roots/list; IFS= read -r reply
        case $reply in *-32601*) ;; *) exit 9 ;; esac
        good "$id""#;
    let ran = against(ask, &["--in-flight", "1"]);
    let report = ran.report();
    assert_eq!((ran.code, &report["lost"]), (0, &0.into()), "{report}\n{}", ran.stderr);
    assert!(report["answered"].as_u64().unwrap() > 0);
}

#[test]
fn a_server_that_dies_is_told_with_its_last_words() {
    let die = r#"if [ $n = 20 ]; then echo 'out of luck' >&2; exit 3; fi; good "$id""#;
    for mode in [&[][..], &["--in-flight", "8"]] {
        let ran = against(die, mode);
        let report = ran.report();
        let count = |key: &str| report[key].as_u64().unwrap();
        assert_eq!((ran.code, count("answered")), (1, 18), "{report}");
        assert!(count("lost") > 0 && count("sent") == count("answered") + count("lost"), "{report}");
        for text in [report["ended_early"].as_str().unwrap(), &ran.stderr] {
            assert!(text.contains("exit status: 3") && text.contains("out of luck"), "{text}");
        }
    }
}

#[test]
fn what_is_never_answered_is_lost() {
    let ran = against(r#"if [ $n = 1 ]; then good "$id"; fi"#, &["--drain", "100ms"]);
    let report = ran.report();
    let counts = ["sent", "answered", "lost", "unsent"].map(|key| report[key].as_u64().unwrap());
    assert_eq!((ran.code, counts), (1, [100, 0, 100, 0]), "{report}");
    assert_eq!(report["latency_us"]["p50"], Value::Null);
    assert_eq!(report["ended_early"], Value::Null);
}

#[test]
fn calls_that_a_full_pipe_kept_back_are_lost_too() {
    let arguments = format!(r#"{{"text":"{}"}}"#, "x".repeat(8000));
    let ran = against(r#"good "$id"; exec sleep 600"#, &["--drain", "100ms", "--args", &arguments]);
    let report = ran.report();
    let counts = ["sent", "answered", "lost"].map(|key| report[key].as_u64().unwrap());
    assert_eq!((ran.code, counts), (1, [100, 0, 100]), "{report}");
    assert!((1..100).contains(&report["unsent"].as_u64().unwrap()), "{report}");
}

#[test]
fn a_server_that_cannot_be_measured_ends_with_69_and_says_why() {
    let refuse =
        r#"read -r line; echo '{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"too old"}}'; read -r x"#;
    let broken = fake(r#"error "$id" -32602 'no such tool'"#);
    for (args, parts) in [
        (&["--tool", "no.such"][..], &["no.such", "fs_read", "fs_write"][..]),
        (&["--args", r#"{"path":"no-such-file"}"#], &["fs.read", "no-such-file", "--args"]),
        (&["--tool", "three", "--", "sh", "-c", &broken], &["three", "one, two", "--tool"]),
        (&["--tool", "one", "--", "sh", "-c", &broken], &["first call of one", "no such tool"]),
        (&["--", "/no/such/program"], &["/no/such/program"]),
        (&["--", "sh", "-c", "echo boom >&2; exit 7"], &["handshake", "boom", "exit status: 7"]),
        (&["--", "sh", "-c", refuse], &["handshake", "2025-06-18", "too old", "--protocol"]),
    ] {
        let ran = run(&mut generator(args));
        assert_eq!((ran.code, ran.stdout.as_str()), (69, ""), "{args:?}: {}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "{args:?}: {part} is not in: {}", ran.stderr);
        }
    }
}

#[test]
fn a_wrong_command_line_ends_with_64_and_says_what_is_wrong() {
    for (args, part) in [
        (&["--rate", "10", "--in-flight", "10"][..], "--in-flight"),
        (&["--in-flight", "10", "--arrivals", "poisson"], "--arrivals"),
        (&["--args", "{"], "is not JSON"),
        (&["--args", "[1]"], "must be a JSON object"),
        (&["--duration", "10"], "500ms, 10s or 2m"),
        (&["--duration", "0s"], "measures nothing"),
        (&["--rate", "0"], "above 0"),
        (&["--in-flight", "0"], "in flight"),
        (&["--arrivals", "never"], "never"),
        (&["cat"], "cat"),
    ] {
        let ran = run(&mut generator(args));
        assert_eq!((ran.code, ran.stdout.as_str()), (64, ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{args:?}: {part} is not in: {}", ran.stderr);
    }
}

#[test]
fn ctrl_c_stops_sending_and_reports_what_was_measured() {
    let sandbox = Sandbox::new();
    let marker = sandbox.path("called");
    let script = fake(r#"if [ $n = 10 ]; then : > "$0"; fi; good "$id""#);
    let args = ["--json", "--rate", "100", "--warm-up", "0s", "--duration", "10m", "--", "sh", "-c", &script];
    let mut command = generator(&args);
    let generator = command.arg(&marker).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the tenth call", || marker.exists());
    assert!(Command::new("kill").args(["-INT", &generator.id().to_string()]).status().unwrap().success());
    let output = generator.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["stopped"], &report["lost"]), (Some(0), &true.into(), &0.into()));
    assert_eq!(report["sent"], report["answered"], "{report}");
    assert!(report["answered"].as_u64().unwrap() >= 9, "{report}");
}

#[test]
fn ctrl_c_in_the_warm_up_measures_nothing_and_nothing_holds() {
    let sandbox = Sandbox::new();
    let script = fake(r#"if [ $n = 10 ]; then : > "$0"; fi; good "$id""#);
    for load in [["--rate", "100"], ["--in-flight", "1"]] {
        let marker = sandbox.path(load[0]);
        let mut command = generator(&["--json", "--warm-up", "10m", "--assert", "errors==0", "--assert", "lost==0"]);
        let command = command.args(load).args(["--", "sh", "-c", &script]).arg(&marker);
        let generator = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("the tenth call", || marker.exists());
        assert!(Command::new("kill").args(["-INT", &generator.id().to_string()]).status().unwrap().success());
        let output = generator.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(69), &b""[..]), "{said}");
        assert!(said.contains("before anything was measured") && said.contains("--warm-up"), "{said}");
    }
}

#[test]
fn nothing_that_was_asserted_holds_of_a_server_that_ended_in_the_warm_up() {
    let script = fake(r#"if [ $n = 20 ]; then exit 3; fi; good "$id""#);
    let args = ["--json", "--rate", "200", "--warm-up", "10m", "--assert", "errors==0", "--", "sh", "-c", &script];
    let ran = run(&mut generator(&args));
    let report = ran.report();
    assert_eq!((ran.code, &report["sent"], &report["asserts"][0]["holds"]), (2, &0.into(), &false.into()), "{report}");
    assert!(ran.stderr.contains("exit status: 3") && ran.stderr.contains("DOES NOT HOLD"), "{}", ran.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_a_closed_pipe_is_not() {
    let script = fake(r#"good "$id""#);
    let args = ["--in-flight", "1", "--duration", "100ms", "--warm-up", "0s", "--", "sh", "-c", &script];
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    for (stdout, part) in [(Stdio::from(full), "standard output"), (Stdio::from(closed), "")] {
        let mut command = generator(&args);
        let output = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(74), "{said}");
        assert!(said.contains(part) && said.is_empty() == part.is_empty(), "{said}");
    }
}

#[test]
fn help_shows_examples_and_exit_codes() {
    let help = run(&mut generator(&["--help"]));
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    for part in ["--rate", "--in-flight", "--warm-up", "--drain", "Examples", "Exit codes", "server-filesystem"] {
        assert!(help.stdout.contains(part), "{part} is not in {}", help.stdout);
    }
    assert!(help.stdout.lines().all(|line| line.chars().count() <= 100), "{}", help.stdout);
}
