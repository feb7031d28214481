//! The CPU time of one call. It is looked at whenever the guest yields, every 2 ms; only time on the worker's own thread
//! counts, which is where guests run.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

/// Raised when a call has used up its CPU time.
#[derive(Debug, Error)]
#[error("cpu budget spent")]
pub struct CpuSpent;

/// Counts the CPU time of one call on this thread.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CpuMeter {
    /// The thread's CPU time at which the call has had enough.
    until: Option<Duration>,
}

impl CpuMeter {
    /// From now on, at most `budget`.
    pub(super) fn start(budget: Option<Duration>) -> Self {
        // Asking costs a system call, so only who has a budget is measured.
        Self { until: budget.map(|budget| thread_cpu() + budget) }
    }

    /// Whether it is used up.
    ///
    /// # Errors
    /// [`CpuSpent`].
    pub(super) fn check(self) -> Result<(), CpuSpent> {
        if self.until.is_some_and(|until| thread_cpu() >= until) { Err(CpuSpent) } else { Ok(()) }
    }
}

/// The CPU time that this thread has used.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_on_the_processor_counts() {
        let meter = CpuMeter::start(Some(Duration::from_millis(20)));
        std::thread::sleep(Duration::from_millis(40));
        assert!(meter.check().is_ok());
        while meter.check().is_ok() {
            std::hint::black_box(0);
        }
        assert!(CpuMeter::start(None).check().is_ok());
    }
}
