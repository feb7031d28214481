//! One client's connection: its tickets, and the bytes on their way out.
//!
//! Answers are serialised into one buffer; a task writes whatever has gathered there in one go. The buffer is bounded
//! by the reader: past [`OUTPUT_BUFFER_BYTES`](defaults::OUTPUT_BUFFER_BYTES) it stops reading until the client has
//! read. Nobody else waits.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rmcp::model::{ErrorData, JsonRpcMessage, ServerJsonRpcMessage};
use tokio::sync::Notify;

use super::caught::caught;
use super::stdio::Output;
use super::tickets::{Number, Tickets};
use crate::config::defaults;
use crate::failpoint::points;

/// See the module documentation.
#[derive(Default)]
pub struct Connection {
    tickets: Mutex<Tickets>,
    outbox: Mutex<Outbox>,
    /// Bytes were put into the outbox.
    filled: Notify,
    /// The outbox was written.
    written: Notify,
    broken: AtomicBool,
    /// The client sends what cannot be a message.
    hopeless: AtomicBool,
    /// The transport has handed over its last message.
    finished: AtomicBool,
}

/// Bytes waiting to be written, and the tickets they answer.
#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    answers: Vec<Number>,
    /// Bytes the writer has taken and not yet written.
    being_written: usize,
}

impl Connection {
    /// Asks or changes the tickets.
    pub fn tickets<T>(&self, ask: impl FnOnce(&mut Tickets) -> T) -> T {
        ask(&mut self.tickets.lock())
    }

    /// Puts the answer of a ticket into the outbox, under the client's id, if it is still owed.
    pub fn answer(&self, number: Number, mut message: ServerJsonRpcMessage) {
        let Some(id) = self.tickets(|tickets| tickets.answer(number)) else { return };
        match &mut message {
            JsonRpcMessage::Response(response) => response.id = id,
            JsonRpcMessage::Error(error) => error.id = Some(id),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => {}
        }
        if points::LOSE_ANSWER.hit().is_err() {
            return self.tickets(|tickets| tickets.written(&[number]));
        }
        self.push(Some(number), &message);
    }

    /// Answers everything that is owed with this error.
    pub fn answer_what_is_owed(&self, error: &ErrorData) {
        for number in self.tickets(|tickets| tickets.owed()) {
            self.answer(number, ServerJsonRpcMessage::error(error.clone(), None));
        }
    }

    /// Puts a message into the outbox that answers no ticket.
    pub fn tell(&self, message: &ServerJsonRpcMessage) {
        self.push(None, message);
    }

    fn push(&self, ticket: Option<Number>, message: &ServerJsonRpcMessage) {
        let mut outbox = self.outbox.lock();
        let before = outbox.bytes.len();
        if let Err(error) = serde_json::to_writer(&mut outbox.bytes, message) {
            // Only a bug can make a message unserialisable; what was begun must not stay.
            tracing::error!(%error, "a message cannot be serialised");
            outbox.bytes.truncate(before);
        } else {
            outbox.bytes.push(b'\n');
        }
        outbox.answers.extend(ticket);
        drop(outbox);
        self.filled.notify_one();
    }

    /// Whether the reader may read on.
    pub fn has_room(&self) -> bool {
        if points::UNBOUNDED_OUTPUT.hit().is_err() {
            return true;
        }
        let outbox = self.outbox.lock();
        outbox.bytes.len() + outbox.being_written < defaults::OUTPUT_BUFFER_BYTES
    }

    /// Whether everything is written and nothing is owed.
    pub fn is_settled(&self) -> bool {
        self.tickets.lock().is_empty() && self.is_flushed()
    }

    /// Whether the client's end is closed.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// The client is given up: what is owed is still written, and the end is a failure.
    pub fn give_up(&self) {
        self.hopeless.store(true, Ordering::SeqCst);
    }

    /// Whether the client was given up.
    pub fn is_given_up(&self) -> bool {
        self.hopeless.load(Ordering::SeqCst)
    }

    /// Ready once `condition` holds; it is looked at whenever bytes were written or writing failed.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            // Registered before the condition is looked at, so that a change in between is not missed.
            let mut written = std::pin::pin!(self.written.notified());
            written.as_mut().enable();
            if condition(self) {
                return;
            }
            written.await;
        }
    }

    /// The transport will hand over nothing more.
    pub fn finish(&self) {
        self.finished.store(true, Ordering::SeqCst);
        self.written.notify_waiters();
    }

    /// Waits until the transport is through and its bytes are written; at most `patience` for the latter.
    pub async fn finished(&self, patience: Duration) {
        self.until(|this| this.finished.load(Ordering::SeqCst)).await;
        let flushed = self.until(|this| this.is_flushed() || this.is_broken());
        let _ = tokio::time::timeout(patience, flushed).await;
    }

    fn is_flushed(&self) -> bool {
        let outbox = self.outbox.lock();
        outbox.bytes.is_empty() && outbox.being_written == 0
    }

    /// Writes the outbox to `output` until the client is gone. Run it as a task of its own.
    pub async fn write_to(self: Arc<Self>, mut output: Output) {
        let mut spare = Vec::new();
        loop {
            let (bytes, answers) = {
                let mut outbox = self.outbox.lock();
                outbox.being_written = outbox.bytes.len();
                (std::mem::replace(&mut outbox.bytes, std::mem::take(&mut spare)), std::mem::take(&mut outbox.answers))
            };
            if bytes.is_empty() {
                self.filled.notified().await;
                continue;
            }
            // A writer that is gone without a word would be waited for.
            let write = pin!(async {
                points::OUTPUT_WRITE.hit()?;
                output.write(bytes).await
            });
            let result = caught(write).await.unwrap_or_else(|panicked| Err(panicked.into()));
            self.outbox.lock().being_written = 0;
            self.tickets(|tickets| tickets.written(&answers));
            match result {
                Ok(buffer) => spare = small_enough(buffer),
                Err(_) if points::IGNORE_BROKEN_PIPE.hit().is_err() => {}
                Err(error) => {
                    tracing::debug!(%error, "the client cannot be written to");
                    self.broken.store(true, Ordering::SeqCst);
                }
            }
            self.written.notify_waiters();
            if self.is_broken() {
                return;
            }
        }
    }
}

/// One large answer must not keep its memory for ever.
fn small_enough(buffer: Vec<u8>) -> Vec<u8> {
    const KEEP_BYTES: usize = 1 << 20;
    if buffer.capacity() > KEEP_BYTES { Vec::new() } else { buffer }
}
