//! What happened, as text: a lane per tool, and a summary per boot.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::entry::Entry;
use super::history::{Boot, History, Sums};
use super::phrase::{self, many, span};

/// The whole history. Words come from the log as they are: escape control characters before a terminal sees them.
pub fn text(history: &History) -> String {
    let mut out = String::new();
    for boot in &history.boots {
        write_boot(&mut out, boot);
    }
    if history.not_shown > 0 {
        let _ = writeln!(out, "{} more are not shown: the log is long", many(history.not_shown, "record"));
    }
    if history.torn > 0 {
        let _ = writeln!(out, "{} could not be read; `nurones-mcp log check` says where", many(history.torn, "line"));
    }
    out
}

fn write_boot(out: &mut String, boot: &Boot) {
    let end = if boot.has_ended { "ended" } else { "seen last" };
    let _ = writeln!(out, "boot {}  {}  {end} after {}", boot.name, boot.began, span(boot.end_us));
    for (name, mut moments) in by_lane(boot) {
        let _ = writeln!(out, "\n  {name}");
        // Sorting is stable: what happened at one path stays in its order.
        moments.sort_by_key(|entry| entry.mono_us);
        let width = moments.iter().map(|entry| who(entry).chars().count()).max().unwrap_or(0);
        for entry in moments {
            let at = entry.mono_us as f64 / 1e6;
            let _ = writeln!(out, "  {at:>12.6} s  {:width$}  {}", who(entry), phrase::of(entry));
        }
    }
    let _ = writeln!(out, "\n  {}\n", summary(&boot.sums));
}

/// A lane per tool, after one for everything above the tools.
fn by_lane(boot: &Boot) -> Vec<(String, Vec<&Entry>)> {
    let (mut above, mut tools) = (Vec::new(), BTreeMap::<&str, Vec<&Entry>>::new());
    for entry in boot.lanes.values().flatten() {
        match entry.tool() {
            Some(tool) => tools.entry(tool).or_default().push(entry),
            None => above.push(entry),
        }
    }
    let tools = tools.into_iter().map(|(tool, entries)| (tool.to_owned(), entries));
    let above = Some(("the server".to_owned(), above)).filter(|(_, above)| !above.is_empty());
    above.into_iter().chain(tools).collect()
}

/// `w0` for a worker, nothing for the tool itself or the root, `context` for a control actor.
fn who(entry: &Entry) -> &str {
    let below_tool = entry.path.strip_prefix("root/tools/").map(|path| path.split_once('/').map_or("", |(_, who)| who));
    below_tool.or_else(|| entry.path.strip_prefix("root/")).unwrap_or("")
}

fn summary(sums: &Sums) -> String {
    let mut parts = vec![many(sums.exits, "exit"), many(sums.downtimes_us.len() as u64, "restart")];
    if let Some((middle, longest)) = sums.downtime_us() {
        parts.push(format!("downtime p50 {}, max {}", span(middle), span(longest)));
    }
    if sums.quarantined_us > 0 {
        parts.push(format!("in quarantine {}", span(sums.quarantined_us)));
    }
    let faults: Vec<String> = sums.faults.iter().map(|(code, count)| format!("{code} {count}")).collect();
    parts.push(format!("call faults: {}", if faults.is_empty() { "none".to_owned() } else { faults.join(", ") }));
    parts.join("; ")
}
