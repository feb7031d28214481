//! What the server's process uses, as `/proc` tells it. On systems without it nothing is known, and nothing is judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::console::Console;
use super::history::Gauge;
use super::traffic::Traffic;

/// Between two looks at the process.
const EVERY: Duration = Duration::from_millis(100);

/// What process `pid` uses now.
pub fn look(pid: u32) -> Option<Gauge> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    let (rss_bytes, peak_bytes) = (field("VmRSS:")? << 10, field("VmHWM:")? << 10);
    Some(Gauge { rss_bytes, peak_bytes, fds, threads: field("Threads:")?, queue_depth: 0 })
}

/// From now on the peak is counted anew. Where this cannot be done, an earlier one may hide a later.
pub fn forget_peak(pid: u32) {
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Calls in the fullest lane.
fn queue_depth(console: &Console) -> Option<u64> {
    let stats = console.stats().ok()?;
    stats["tools"].as_object()?.values().filter_map(|tool| tool["queue_depth"].as_u64()).max()
}

/// A thread that looks again and again and enters what it sees in the history; ends when dropped.
pub struct Watcher {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Watches process `pid`.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(pid: u32, traffic: Arc<Traffic>, console: Arc<Console>) -> std::io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = std::thread::Builder::new().name("drill-gauges".to_owned()).spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                if let Some(gauge) = look(pid) {
                    let queue_depth = queue_depth(&console).unwrap_or(0);
                    traffic.lock().history.gauges.push(Gauge { queue_depth, ..gauge });
                }
                std::thread::park_timeout(EVERY);
            }
        })?;
        Ok(Self { over, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something_and_one_that_is_gone_is_unknown() {
        let gauge = look(std::process::id()).unwrap();
        assert!(gauge.rss_bytes > 100_000 && gauge.fds > 2 && gauge.threads > 0, "{gauge:?}");
        assert_eq!(look(u32::MAX), None);
    }
}
