//! What an entry says, in a few words.

use super::entry::Entry;

/// The event with its reason, its delay and its counts.
pub fn of(entry: &Entry) -> String {
    let incarnation = entry.incarnation.map_or(String::new(), |incarnation| format!(" #{incarnation}"));
    let count = entry.count.unwrap_or(0);
    match entry.event.as_str() {
        "boot" => entry
            .server
            .as_ref()
            .map_or("boot".to_owned(), |server| format!("boot of {} with {}", server.version, server.tools.join(", "))),
        "child_started" => format!("started{incarnation}"),
        "child_exited" => format!("exited{incarnation}: {}{}", why(entry), life(entry)),
        "restart_scheduled" => format!("restart {}", delay(entry)),
        "quarantined" => format!("quarantined, next try {}", delay(entry)),
        "escalated" => "given up".to_owned(),
        "probe" => "tried once".to_owned(),
        "restart_ok" => {
            let adopted = if entry.adopted { ", its thread lived on" } else { "" };
            let down = entry.downtime_us.map_or(String::new(), |down| format!(" after {}", span(down)));
            format!("back{incarnation}{down}{adopted}")
        }
        "readmitted" => "out of quarantine".to_owned(),
        "child_stopped" => match entry.reason_kind() {
            Some(kind) => format!("stopped{incarnation} ({kind})"),
            None => format!("stopped{incarnation}"),
        },
        "call_faulted" => {
            let took = entry.restart.as_ref().and_then(|restart| restart.took_us);
            let took = took.map_or(String::new(), |took| format!("; Store rebuilt in {}", span(took)));
            format!("{} failed: {}{took}", many(count, "call"), why(entry))
        }
        "breaker_open" => {
            format!("breaker open after {}: {}; next try {}", many(count, "call"), why(entry), delay(entry))
        }
        "breaker_half_open" => "breaker half open".to_owned(),
        "breaker_closed" => "breaker closed".to_owned(),
        "worker_abandoned" => {
            format!("left behind in the system, with {} of its tool there now", many(count, "thread"))
        }
        "tool_refused" => format!("not served: {}", why(entry)),
        "failpoint" => format!("failpoint {}", why(entry)),
        "shutdown_phase" => format!("the end: {}", entry.phase.as_deref().unwrap_or("?")),
        "log_rotated" => "a new file".to_owned(),
        "log_dropped" => format!("{} lost", many(count, "record")),
        "stopped" => format!("stopped, {} left behind", many(count, "thread")),
        other => match &entry.reason {
            Some(_) => format!("{other}: {}", why(entry)),
            None => other.to_owned(),
        },
    }
}

/// `840 µs`, `50.0 ms`, `1.50 s`.
pub fn span(micros: u64) -> String {
    match micros {
        0..1000 => format!("{micros} µs"),
        1000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

/// `1 call`, `2 calls`.
pub fn many(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn why(entry: &Entry) -> String {
    let Some(reason) = &entry.reason else { return "no reason given".to_owned() };
    let code = reason.code.as_ref().map_or(String::new(), |code| format!(" {code}"));
    let msg = if reason.msg.is_empty() { String::new() } else { format!(": {}", reason.msg) };
    format!("{}{code}{msg}", reason.kind)
}

/// How the life was, and what it left.
fn life(entry: &Entry) -> String {
    let up = entry.uptime_ms.map(|up| format!("up {}", span(up.saturating_mul(1000))));
    let answered = entry.inflight.as_ref().filter(|calls| calls.answered > 0);
    let answered = answered.map(|calls| format!("{} answered with a fault", many(calls.answered, "call")));
    let waiting = entry.queue_depth.filter(|waiting| *waiting > 0).map(|waiting| format!("{waiting} waiting"));
    let parts: Vec<String> = [up, answered, waiting].into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn delay(entry: &Entry) -> String {
    let window = entry.restart.as_ref().and_then(|restart| restart.window.as_ref());
    let window = window.map_or(String::new(), |window| format!(" [{window}]"));
    match entry.backoff_ms() {
        Some(0) => format!("at once{window}"),
        Some(ms) => format!("in {}{window}", span(ms.saturating_mul(1000))),
        None => format!("soon{window}"),
    }
}
