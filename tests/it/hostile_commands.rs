//! Commands that do what they must not. Unlike a warm tool, a command can be any core module, so these are written as
//! no compiler would write them.

use serde_json::json;

use crate::guests::small;
use crate::odd_files::release_fifo;
use crate::process::eventually;
use crate::support::{Sandbox, text};
use crate::wat_guests::{command, command_starting_with, on_path, open, printing};

/// Commands that hurt: name, text, code.
fn hostile_commands() -> Vec<(&'static str, String, &'static str)> {
    let forever = |body: &str| command(&format!("(loop $again {body} (br $again))"));
    let grow = |what: &str| format!("(loop $again (br_if $again (i32.ne (i32.const -1) ({what}))) unreachable)");
    let hour = "(i32.store (i32.const 72) (i32.const 1)) (i64.store (i32.const 80) (i64.const 3600000000000))
        (drop (call $poll_oneoff (i32.const 56) (i32.const 512) (i32.const 1) (i32.const 12)))";
    vec![
        ("spins", forever(""), "deadline_exceeded"),
        ("starts_with_a_loop", command_starting_with("(loop $again (br $again))"), "deadline_exceeded"),
        ("sleeps", command(hour), "deadline_exceeded"),
        (
            "asks_for_nothing_for_ever",
            forever("(drop (call $random_get (i32.const 0) (i32.const 0)))"),
            "deadline_exceeded",
        ),
        ("recurses", command("(call $recurse)"), "tool_trapped"),
        ("recurses_at_start", command_starting_with("(call $recurse)"), "tool_trapped"),
        ("traps", command("unreachable"), "tool_trapped"),
        ("traps_at_start", command_starting_with("unreachable"), "tool_trapped"),
        ("reads_out_of_bounds", command("(drop (i32.load (i32.const -8)))"), "tool_trapped"),
        ("divides_by_zero", command("(drop (i32.div_u (i32.const 1) (i32.const 0)))"), "tool_trapped"),
        ("grows_its_memory", command(&grow("memory.grow (i32.const 16)")), "memory_limit"),
        ("grows_its_table", command(&grow("table.grow $table (ref.null func) (i32.const 1000)")), "memory_limit"),
        ("wants_all_memory_at_once", command(&grow("memory.grow (i32.const 60000)")), "memory_limit"),
        ("exits_with_3", command("(call $proc_exit (i32.const 3))"), "exit_code"),
        ("exits_with_200", command("(call $proc_exit (i32.const 200))"), "exit_code"),
        ("exits_with_minus_1", command("(call $proc_exit (i32.const -1))"), "exit_code"),
        ("exits_at_start", command_starting_with("(call $proc_exit (i32.const 9))"), "exit_code"),
        ("prints_for_ever", forever("(call $print (i32.const 0) (i32.const 65536))"), "output_limit"),
        ("prints_tiny_bits_for_ever", forever("(call $print (i32.const 0) (i32.const 1))"), "output_limit"),
    ]
}

#[test]
fn every_hostile_command_is_answered_and_the_next_call_works() {
    let sandbox = Sandbox::new();
    for (name, wat, _) in hostile_commands() {
        sandbox.wat_tool(name, &wat, small());
    }
    sandbox.prebuilt_tool("bystander", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    for _ in 0..2 {
        for (name, _, code) in hostile_commands() {
            let (met, said) = client.call_fault(name, json!({}));
            assert_eq!(met, code, "{name}: {said}");
            client.assert_echoes("bystander");
        }
    }
}

#[test]
fn hostile_commands_leave_no_descriptor_and_no_memory_behind() {
    let sandbox = Sandbox::new();
    for (name, wat, _) in hostile_commands() {
        sandbox.wat_tool(name, &wat, small());
    }
    let mut client = sandbox.server().start_session();
    let mut round = || {
        for (name, _, _) in hostile_commands() {
            client.call_fault(name, json!({}));
        }
        client.call("fs_read", json!({"path": "x"}));
        (client.descriptors(), client.resident_kib())
    };
    round();
    let (descriptors, resident) = round();
    let after = (0..3).map(|_| round()).last().unwrap();
    assert_eq!(after.0, descriptors);
    assert!(after.1 < resident + 24_000, "{resident} KiB became {} KiB", after.1);
}

#[test]
fn the_exit_code_of_a_command_is_told() {
    let sandbox = Sandbox::new();
    for code in [0, 3, 125, 200] {
        let wat = printing("said", &format!("(call $proc_exit (i32.const {code}))"));
        sandbox.wat_tool(&format!("exits_{code}"), &wat, json!({}));
    }
    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_text("exits_0", json!({})), "said", "0 is no failure");
    for code in ["3", "125"] {
        let answer = client.call(&format!("exits_{code}"), json!({}));
        assert_eq!(answer["result"]["_meta"]["io.nurones/fault"]["exitCode"], code, "{answer}");
    }
    assert_eq!(client.call_fault("exits_200", json!({})).0, "exit_code");
}

