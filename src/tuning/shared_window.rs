//! A window that several threads add to, without a lock.
//!
//! A call that is added while the window is taken may be half in it and half in the next; a window is no place for exact
//! sums.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::histogram::{BINS, Histogram, bin};
use super::window::{Observation, Outcome, Window};

/// See the module documentation.
#[derive(Debug)]
pub struct SharedWindow {
    latency: [AtomicU32; BINS],
    queue_wait: [AtomicU32; BINS],
    faults: AtomicU32,
    not_tunable: AtomicBool,
}

impl Default for SharedWindow {
    fn default() -> Self {
        Self {
            latency: [const { AtomicU32::new(0) }; BINS],
            queue_wait: [const { AtomicU32::new(0) }; BINS],
            faults: AtomicU32::new(0),
            not_tunable: AtomicBool::new(false),
        }
    }
}

impl SharedWindow {
    /// One more call that was served. One whose frame lets nothing be moved is not measured; it only says so.
    pub fn add(&self, observation: &Observation) {
        if !observation.tunable {
            return self.not_tunable.store(true, Ordering::Relaxed);
        }
        if observation.outcome == Outcome::Fault {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        self.latency[bin(observation.latency)].fetch_add(1, Ordering::Relaxed);
        self.queue_wait[bin(observation.queue_wait)].fetch_add(1, Ordering::Relaxed);
    }

    /// What was added since it was last taken, and so many calls that were refused meanwhile.
    pub fn take(&self, shed: u64) -> Window {
        let histogram = |bins: &[AtomicU32; BINS]| {
            Histogram::of(std::array::from_fn(|bin| u64::from(bins[bin].swap(0, Ordering::Relaxed))))
        };
        Window {
            latency: histogram(&self.latency),
            queue_wait: histogram(&self.queue_wait),
            faults: self.faults.swap(0, Ordering::Relaxed).into(),
            shed,
            not_tunable: self.not_tunable.swap(false, Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn call() -> Observation {
        let (latency, queue_wait) = (Duration::from_micros(300), Duration::from_micros(20));
        Observation { latency, queue_wait, outcome: Outcome::Good, tunable: true }
    }

    #[test]
    fn it_comes_to_the_same_as_a_window_of_one_thread() {
        let (shared, mut window) = (SharedWindow::default(), Window::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| shared.add(&call())));
            }
        });
        (0..4000).for_each(|_| window.add(&call()));
        let fault = Observation { outcome: Outcome::Fault, latency: Duration::from_secs(1), ..call() };
        shared.add(&fault);
        window.add(&fault);
        (0..7).for_each(|_| window.add(&Observation { outcome: Outcome::Shed, ..call() }));
        assert_eq!(shared.take(7).summary(), window.summary());
        assert_eq!(shared.take(0).summary().calls, 0, "what was taken is gone");
    }

    #[test]
    fn a_call_that_lets_nothing_be_moved_is_not_measured_and_says_so() {
        let shared = SharedWindow::default();
        shared.add(&Observation { tunable: false, ..call() });
        let summary = shared.take(0).summary();
        assert_eq!((summary.calls, summary.tunable), (0, false));
        assert!(shared.take(0).summary().tunable, "the next window is another");
    }
}
