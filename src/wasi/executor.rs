//! Runs guest futures on the calling thread, under a deadline.
//!
//! Each worker thread owns one. It has timers and at most four threads for blocking file operations, and nothing else
//! is ever spawned on it. A guest that loops yields at each epoch, which lets the deadline be seen; a guest that waits
//! in a host call is dropped at the deadline. A blocking operation that cannot be interrupted (opening a FIFO nobody
//! writes to) keeps its thread: [`Executor::discard_stuck`] finds that out and starts afresh.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

/// Threads for blocking file operations of one guest; more would only help a guest that floods the disk.
const BLOCKING_THREADS: usize = 4;

/// How long a file operation of an interrupted guest may take to come back before its thread counts as stuck.
const STUCK_AFTER: Duration = Duration::from_millis(20);

/// The deadline passed before the future was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadlinePassed;

/// See the module documentation.
pub struct Executor {
    runtime: Option<Runtime>,
}

impl Executor {
    /// A new executor.
    ///
    /// # Errors
    /// When the system refuses the resources.
    pub fn new() -> io::Result<Self> {
        Ok(Self { runtime: Some(build()?) })
    }

    /// Runs `future` until it is ready or `deadline` passes; in that case it is dropped.
    ///
    /// # Errors
    /// [`DeadlinePassed`].
    pub fn run<F: Future>(&self, deadline: Instant, future: F) -> Result<F::Output, DeadlinePassed> {
        let runtime = self.runtime.as_ref().expect("only `drop` and `discard_stuck` take the runtime");
        runtime.block_on(async { tokio::time::timeout_at(deadline.into(), future).await.map_err(|_| DeadlinePassed) })
    }

    /// After an interrupted call: gives file operations a moment to come back, and replaces the runtime. Returns
    /// whether one of its threads is stuck for good.
    ///
    /// # Errors
    /// When the system refuses the resources for a new runtime.
    pub fn discard_stuck(&mut self) -> io::Result<bool> {
        let old = self.runtime.replace(build()?);
        let before = Instant::now();
        if let Some(old) = old {
            old.shutdown_timeout(STUCK_AFTER);
        }
        Ok(before.elapsed() >= STUCK_AFTER)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn build() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_time().max_blocking_threads(BLOCKING_THREADS).build()
}