#[test]
fn a_command_that_copes_with_less_memory_than_it_asked_for_works() {
    let sandbox = Sandbox::new();
    let polite =
        "(drop (memory.grow (i32.const 60000))) (drop (table.grow $table (ref.null func) (i32.const 1000000)))";
    sandbox.wat_tool("polite", &printing("fine", polite), small());
    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_text("polite", json!({})), "fine");
}

#[test]
fn a_command_that_opens_files_without_end_leaves_ours() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "x");
    let turns = format!(
        "(block (result i32) (loop $again (local.set $e (i32.add (local.get $e) (i32.const 1))) (drop {})
           (br_if $again (i32.lt_u (local.get $e) (i32.const 100000)))) (i32.const 7))",
        open(0, 2)
    );
    let wat = on_path(&turns).replace("(local $n i32)", "(local $n i32) (local $e i32)");
    sandbox.wat_tool("opener", &wat, json!({"permissions": ["read"]}));
    sandbox.wat_tool("modest", &on_path(&open(0, 2)), json!({"permissions": ["read"]}));
    let mut client = sandbox.server().start_session();
    let mut before = 0;
    for round in 0..3 {
        // Whether it stops at the limit or goes on with errors is its own affair.
        let answer = client.call("opener", json!({"path": "a.txt"}));
        assert!(answer["result"].is_object(), "{answer}");
        assert_eq!(client.call_text("modest", json!({"path": "a.txt"})), "000");
        // The first call of each module opens what its later ones share.
        before = if round == 0 { client.settled_descriptors() } else { before };
    }
    eventually("descriptors come back", || client.descriptors() == before);
}

#[test]
fn a_flood_on_standard_error_is_cut_and_harms_nothing() {
    let sandbox = Sandbox::new();
    let flood = "(local $i i32) (loop $again (call $print_to (i32.const 2) (i32.const 2048) (i32.const 60000))
        (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2000))))
        (call $print_number (i32.const 42))";
    sandbox.wat_tool("flood", &command(flood), json!({}));
    let mut server = sandbox.server();
    let mut client = server.env("NURONES_LOG", "guest=debug").start_session();
    for _ in 0..3 {
        assert_eq!(client.call_text("flood", json!({})), "042");
    }
    assert!(client.resident_kib() < 200_000, "120 MB were printed three times, none of it is kept");
    // NUL characters, escaped as \u{0}, and no more of them than the limit.
    eventually("the beginning is kept", || client.stderr().matches("stderr:").count() == 3);
    assert!(client.stderr().len() < 3 * (16 << 10) * 6 + 4096);
}

#[test]
fn a_command_stuck_in_opening_a_pipe_is_answered_and_the_next_call_works() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.fifo("data/fifo");
    sandbox.write("data/a.txt", "x");
    sandbox.wat_tool("raw", &on_path(&open(0, 2)), small());
    sandbox.wat_tool("raw_write", &on_path(&open(0, 64)), small());
    let mut client = sandbox.server().start_session();
    for tool in ["raw", "raw_write"] {
        assert_eq!(client.call_text(tool, json!({"path": "a.txt"})), "000");
    }
    let before = client.settled_descriptors();
    assert_eq!(client.call_fault("raw", json!({"path": "fifo"})).0, "deadline_exceeded");
    assert_eq!(client.call_text("raw", json!({"path": "a.txt"})), "000");
    assert_eq!(client.call_text("raw_write", json!({"path": "a.txt"})), "000");
    release_fifo(&fifo);
    eventually("the stuck thread comes back", || client.descriptors() <= before);
    assert_eq!(text(&client.call("raw", json!({"path": "a.txt"}))), "000");
}

#[test]
fn a_deadline_may_be_tried_again_when_the_tool_only_reads() {
    let sandbox = Sandbox::new();
    let loops = command("(loop $again (br $again))");
    for (name, permissions) in [("reads", vec!["read"]), ("writes", vec!["read", "write"])] {
        sandbox.wat_tool(name, &loops, json!({"permissions": permissions, "deadline_ms": 100}));
    }
    let mut client = sandbox.server().start_session();
    let mut retryable = |tool: &str| {
        let answer = client.call(tool, json!({}));
        answer["result"]["_meta"]["io.nurones/fault"]["retryable"].clone()
    };
    assert_eq!((retryable("reads"), retryable("writes")), (json!(true), json!(false)));
}
