//! Fault drills from outside: what they print, that they tell a good server from a broken one, and how they end.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{SERVER, Sandbox};

/// One of the quickest.
const DRILL: &str = "D25";

fn drill(args: &[&str]) -> Command {
    let mut command = Command::new(SERVER);
    for (name, _) in std::env::vars() {
        if name.starts_with("NURONES_") || ["FS_ALLOWLIST", "CONTEXT_ENGINE", "RUST_LOG"].contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command.arg("drill").args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    drill(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The one JSON object on standard output.
fn line(output: &Output) -> Value {
    let stdout = text(&output.stdout);
    assert_eq!(stdout.lines().count(), 1, "{stdout}{}", text(&output.stderr));
    serde_json::from_str(stdout).unwrap()
}

#[test]
fn every_drill_is_listed_with_what_it_does() {
    let output = run(&["--list"]);
    assert_eq!(output.status.code(), Some(0));
    let ids: Vec<&str> = text(&output.stdout).lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert!(ids.is_sorted() && ids.contains(&DRILL), "{ids:?}");
    assert!(ids.iter().all(|id| id.len() == 3 && id.starts_with('D')), "{ids:?}");
    assert!(text(&output.stdout).lines().all(|line| line.split_whitespace().count() > 5));
}

#[test]
fn a_drill_that_passes_prints_its_figures_beside_their_targets_and_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let output = drill(&[DRILL, "--json"]).env("TMPDIR", temporary.path()).output().unwrap();
    let line = line(&output);
    assert!(text(&output.stdout).starts_with(r#"{"drill":"D25","name":"duplicate-id","verdict":"pass","figures":{"#));
    assert_eq!(output.status.code(), Some(0), "{line}");
    assert_eq!(line["figures"]["second_refused"], 50, "{line}");
    assert_eq!(line["targets"]["second_refused"], "= 50", "{line}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "its folder was not removed");
}

#[test]
fn a_drill_against_its_mutant_has_to_fail() {
    let output = run(&[DRILL, "--json", "--prove"]);
    let line = line(&output);
    assert_eq!((output.status.code(), &line["verdict"]), (Some(0), &"pass".into()), "{line}");
    let trips = &line["mutant"]["trips"];
    let broken: Vec<&Value> = line["broken"].as_array().unwrap().iter().map(|broken| &broken["check"]).collect();
    assert!(broken.contains(&trips), "{line}");
}

#[test]
fn what_was_written_down_and_the_page_are_kept_when_asked_for() {
    let sandbox = Sandbox::new();
    let (kept, page) = (sandbox.path("kept"), sandbox.path("page.html"));
    let output = run(&["duplicate-id", "--keep", kept.to_str().unwrap(), "--html", page.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("PASS D25 duplicate-id"), "{}", text(&output.stdout));
    assert!(kept.join("D25/supervision.jsonl").is_file());
    assert!(std::fs::read_to_string(page).unwrap().contains("1 of 1 passed"));
}

#[test]
fn a_tool_of_ones_own_takes_part() {
    let sandbox = Sandbox::new();
    sandbox.write("data/note.txt", "x");
    let data = sandbox.data();
    let args =
        ["stdin-eof", "--tool", "fs.read", "--args", r#"{"path":"note.txt"}"#, "--allow", data.to_str().unwrap()];
    let output = run(&args);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("your tool is the target"), "{}", text(&output.stdout));
}

#[test]
fn wrong_words_are_a_usage_error_that_says_what_to_do() {
    for (args, part) in [
        (&["D99"][..], "there is no drill D99; see `nurones-mcp drill --list`"),
        (&[], "--list"),
        (&[DRILL, "--tool", "fs.read", "--args", "7"], "JSON object"),
        (&[DRILL, "--keep", "/"], "name another with --keep"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(text(&output.stderr).contains(part), "{args:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}
