//! What a guest can see of the world outside, as JSON.

use std::fmt::Write;

use serde_json::{Value, json};
use wasip2::cli::environment;
use wasip2::filesystem::preopens::get_directories;
use wasip2::random::random::get_random_bytes;

use crate::bindings::nurones::tool::context;

/// Variables, arguments and granted directories: what the host let through.
pub fn inherited() -> String {
    let directories: Vec<String> = get_directories().into_iter().map(|(_, name)| name).collect();
    json!({
        "env": environment::get_environment(),
        "args": environment::get_arguments(),
        "cwd": environment::initial_cwd(),
        "preopens": directories,
    })
    .to_string()
}

/// The ContextFrame, typed, and whether any time is left.
pub fn frame() -> String {
    let frame = context::current();
    let budgets = frame.budgets;
    json!({
        "tenant_id": frame.tenant_id,
        "reason_trace_id": frame.reason_trace_id,
        "stage": format!("{:?}", frame.stage),
        "risk_level": frame.risk_level,
        "read_only": frame.read_only,
        "allow_autotune": frame.allow_autotune,
        "budgets": {
            "cpu_ms": budgets.cpu_ms,
            "mem_mb": budgets.mem_mb,
            "deadline_ms": budgets.deadline_ms,
            "rps": budgets.calls_per_s,
            "cpu_ms_per_min": budgets.cpu_ms_per_min,
        },
        "time_left_ms": context::time_left_ms(),
    })
    .to_string()
}

/// So many random bytes, in hexadecimal.
pub fn random(bytes: u64) -> String {
    get_random_bytes(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The client's answers and the state that came back.
pub fn resumed(responses: Vec<(String, String)>, state: Option<Vec<u8>>) -> String {
    let responses: serde_json::Map<String, Value> = responses
        .into_iter()
        .map(|(key, answer)| {
            let answer = serde_json::from_str(&answer).unwrap_or(Value::String(answer));
            (key, answer)
        })
        .collect();
    let state = state.map(|state| String::from_utf8_lossy(&state).into_owned());
    json!({ "responses": responses, "state": state }).to_string()
}
