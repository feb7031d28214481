//! What each event must carry, and where it may stand.

use super::entry::Entry;
use super::life::Wrong;

/// What is missing from `entry` or stands where it must not.
pub fn check(entry: &Entry) -> Option<Wrong> {
    if entry.v != 1 {
        return Some(("version", format!("version {} of the log is not known here; use a newer nurones-mcp", entry.v)));
    }
    let event = entry.event.as_str();
    let missing = required(event).iter().find(|field| !has(entry, field));
    if let Some(field) = missing {
        return Some(("field", format!("{event} at {} carries no {field}", entry.path)));
    }
    if let Some(level) = entry.level.as_deref().filter(|level| !["L1", "L2", "L3"].contains(level)) {
        return Some(("field", format!("the level is {level}, and there are L1, L2 and L3")));
    }
    if event == "call_faulted" && entry.level.as_deref() != Some("L1") {
        return Some(("field", "a call's fault is of level L1".to_owned()));
    }
    let allowed: &[&str] = match event {
        "child_stopped" => &["graceful", "brutal", "temporary", "transient"],
        _ => return check_path(entry),
    };
    match entry.reason_kind() {
        Some(kind) if !allowed.contains(&kind) => Some((
            "field",
            format!("{event} at {} for the reason {kind}; it is one of {}", entry.path, allowed.join(", ")),
        )),
        _ => check_path(entry),
    }
}

fn required(event: &str) -> &'static [&'static str] {
    match event {
        "boot" => &["server"],
        "child_started" => &["incarnation"],
        "child_exited" => &["incarnation", "reason"],
        "restart_scheduled" | "quarantined" => &["restart.backoff_ms"],
        "restart_ok" => &["incarnation", "downtime_us"],
        "child_stopped" => &["incarnation", "reason"],
        "call_faulted" => &["reason", "count"],
        "breaker_open" => &["restart.backoff_ms", "count", "reason"],
        "worker_abandoned" | "log_dropped" | "stopped" => &["count"],
        "tool_refused" | "failpoint" => &["reason"],
        "shutdown_phase" => &["phase"],
        _ => &[],
    }
}

fn has(entry: &Entry, field: &str) -> bool {
    match field {
        "server" => entry.server.is_some(),
        "incarnation" => entry.incarnation.is_some(),
        "reason" => entry.reason.is_some(),
        "restart.backoff_ms" => entry.backoff_ms().is_some(),
        "downtime_us" => entry.downtime_us.is_some(),
        "count" => entry.count.is_some(),
        _ => entry.phase.as_deref().is_some_and(|phase| ["drain", "interrupt", "stop"].contains(&phase)),
    }
}

/// Where the event belongs in the tree.
fn check_path(entry: &Entry) -> Option<Wrong> {
    let below_root: Vec<&str> = entry.path.split('/').skip(1).collect();
    let (fits, place) = match entry.event.as_str() {
        "boot" | "stopped" | "failpoint" | "shutdown_phase" | "log_rotated" | "log_dropped" => {
            (entry.path == "root", "root")
        }
        "call_faulted" | "quarantined" | "probe" | "worker_abandoned" => {
            (matches!(below_root[..], ["tools", _, _]), "a worker, root/tools/NAME/wN")
        }
        "readmitted" | "breaker_open" | "breaker_half_open" | "breaker_closed" | "tool_refused" => {
            (matches!(below_root[..], ["tools", _]), "a tool, root/tools/NAME")
        }
        event => (!super::life::is_of_a_life(event) || entry.path.starts_with("root/"), "a child, below root"),
    };
    (!fits).then(|| ("path", format!("{} stands at {} and belongs to {place}", entry.event, entry.path)))
}
