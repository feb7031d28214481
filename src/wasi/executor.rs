//! Runs guest futures on the calling thread, under a deadline.
//!
//! Each worker thread owns one. It has timers and at most four threads for blocking file operations, and nothing else
//! is ever spawned on it. A guest that loops yields at each epoch, which lets the deadline be seen; a guest that waits
//! in a host call is dropped at the deadline. A blocking operation that cannot be interrupted (opening a FIFO nobody
//! writes to) keeps its thread: after an interrupted call [`Executor::renew`] leaves the old runtime behind.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};

use crate::failpoint::points;

/// Threads for blocking file operations of one guest; more would only help a guest that floods the disk.
const BLOCKING_THREADS: usize = 4;

/// The deadline passed before the future was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadlinePassed;

/// See the module documentation.
pub struct Executor {
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
    /// Threads of the runtime that live, this one not counted.
    threads: Arc<AtomicUsize>,
}

impl Executor {
    /// A new executor.
    ///
    /// # Errors
    /// When the system refuses the resources.
    pub fn new() -> io::Result<Self> {
        let threads = Arc::new(AtomicUsize::new(0));
        let (started, stopped) = (Arc::clone(&threads), Arc::clone(&threads));
        let runtime = Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(BLOCKING_THREADS)
            .on_thread_start(move || _ = started.fetch_add(1, Ordering::SeqCst))
            .on_thread_stop(move || _ = stopped.fetch_sub(1, Ordering::SeqCst))
            .build()?;
        Ok(Self { runtime: Some(runtime), threads })
    }

    /// Runs `future` until it is ready or `deadline` passes; in that case it is dropped.
    ///
    /// # Errors
    /// [`DeadlinePassed`].
    pub fn run<F: Future>(&self, deadline: Instant, future: F) -> Result<F::Output, DeadlinePassed> {
        let runtime = self.runtime.as_ref().expect("the runtime is taken by `drop` only");
        // A guest's future is large, and would be moved at each of the steps below.
        let future = std::pin::pin!(future);
        runtime.block_on(async { tokio::time::timeout_at(deadline.into(), future).await.map_err(|_| DeadlinePassed) })
    }

    /// Starts afresh after an interrupted call, if the call has used threads. Returns how many of the old ones live;
    /// those that are not stuck end by themselves.
    ///
    /// # Errors
    /// When the system refuses the resources for a new runtime.
    pub fn renew(&mut self) -> io::Result<Option<Arc<AtomicUsize>>> {
        if self.threads.load(Ordering::SeqCst) == 0 {
            return Ok(None);
        }
        points::EXECUTOR_RENEW.hit()?;
        let old = std::mem::replace(self, Self::new()?);
        Ok(Some(Arc::clone(&old.threads)))
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
