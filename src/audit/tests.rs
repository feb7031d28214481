//! Every rule has a log that breaks exactly that rule, made from one that is sound.

use std::path::Path;

use serde_json::{Value, json};

use super::rules::{Checker, check};
use super::verdict::Verdict;
use super::{history, svg, timeline};

const WORKER: &str = "root/tools/t/w0";
const TOOL: &str = "root/tools/t";

/// Numbers the lines and fills in what all have.
fn numbered(lines: Vec<Value>) -> Vec<Value> {
    let number = |(seq, line): (usize, Value)| {
        let mut whole =
            json!({"v": 1, "seq": seq, "boot": "b", "ts": "2026-01-02T03:04:05Z", "mono_us": seq * 1_000_000});
        whole.as_object_mut().unwrap().extend(line.as_object().unwrap().clone());
        whole
    };
    lines.into_iter().enumerate().map(number).collect()
}

/// One boot in which everything happens that can, without their numbers.
fn eventful() -> Vec<Value> {
    let reason = json!({"kind": "host_panic", "msg": "boom"});
    let restart = |ms: u64| json!({"what": "worker", "window": "1/5@10s", "backoff_ms": ms});
    let exit = |incarnation: u64| {
        json!({"event": "child_exited", "path": WORKER, "incarnation": incarnation, "reason": reason, "level": "L2",
               "uptime_ms": 900, "queue_depth": 2, "inflight": {"answered": 1}})
    };
    let back = |incarnation: u64, down: u64| json!({"event": "restart_ok", "path": WORKER, "incarnation": incarnation, "downtime_us": down});
    let control = |event: &str| json!({"event": event, "path": "root/context", "level": "L3"});
    let with = |mut line: Value, more: Value| {
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    let phase = |phase: &str| json!({"event": "shutdown_phase", "path": "root", "phase": phase});
    vec![
        json!({"event": "boot", "path": "root", "server": {"version": "0.1.0", "tools": ["t"]}}),
        with(control("child_started"), json!({"incarnation": 0})),
        json!({"event": "child_started", "path": WORKER, "incarnation": 0}),
        json!({"event": "call_faulted", "path": WORKER, "level": "L1", "count": 12, "reason": {"kind": "tool_trapped",
               "code": "Unreachable", "msg": "a \u{1b}[31m<b>trap</b>"}, "restart": {"what": "store", "took_us": 31}}),
        exit(0),
        json!({"event": "restart_scheduled", "path": WORKER, "restart": restart(50)}),
        back(1, 50_000),
        exit(1),
        json!({"event": "quarantined", "path": WORKER, "restart": restart(1000)}),
        json!({"event": "probe", "path": WORKER}),
        exit(2),
        json!({"event": "quarantined", "path": WORKER, "restart": restart(2000)}),
        json!({"event": "probe", "path": WORKER}),
        back(3, 2_000_000),
        json!({"event": "readmitted", "path": TOOL}),
        json!({"event": "breaker_open", "path": TOOL, "restart": restart(5000), "count": 20, "reason": reason}),
        json!({"event": "breaker_half_open", "path": TOOL}),
        json!({"event": "breaker_closed", "path": TOOL}),
        json!({"event": "worker_abandoned", "path": WORKER, "count": 1}),
        with(control("child_exited"), json!({"incarnation": 0, "reason": {"kind": "killed"}})),
        control("escalated"),
        phase("drain"),
        phase("interrupt"),
        phase("stop"),
        exit(3),
        json!({"event": "child_stopped", "path": WORKER, "incarnation": 3, "reason": {"kind": "graceful"}}),
        json!({"event": "stopped", "path": "root", "count": 0}),
    ]
}

fn judged(lines: &[Value]) -> Verdict {
    let mut checker = Checker::new();
    for line in lines {
        checker.see(&serde_json::from_value(line.clone()).unwrap());
    }
    checker.finish()
}

/// The place of the nth `event` in the eventful boot.
fn at(event: &str, nth: usize) -> usize {
    let places = eventful().into_iter().enumerate().filter(|(_, line)| line["event"] == event).map(|(place, _)| place);
    places.clone().nth(nth).unwrap_or_else(|| panic!("no {event} number {nth}"))
}

/// Asserts that a log of these lines breaks `rule` once and nothing else.
fn assert_breaks(rule: &str, lines: &[Value]) {
    let verdict = judged(lines);
    let rules: Vec<_> = verdict.breaks.iter().map(|found| found.rule).collect();
    assert_eq!(rules, [rule], "{:#?}", verdict.breaks);
}

/// Asserts it of the eventful boot, changed before it is numbered.
fn assert_change_breaks(rule: &str, change: impl FnOnce(&mut Vec<Value>)) {
    let mut lines = eventful();
    change(&mut lines);
    assert_breaks(rule, &numbered(lines));
}

#[test]
fn a_sound_log_breaks_nothing() {
    let verdict = judged(&numbered(eventful()));
    assert!(verdict.is_clean() && verdict.notes.is_empty(), "{verdict:#?}");
    assert_eq!(
        verdict.summary(),
        "27 records, 1 boot, 4 exits, 2 restarts, 2 quarantines, 1 opened breaker, 12 call faults: no rule \
         broken"
    );
    // A live server, or one that was killed: its log ends anywhere, but not before an end that was announced.
    for end in (1..eventful().len()).filter(|end| *end != at("escalated", 0) + 1) {
        let verdict = judged(&numbered(eventful())[..end]);
        assert!(verdict.is_clean() && verdict.notes.len() == 1, "{end}: {verdict:#?}");
    }
}

#[test]
fn numbers_have_no_gap_and_begin_with_a_boot() {
    for lost in 1..eventful().len() - 1 {
        let mut lines = numbered(eventful());
        lines.remove(lost);
        // What was given up may be in the line that is lost; nothing else may be blamed for it.
        assert_breaks("seq", &lines);
    }
    let mut twice = numbered(eventful());
    twice.insert(4, twice[3].clone());
    assert_breaks("seq", &twice);
    assert_breaks("seq", &numbered(eventful())[1..]);
    assert_change_breaks("boot", |lines| {
        lines.remove(0);
    });
    assert_change_breaks("boot", |lines| lines.insert(5, lines[0].clone()));
    let mut back = numbered(eventful());
    back[7]["mono_us"] = json!(3);
    assert_breaks("clock", &back);
}

#[test]
fn nothing_comes_after_the_end() {
    assert_change_breaks("ended", |lines| {
        lines.push(json!({"event": "failpoint", "path": "root", "reason": {"kind": "x"}}));
    });
}

#[test]
fn a_loss_is_a_break() {
    assert_change_breaks("dropped", |lines| {
        lines.insert(3, json!({"event": "log_dropped", "path": "root", "count": 4}));
    });
}

#[test]
fn a_child_starts_once_with_incarnation_0() {
    let again = json!({"event": "child_started", "path": WORKER, "incarnation": 0});
    assert_change_breaks("started", |lines| {
        // In the place of the restart, so that only this is wrong.
        let place = at("restart_ok", 0);
        lines[place] = again.clone();
        // Its later incarnations count from there.
        for line in &mut lines[place + 1..] {
            if let Some(incarnation) = line["incarnation"].as_u64().filter(|_| line["path"] == WORKER) {
                line["incarnation"] = json!(incarnation - 1);
            }
        }
    });
    assert_change_breaks("incarnation", |lines| lines[at("child_started", 0)]["incarnation"] = json!(1));
}

#[test]
fn an_exit_is_followed_by_exactly_one_consequence() {
    // None, and the worker is simply back.
    assert_change_breaks("exit", |lines| {
        let place = at("restart_scheduled", 0);
        lines.splice(place..place + 2, []);
    });
    // None until the end of the boot.
    assert_change_breaks("exit", |lines| {
        lines.remove(at("child_stopped", 0));
    });
    // Two.
    for second in ["restart_scheduled", "quarantined"] {
        let restart = json!({"what": "worker", "backoff_ms": 50});
        assert_change_breaks("consequence", |lines| {
            let place = at(if second == "quarantined" { "quarantined" } else { "restart_scheduled" }, 0);
            lines.insert(place + 1, json!({"event": second, "path": WORKER, "restart": restart}));
        });
    }
    assert_change_breaks("consequence", |lines| {
        lines.insert(2, json!({"event": "escalated", "path": "root/context"}));
        // It never runs again.
        lines.retain(|line| line["path"] != "root/context" || line["event"] != "child_exited");
        lines.remove(lines.iter().rposition(|line| line["event"] == "escalated").unwrap());
    });
}

#[test]
fn only_what_is_up_or_starting_exits() {
    assert_change_breaks("exit", |lines| {
        // Out of quarantine without a probe.
        lines.remove(at("probe", 0));
    });
    assert_change_breaks("incarnation", |lines| lines[at("child_exited", 0)]["incarnation"] = json!(3));
}

#[test]
fn a_worker_that_fails_to_start_exits_again() {
    let mut lines = eventful();
    let (exit, scheduled) = (lines[at("child_exited", 0)].clone(), lines[at("restart_scheduled", 0)].clone());
    lines.splice(at("restart_ok", 0)..at("restart_ok", 0), [exit, scheduled]);
    assert!(judged(&numbered(lines)).is_clean());
}

#[test]
fn a_restart_was_announced_counts_on_and_waited() {
    assert_change_breaks("restart", |lines| {
        // Out of quarantine without a probe.
        lines.remove(at("probe", 1));
    });
    assert_change_breaks("incarnation", |lines| lines[at("restart_ok", 0)]["incarnation"] = json!(0));
    assert_change_breaks("downtime", |lines| lines[at("restart_ok", 0)]["downtime_us"] = json!(49_999));
    assert_change_breaks("downtime", |lines| lines[at("restart_ok", 1)]["downtime_us"] = json!(1_999_999));
}

#[test]
fn a_probe_needs_a_quarantine_and_so_does_readmission() {
    assert_change_breaks("probe", |lines| lines.insert(4, json!({"event": "probe", "path": "root/tools/t/w1"})));
    assert_change_breaks("readmitted", |lines| lines.insert(4, json!({"event": "readmitted", "path": TOOL})));
    assert_change_breaks("readmitted", |lines| before_end(lines, json!({"event": "readmitted", "path": TOOL})));
}

fn before_end(lines: &mut Vec<Value>, line: Value) {
    lines.insert(lines.len() - 1, line);
}

#[test]
fn nothing_follows_a_stop() {
    assert_change_breaks("stopped", |lines| {
        before_end(
            lines,
            json!({"event": "child_stopped", "path": WORKER, "incarnation": 4, "reason": {"kind": "brutal"}}),
        );
    });
}

#[test]
fn a_breaker_goes_from_closed_to_open_to_half_open() {
    assert_change_breaks("breaker", |lines| {
        lines.remove(at("breaker_half_open", 0));
    });
    assert_change_breaks("breaker", |lines| {
        lines.drain(at("breaker_open", 0)..=at("breaker_closed", 0));
        lines.insert(4, json!({"event": "breaker_half_open", "path": TOOL}));
    });
    // A trial that fails opens it again.
    let mut lines = eventful();
    let (open, half) = (lines[at("breaker_open", 0)].clone(), lines[at("breaker_half_open", 0)].clone());
    lines.splice(at("breaker_closed", 0)..at("breaker_closed", 0), [open, half]);
    assert!(judged(&numbered(lines)).is_clean());
}

#[test]
fn who_is_given_up_takes_somebody_along() {
    assert_change_breaks("escalated", |lines| lines.truncate(at("escalated", 0) + 1));
    // Its supervisor went, and was restarted in its turn.
    let killed = json!({"kind": "killed"});
    let lines = vec![
        eventful().remove(0),
        json!({"event": "child_exited", "path": TOOL, "incarnation": 0, "reason": killed}),
        json!({"event": "escalated", "path": TOOL}),
        json!({"event": "child_exited", "path": "root/tools", "incarnation": 0, "reason": killed}),
        json!({"event": "restart_scheduled", "path": "root/tools", "restart": {"what": "actor", "backoff_ms": 0}}),
    ];
    assert!(judged(&numbered(lines)).is_clean());
}

#[test]
fn the_end_has_its_phases_in_order_and_once() {
    let phase = |phase: &str| json!({"event": "shutdown_phase", "path": "root", "phase": phase});
    assert_change_breaks("phase", |lines| before_end(lines, phase("interrupt")));
    assert_change_breaks("phase", |lines| before_end(lines, phase("stop")));
    let mut short = eventful();
    short.remove(at("shutdown_phase", 1));
    assert!(judged(&numbered(short)).is_clean(), "guests that are done need no interrupt");
}

#[test]
fn every_event_carries_what_it_must_and_stands_where_it_belongs() {
    for (event, field) in [
        ("boot", "server"),
        ("child_started", "incarnation"),
        ("call_faulted", "reason"),
        ("call_faulted", "count"),
        ("call_faulted", "level"),
        ("child_exited", "reason"),
        ("restart_scheduled", "restart"),
        ("quarantined", "restart"),
        ("breaker_open", "reason"),
        ("worker_abandoned", "count"),
        ("shutdown_phase", "phase"),
        ("child_stopped", "reason"),
        ("stopped", "count"),
    ] {
        let mut lines = numbered(eventful());
        lines[at(event, 0)].as_object_mut().unwrap().remove(field);
        let rules: Vec<_> = judged(&lines).breaks.iter().map(|found| found.rule).collect();
        assert!(rules.first() == Some(&"field"), "{event} without {field}: {rules:?}");
    }
    assert_change_breaks("field", |lines| lines[at("child_stopped", 0)]["reason"]["kind"] = json!("tired"));
    assert_change_breaks("field", |lines| lines[at("child_exited", 0)]["level"] = json!("L4"));
    assert_change_breaks("path", |lines| lines[at("worker_abandoned", 0)]["path"] = json!(TOOL));
    assert_change_breaks("path", |lines| lines[at("stopped", 0)]["path"] = json!("root/tools"));
    assert_change_breaks("path", |lines| lines[at("readmitted", 0)]["path"] = json!(WORKER));
    assert_change_breaks("version", |lines| lines[at("probe", 0)]["v"] = json!(2));
}

#[test]
fn boots_that_share_a_file_are_kept_apart_and_later_versions_pass() {
    let (one, mut other) = (numbered(eventful()), numbered(eventful()));
    other.iter_mut().for_each(|line| line["boot"] = json!("c"));
    let mut both: Vec<Value> = one.into_iter().zip(other).flat_map(|(one, other)| [one, other]).collect();
    both[5]["added_later"] = json!({"deep": [1, 2]});
    let later =
        json!({"v": 1, "seq": 0, "boot": "d", "ts": "", "mono_us": 0, "event": "boot", "path": "root", "server": {}});
    let mut unknown = later.clone();
    (unknown["seq"], unknown["event"], unknown["path"]) = (json!(1), json!("moon_landed"), json!("moon"));
    both.extend([later, unknown]);
    let verdict = judged(&both);
    assert!(verdict.is_clean() && verdict.counts.boots == 3, "{verdict:#?}");
}

fn write(path: &Path, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_boot_may_begin_in_a_file_that_is_gone_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let lines = numbered(eventful());
    for middle in 1..lines.len() {
        write(&folder.path().join("log.1"), &lines[..middle]);
        write(&path, &lines[middle..]);
        assert!(check(&path).unwrap().is_clean(), "{middle}: two files are one log");
        write(&folder.path().join("log.1"), &lines[middle..]);
        write(&path, &[]);
        let verdict = check(&path).unwrap();
        assert!(verdict.is_clean() && verdict.notes.len() == 1, "{middle}: {verdict:#?}");
        std::fs::remove_file(folder.path().join("log.1")).unwrap();
        write(&path, &lines[middle..]);
        assert_eq!(check(&path).unwrap().breaks[0].rule, "seq", "{middle}: nothing was rotated away");
    }
}

#[test]
fn a_torn_line_is_a_break_in_the_middle_and_a_note_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let lines = numbered(eventful());
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(&path, format!("{}\n{}", text[..5].join("\n"), &text[5][..30])).unwrap();
    let verdict = check(&path).unwrap();
    assert!(verdict.is_clean() && verdict.notes.len() == 2, "{verdict:#?}");
    std::fs::write(&path, format!("{}\n{}\n{}\n", text[..5].join("\n"), &text[5][..30], text[5..].join("\n"))).unwrap();
    let verdict = check(&path).unwrap();
    assert_eq!(verdict.breaks.len(), 1, "{verdict:#?}");
    assert_eq!(verdict.breaks[0].rule, "torn");
    assert_eq!(verdict.breaks[0].place, format!("{}:6", path.display()));
}

/// The eventful boot on disk, as the history of it.
fn eventful_history() -> history::History {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    write(&path, &numbered(eventful()));
    history::gather(&path).unwrap()
}

#[test]
fn the_timeline_tells_what_happened_tool_by_tool() {
    let text = timeline::text(&eventful_history()).replace('\u{1b}', "ESC");
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("timeline", text));
}

#[test]
fn the_picture_is_whole_and_nothing_in_it_is_markup_of_somebody_else() {
    let page = svg::page(&eventful_history());
    assert!(page.contains("&lt;b&gt;trap&lt;/b&gt;") && !page.contains("<b>") && !page.contains('\u{1b}'), "{page}");
    for class in ["up", "down", "backoff", "quarantined", "probing", "breaker", "half", "fault"] {
        assert!(page.contains(&format!("class=\"{class}\"")), "nothing is drawn as {class}");
    }
    assert!(
        !page.contains("http://")
            || page.matches("http://").count() == page.matches("http://www.w3.org/2000/svg").count()
    );
    for tag in ["svg", "text", "title", "p", "h2"] {
        let (open, close) = (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
        assert_eq!(open, close, "{tag}");
    }
}
