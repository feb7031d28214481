//! What processes use, as `/proc` tells it. On systems without it nothing is known, and nothing is guessed.

use std::collections::HashMap;
use std::time::Duration;

/// `/proc` counts CPU time in ticks of 10 ms on every architecture that Rust supports.
const TICK: Duration = Duration::from_millis(10);

/// What a process and all that it started use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// CPU time since each of them began, that of ended ones included.
    pub(super) cpu: Duration,
    /// Memory that is in RAM; what they share counts for each.
    pub(super) rss_bytes: u64,
}

/// The usage of the processes `roots` and their descendants; `None` when all are gone or the system does not say.
pub(super) fn of_trees(roots: &[u32]) -> Option<Usage> {
    let processes: HashMap<u32, Process> = std::fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|id| Some((id, process(id)?)))
        .collect();
    roots.iter().find(|root| processes.contains_key(root))?;
    let mut usage = Usage::default();
    for (id, process) in &processes {
        if descends(*id, roots, &processes) {
            usage.cpu += TICK * process.ticks;
            usage.rss_bytes += resident_bytes(*id);
        }
    }
    Some(usage)
}

/// The CPU time of this very process.
pub(super) fn own_cpu() -> Option<Duration> {
    cpu_of(std::process::id())
}

/// The CPU time of process `id`, children that it waited for included; `None` when it is gone or the system does not say.
pub fn cpu_of(id: u32) -> Option<Duration> {
    Some(TICK * process(id)?.ticks)
}

struct Process {
    parent: u32,
    /// Its own CPU time and that of children it waited for.
    ticks: u32,
}

fn process(id: u32) -> Option<Process> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

fn parse_stat(stat: &str) -> Option<Process> {
    // The name is in parentheses, and may itself contain spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    let ticks = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
    Some(Process { parent, ticks })
}

fn descends(id: u32, roots: &[u32], processes: &HashMap<u32, Process>) -> bool {
    // Bounded, as the table was not read in one moment and could contain a circle.
    let ancestors = std::iter::successors(Some(id), |id| Some(processes.get(id)?.parent));
    ancestors.take(64).any(|ancestor| roots.contains(&ancestor))
}

/// A process that is gone uses nothing.
fn resident_bytes(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 200 0 0 11 22 33 44 20 0 5 0 1 2 3";
        let process = parse_stat(stat).unwrap();
        assert_eq!((process.parent, process.ticks), (7, 110));
        assert!(parse_stat("42 (a) S 7").is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory_and_one_that_is_gone_is_unknown() {
        let usage = of_trees(&[std::process::id(), u32::MAX]).unwrap();
        assert!(usage.rss_bytes > 100_000, "{usage:?}");
        assert!(own_cpu().is_some());
        assert_eq!(of_trees(&[u32::MAX]), None);
    }
}
