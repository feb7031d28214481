//! What the load generator can be asked to do: ramps, steps, mixes with arguments filled in, several connections, both
//! eras, and what it says about a command line that it cannot follow.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::load::{against, fake, generator, run};
use crate::support::Sandbox;

fn numbers(values: &Value, key: &str) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value[key].as_f64().unwrap()).collect()
}

#[test]
fn a_ramp_makes_its_integral_and_is_reported_in_ten_parts() {
    let ran = against(r#"good "$id""#, &["--ramp", "100..300"]);
    let report = ran.report();
    assert_eq!((ran.code, &report["sent"], &report["answered"]), (0, &100.into(), &100.into()), "{report}");
    let offered = numbers(&report["steps"], "offered");
    assert_eq!(offered.len(), 10, "{report}");
    assert!((offered.iter().sum::<f64>() * 0.05 - 100.0).abs() < 1e-6, "{offered:?}");
    assert!(offered.is_sorted() && offered[0] < offered[9], "{offered:?}");
    assert_eq!(numbers(&report["steps"], "goodput"), offered, "all were answered");
}

#[test]
fn every_step_has_a_row() {
    let ran = against(r#"[ $n = 30 ] && error "$id" -31503 full || good "$id""#, &["--steps", "100,300"]);
    let report = ran.report();
    assert_eq!(numbers(&report["steps"], "offered"), [100.0, 300.0], "{report}");
    assert_eq!(numbers(&report["steps"], "shed"), [0.0, 1.0], "{report}");
    assert_eq!(numbers(&report["steps"], "lost"), [0.0, 0.0], "{report}");
    let counts = ["sent", "good", "shed"].map(|key| report[key].as_u64().unwrap());
    assert_eq!((counts, report["shed_latency_us"]["p99"].is_f64()), ([100, 99, 1], true), "{report}");
    let series = &report["series"];
    assert!(!series.as_array().unwrap().is_empty(), "{report}");
    for key in ["t_s", "offered", "good", "shed", "errors"] {
        assert!(series[0][key].is_f64(), "{key} in {series}");
    }
}

#[test]
fn a_table_shows_steps_and_calls() {
    let script = fake(r#"good "$id""#);
    let args = ["--steps", "100,200", "--duration", "200ms", "--warm-up", "0s", "--call", "2*one", "--call", "two"];
    let ran = run(generator(&args).args(["--", "sh", "-c", &script]));
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    for part in ["2*one + two, open loop", "offered/s", "0.1 to 0.2 ", "weight"] {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
}

/// The requests that a server in shell wrote down, after what comes before the first call.
fn calls_of(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|request| request["method"] == "tools/call").collect()
}

#[test]
fn a_mix_makes_each_call_by_its_weight_with_its_arguments_filled_in() {
    let sandbox = Sandbox::new();
    let heard = sandbox.path("heard");
    let files = sandbox.path("list");
    std::fs::write(&files, "a.txt\nb \"c\".txt\n").unwrap();
    let script = fake(r#"printf '%s\n' "$line" >> "$0"; good "$id""#);
    let one = r#"3*one {"n":{{i}},"path":"{{file}}","few":{{i%10}},"any":{{random 5}}}"#;
    let mut command = generator(&["--json", "--rate", "200", "--duration", "500ms", "--warm-up", "0s"]);
    command.args(["--call", one, "--call", "two", "--files"]).arg(&files);
    let ran = run(command.args(["--", "sh", "-c", &script]).arg(&heard));
    let report = ran.report();
    assert_eq!((ran.code, &report["tool"]), (0, &"3*one + two".into()), "{report}\n{}", ran.stderr);
    assert_eq!(numbers(&report["calls"], "good"), [75.0, 25.0], "{report}");

    let heard = calls_of(&std::fs::read_to_string(heard).unwrap());
    let (trials, calls) = heard.split_at(2);
    assert_eq!(trials[0]["params"]["arguments"]["n"], 0, "each is tried once, with the number 0");
    assert_eq!(trials[1]["params"]["name"], "two");
    let of = |name: &str| calls.iter().filter(|call| call["params"]["name"] == name).count();
    assert_eq!((of("one"), of("two")), (75, 25));
    let mut seen = BTreeSet::new();
    for arguments in calls.iter().map(|call| &call["params"]["arguments"]).filter(|arguments| arguments["n"].is_u64()) {
        let number = arguments["n"].as_u64().unwrap();
        assert!((1..=100).contains(&number) && seen.insert(number), "{arguments}");
        assert_eq!(arguments["few"], number % 10, "{arguments}");
        assert_eq!(arguments["path"], ["a.txt", "b \"c\".txt"][number as usize % 2], "{arguments}");
        assert!(arguments["any"].as_u64().unwrap() < 5, "{arguments}");
    }
    assert_eq!(seen.len(), 75);
}

#[test]
fn every_connection_has_a_server_of_its_own_and_they_share_the_load() {
    for load in [["--rate", "200"], ["--in-flight", "4"]] {
        let sandbox = Sandbox::new();
        let marks = sandbox.path("mark");
        let script = fake(r#": > "$0.$$"; good "$id""#);
        let mut command = generator(&["--json", "--duration", "500ms", "--warm-up", "0s", "--connections", "3"]);
        let ran = run(command.args(load).args(["--", "sh", "-c", &script]).arg(&marks));
        let report = ran.report();
        assert_eq!((ran.code, &report["connections"]), (0, &3.into()), "{report}\n{}", ran.stderr);
        assert_eq!(report["sent"], report["answered"], "{report}");
        if load[0] == "--rate" {
            assert_eq!(report["sent"], 100, "{report}");
        }
        let folder = marks.parent().unwrap();
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.starts_with("mark.")).count(), 3);
    }
}

#[test]
fn one_server_of_several_that_dies_is_told_by_its_number() {
    let sandbox = Sandbox::new();
    // Whoever makes the folder first is the one that dies.
    let script = fake(r#"if [ $n = 5 ] && mkdir "$0" 2>/dev/null; then echo gone >&2; exit 4; fi; good "$id""#);
    let mut command =
        generator(&["--json", "--rate", "200", "--duration", "10m", "--warm-up", "0s", "--connections", "2"]);
    let ran = run(command.args(["--drain", "5s", "--", "sh", "-c", &script]).arg(sandbox.path("first")));
    let report = ran.report();
    let why = report["ended_early"].as_str().unwrap();
    assert!(why.starts_with("connection ") && why.contains("exit status: 4") && why.contains("gone"), "{why}");
    assert_eq!(ran.code, 1, "{report}");
}

#[test]
fn both_eras_are_spoken() {
    for (version, says_hello) in [("2025-11-25", true), ("2026-07-28", false)] {
        let args = ["--json", "--rate", "200", "--duration", "300ms", "--warm-up", "0s", "--protocol", version];
        let ran = run(&mut generator(&args));
        let report = ran.report();
        assert_eq!((ran.code, &report["protocol"], &report["errors"]), (0, &version.into(), &0.into()), "{report}");
        assert_eq!((&report["sent"], &report["good"]), (&60.into(), &60.into()), "{report}");

        let sandbox = Sandbox::new();
        let heard = sandbox.path("heard");
        let script =
            fake(r#"good "$id""#).replace("case $line in\n", "printf '%s\\n' \"$line\" >> \"$0\"; case $line in\n");
        let ran = run(generator(&args).args(["--", "sh", "-c", &script]).arg(&heard));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let heard = std::fs::read_to_string(heard).unwrap();
        assert_eq!(heard.contains(r#""method":"initialize""#), says_hello, "{heard}");
        for call in calls_of(&heard) {
            let said = call["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str();
            assert_eq!(said, (!says_hello).then_some(version), "{call}");
        }
    }
}

#[test]
fn the_version_that_the_server_agreed_to_is_told() {
    for (answer, told) in [(r#""protocolVersion":"2024-11-05","#, Value::from("2024-11-05")), ("", Value::Null)] {
        let script = fake(r#"good "$id""#).replace(r#""protocolVersion":"2025-06-18","#, answer);
        let args = ["--json", "--in-flight", "1", "--duration", "100ms", "--warm-up", "0s"];
        let ran = run(generator(&args).args(["--", "sh", "-c", &script]));
        assert_eq!((ran.code, &ran.report()["protocol"]), (0, &told), "{}\n{}", ran.stdout, ran.stderr);
    }
}

/// A list of files, as good as any.
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

#[test]
fn what_cannot_be_followed_ends_with_64_and_says_what_to_write() {
    for (args, part) in [
        (&["--ramp", "1k"][..], "1k..50k"),
        (&["--ramp", "0..10"], "above 0"),
        (&["--ramp", "1..2", "--rate", "5"], "--rate"),
        (&["--steps", "1,x"], "1k,2k,5k"),
        (&["--steps", "1,2", "--in-flight", "5"], "--in-flight"),
        (&["--rate", "fast"], "500 or 10k"),
        (&["--connections", "0"], "1 to 64"),
        (&["--connections", "3", "--in-flight", "2"], "idle"),
        (&["--protocol", "2020-01-01"], "2025-11-25"),
        (&["--args", r#"{"path":"{{fiel}}"}"#], "{{file}}"),
        (&["--args", r#"{"path":"{{file}}"}"#], "--files"),
        (&["--files", "/no/such/list"], "one path per line"),
        (&["--files", FILES], "{{file}}"),
        (&["--files", FILES, "--compare", "a=cat", "--compare", "b=cat", "--call", "one"], "{{file}}"),
        (&["--compare", "a=cat", "--compare", "b=cat", "--call", "a: one"], "--call 'b: "),
        (&["--call", "x*one"], "weight"),
        (&["--call", "one {"], "is not JSON"),
        (&["--call", "one", "--tool", "two"], "--tool"),
        (&["--call", "ours: one"], "--compare"),
        (&["--assert", "p99<5"], "ms, us"),
        (&["--assert", "speed>5"], "p99.9"),
        (&["--assert", "ratio>5"], "--compare"),
        (&["--compare", "a=cat"], "two servers"),
        (&["--compare", "a=cat", "--compare", "a=cat"], "different names"),
        (&["--compare", "a", "--compare", "b=cat"], "ours=nurones-mcp"),
        (&["--compare", "a=", "--compare", "b=cat"], "no command"),
        (&["--compare", "a='cat", "--compare", "b=cat"], "not closed"),
        (&["--compare", "a=cat", "--compare", "b=cat", "--", "cat"], "--compare"),
        (&["--compare", "a=cat", "--compare", "b=cat", "--rounds", "0"], "--rounds"),
        (&["--compare", "a=cat", "--compare", "b=cat", "--assert", "c.p99<1s"], "name a server of --compare"),
        (&["--rounds", "2"], "--compare"),
        (&["--html", "/no/such/folder/page.html"], "--html"),
    ] {
        let ran = run(&mut generator(args));
        assert_eq!((ran.code, ran.stdout.as_str()), (64, ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{args:?}: {part} is not in: {}", ran.stderr);
    }
}
