//! Guests as WebAssembly text, for what no well-meaning compiler would produce.

use std::fmt::Write;

/// The WASI p1 functions that the guests use: name, parameters, and whether they return an error number.
const WASI: &[(&str, &str, bool)] = &[
    ("proc_exit", "i32", false),
    ("fd_read", "i32 i32 i32 i32", true),
    ("fd_write", "i32 i32 i32 i32", true),
    ("fd_prestat_get", "i32 i32", true),
    ("args_sizes_get", "i32 i32", true),
    ("environ_sizes_get", "i32 i32", true),
    ("environ_get", "i32 i32", true),
    ("random_get", "i32 i32", true),
    ("poll_oneoff", "i32 i32 i32 i32", true),
    ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32", true),
    ("path_create_directory", "i32 i32 i32", true),
    ("path_remove_directory", "i32 i32 i32", true),
    ("path_unlink_file", "i32 i32 i32", true),
    ("path_rename", "i32 i32 i32 i32 i32 i32", true),
    ("path_link", "i32 i32 i32 i32 i32 i32 i32", true),
    ("path_symlink", "i32 i32 i32 i32 i32", true),
    ("path_filestat_set_times", "i32 i32 i32 i32 i64 i64 i32", true),
];

/// A command whose `_start` is `body`. Memory below 1024 is for `$print` and the like.
pub fn command(body: &str) -> String {
    module(body, "")
}

/// A command whose start function, which runs before `_start` can, is `body`.
pub fn command_starting_with(body: &str) -> String {
    module("", &format!("(func $first {body}) (start $first)"))
}

/// A command that prints `text`, then does `rest`.
pub fn printing(text: &str, rest: &str) -> String {
    let escaped = text.bytes().fold(String::new(), |mut escaped, byte| {
        let _ = write!(escaped, "\\{byte:02x}");
        escaped
    });
    let data = format!("(data (i32.const 1024) \"{escaped}\")");
    module(&format!("(call $print (i32.const 1024) (i32.const {})) {rest}", text.len()), &data)
}

/// A command that takes `{"path":…}`, calls one WASI function and prints the error number it got, as three digits.
/// In `call`, `PATH` stands for the address and length of the path, and `$d` is the first granted directory.
pub fn on_path(call: &str) -> String {
    let call = call.replace("PATH", "(i32.const 1033) (local.get $n)");
    let body = format!(
        "(local $n i32) (local $d i32) (local.set $d (i32.const 3))
         (local.set $n (i32.sub (call $arguments) (i32.const 11))) (call $print_number {call})"
    );
    // Some calls need a second name; this is it.
    module(&body, r#"(data (i32.const 512) "new")"#)
}

/// A call for [`on_path`]: opens the path with these `oflags` and rights.
pub fn open(oflags: u32, rights: u64) -> String {
    format!(
        "(call $path_open (local.get $d) (i32.const 1) PATH (i32.const {oflags}) (i64.const {rights}) (i64.const 0)
           (i32.const 0) (i32.const 16))"
    )
}

fn module(body: &str, more: &str) -> String {
    let imports = WASI.iter().fold(String::new(), |mut imports, (name, parameters, returns)| {
        let result = if *returns { "(result i32)" } else { "" };
        let _ = writeln!(
            imports,
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param {parameters}) {result}))"
        );
        imports
    });
    format!(
        r#"(module
            {imports}
            (memory (export "memory") 4)
            (table $table 1 funcref)
            (func $print_to (param $fd i32) (param $from i32) (param $bytes i32)
                (i32.store (i32.const 0) (local.get $from))
                (i32.store (i32.const 4) (local.get $bytes))
                (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
            (func $print (param $from i32) (param $bytes i32)
                (call $print_to (i32.const 1) (local.get $from) (local.get $bytes)))
            (func $arguments (result i32)
                (i32.store (i32.const 0) (i32.const 1024))
                (i32.store (i32.const 4) (i32.const 60000))
                (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (i32.load (i32.const 8)))
            (func $digit (param $at i32) (param $number i32)
                (i32.store8 (local.get $at)
                    (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10)))))
            (func $print_number (param $number i32)
                (call $digit (i32.const 32) (i32.div_u (local.get $number) (i32.const 100)))
                (call $digit (i32.const 33) (i32.div_u (local.get $number) (i32.const 10)))
                (call $digit (i32.const 34) (local.get $number))
                (call $print (i32.const 32) (i32.const 3)))
            (func $recurse (call $recurse))
            {more}
            (func (export "_start") {body}))"#
    )
}

/// The types of `tools/wit/tool.wit` that its functions use, each after those it is made of.
const TYPES: &[(&str, &str)] = &[
    ("hints", r#"(flags "read-only" "destructive" "idempotent" "open-world")"#),
    ("description", r#"(record (field "text" string) (field "input-schema" string) (field "hints" $hints))"#),
    ("blob", r#"(record (field "data" (list u8)) (field "mime-type" string))"#),
    ("content", r#"(variant (case "text" string) (case "blob" $blob))"#),
    ("completion", r#"(record (field "content" (list $content)) (field "structured" (option string)))"#),
    ("input-request", r#"(record (field "key" string) (field "method" string) (field "params" string))"#),
    ("input-required", r#"(record (field "requests" (list $input-request)) (field "state" (option (list u8))))"#),
    ("resume", r#"(record (field "responses" (list (tuple string string))) (field "state" (option (list u8))))"#),
    ("outcome", r#"(variant (case "complete" $completion) (case "input-required" $input-required))"#),
    ("error-code", r#"(enum "invalid-arguments" "not-found" "permission-denied" "output-limit" "failed")"#),
    ("tool-error", r#"(record (field "code" $error-code) (field "message" string))"#),
];

/// A component of our world. Its `describe` does `describing` and then answers with `schema`; its `call` does `calling`
/// and then answers with no content; `more` is put into its core module.
pub fn tool_component(schema: &str, describing: &str, calling: &str, more: &str) -> String {
    let (mut declared, mut aliases) = (String::new(), String::new());
    for (name, definition) in TYPES {
        let _ =
            writeln!(declared, "(type ${name}-made {definition}) (export \"{name}\" (type ${name} (eq ${name}-made)))");
        let _ = writeln!(aliases, "(alias export $types \"{name}\" (type ${name}))");
    }
    let (escaped, bytes) = (schema.replace('"', "\\22"), schema.len());
    format!(
        r#"(component
            (import "nurones:tool/types@0.1.0" (instance $types {declared}))
            {aliases}
            (core module $m
                (memory (export "memory") 1)
                (data (i32.const 1024) "{escaped}")
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
                (func (export "describe") (result i32)
                    {describing}
                    (i32.store (i32.const 8) (i32.const 1024))
                    (i32.store (i32.const 12) (i32.const {bytes}))
                    (i32.const 0))
                (func (export "call") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                    {calling}
                    (i32.const 256))
                {more})
            (core instance $i (instantiate $m))
            (alias core export $i "memory" (core memory $memory))
            (alias core export $i "realloc" (core func $realloc))
            (func $describe (result $description) (canon lift (core func $i "describe") (memory $memory)))
            (export "describe" (func $describe))
            (func $call (param "arguments" string) (param "context" string) (param "resume" (option $resume))
                (result (result $outcome (error $tool-error)))
                (canon lift (core func $i "call") (memory $memory) (realloc $realloc)))
            (export "call" (func $call)))"#
    )
}
