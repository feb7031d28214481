//! Bounded capture of what a guest prints.
//!
//! No guest inherits the server's stdio: standard output would break the protocol. Standard output is either the
//! result of a command guest or noise from a warm one; past its budget the guest is stopped. Standard error is kept
//! for the log; past its budget it is dropped.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::error::OutputLimitReached;

/// What happens at the end of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtLimit {
    Trap,
    Drop,
}

/// A captured stream; clones share the buffer.
#[derive(Debug, Clone)]
pub struct Capture {
    buffer: Arc<Mutex<Vec<u8>>>,
    budget_bytes: usize,
    at_limit: AtLimit,
}

impl Capture {
    /// For standard output: printing more than `budget_bytes` ends the call with an output limit.
    pub fn stdout(budget_bytes: usize) -> Self {
        Self::new(budget_bytes, AtLimit::Trap)
    }

    /// For standard error: what is more than `budget_bytes` is dropped.
    pub fn stderr(budget_bytes: usize) -> Self {
        Self::new(budget_bytes, AtLimit::Drop)
    }

    fn new(budget_bytes: usize, at_limit: AtLimit) -> Self {
        Self { buffer: Arc::default(), budget_bytes, at_limit }
    }

    /// Takes what was captured; the budget starts anew.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.buffer.lock())
    }

    /// Whether anything was captured.
    pub fn is_empty(&self) -> bool {
        self.buffer.lock().is_empty()
    }
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut buffer = self.buffer.lock();
        let room = self.budget_bytes.saturating_sub(buffer.len());
        if bytes.len() > room && self.at_limit == AtLimit::Trap {
            return Err(StreamError::Trap(OutputLimitReached.into()));
        }
        buffer.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        const CHUNK_BYTES: usize = 64 << 10;
        Ok(CHUNK_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    /// Only WASI p3 asks for this form, and p3 is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stdout_traps_past_its_budget_and_stderr_forgets() {
        let mut out = Capture::stdout(4);
        assert!(out.write(Bytes::from_static(b"abcd")).is_ok());
        assert!(matches!(out.write(Bytes::from_static(b"e")), Err(StreamError::Trap(_))));
        assert_eq!(out.take(), b"abcd");
        assert!(out.write(Bytes::from_static(b"abcd")).is_ok());

        let mut err = Capture::stderr(4);
        assert!(err.write(Bytes::from_static(b"abcdef")).is_ok());
        assert!(err.write(Bytes::from_static(b"g")).is_ok());
        assert_eq!(err.take(), b"abcd");
    }
}
