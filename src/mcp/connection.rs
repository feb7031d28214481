//! One client's connection: its tickets, and the bytes on their way out.
//!
//! Answers gather in an [`Outbox`]. A task writes it whenever something is in there; a worker that has nothing else to
//! do writes what it can itself, which spares the task's wake-up. The outbox is bounded by the reader: past
//! [`OUTPUT_BUFFER_BYTES`](defaults::OUTPUT_BUFFER_BYTES) it stops reading until the client has read. Nobody else waits.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rmcp::model::{ErrorData, JsonRpcMessage, RequestId, ServerJsonRpcMessage};
use tokio::sync::Notify;

use super::caught::{Panicked, caught};
use super::direct::DirectCall;
use super::outbox::{Batch, Outbox};
use super::stdio::Output;
use super::tickets::{Cancelled, Number, Tickets};
use crate::actors::output_gauge::OutputGauge;
use crate::actors::shared::Shared;
use crate::config::defaults;
use crate::failpoint::points;

/// See the module documentation.
pub struct Connection {
    tickets: Mutex<Tickets<Arc<DirectCall>>>,
    outbox: Mutex<Outbox>,
    output: Output,
    /// There is something for the writer.
    filled: Notify,
    /// Something was written, or will never be.
    written: Notify,
    /// The client is gone.
    gone: Notify,
    /// The transport is through.
    over: Notify,
    /// A call must be answered sooner than all others.
    sooner: Notify,
    broken: AtomicBool,
    /// The client sends what cannot be a message.
    hopeless: AtomicBool,
    /// The transport has handed over its last message.
    finished: AtomicBool,
    /// The bytes in the outbox, for those who would add to them.
    unread: Arc<OutputGauge>,
}

/// What became of a wish for a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// Its number.
    Ticket(Number),
    /// Another request with this id is in flight.
    InFlight,
    /// Too many tickets are open.
    Full,
}

impl Connection {
    /// A connection whose client reads `output`.
    pub fn new(output: Output) -> Self {
        Self {
            tickets: Mutex::default(),
            outbox: Mutex::default(),
            output,
            filled: Notify::new(),
            written: Notify::new(),
            gone: Notify::new(),
            over: Notify::new(),
            sooner: Notify::new(),
            broken: AtomicBool::new(false),
            hopeless: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            unread: Arc::default(),
        }
    }

    /// Opens a ticket, if `admits` says so to the number of those that are open.
    pub fn open(&self, id: &RequestId, admits: impl FnOnce(usize) -> bool) -> Opened {
        let mut tickets = self.tickets.lock();
        if !admits(tickets.len()) {
            return Opened::Full;
        }
        tickets.open(id).map_or(Opened::InFlight, Opened::Ticket)
    }

    /// Requests that are open.
    pub fn in_flight(&self) -> usize {
        self.tickets.lock().len()
    }

    /// Ends the ticket of a cancelled request; `None` when nothing is owed to it.
    pub fn cancel(&self, id: &RequestId) -> Option<Cancelled<Arc<DirectCall>>> {
        self.tickets.lock().cancel(id)
    }

    /// The request of this ticket has become a call.
    pub fn watch(&self, number: Number, call: &Arc<DirectCall>) {
        if self.tickets.lock().watch(number, Arc::clone(call), call.latest()) {
            self.sooner.notify_one();
        }
    }

    /// Answers the calls whose time is over and whose worker does not, as long as there is a client. Run it as a task.
    pub async fn watch_deadlines(self: Arc<Self>, shared: Arc<Shared>) {
        /// Deadlines this close to each other are looked at once.
        const TOGETHER: Duration = Duration::from_millis(5);
        while !self.is_broken() {
            let earliest = self.tickets.lock().earliest();
            let Some(at) = earliest else {
                self.sooner.notified().await;
                continue;
            };
            tokio::select! {
                () = self.sooner.notified() => continue,
                () = tokio::time::sleep_until((at + TOGETHER).into()) => {}
            }
            let overdue = self.tickets.lock().overdue(Instant::now());
            for call in &overdue {
                call.expire();
            }
            if !overdue.is_empty() {
                // Nobody waits for them any more, so their places in the lanes can be given away.
                shared.table.note_cancellation();
            }
        }
    }

    /// Puts the answer of a ticket into the outbox, under the client's id, if it is still owed.
    pub fn answer(&self, number: Number, mut message: ServerJsonRpcMessage) {
        self.answer_call(number, |id, line| {
            match &mut message {
                JsonRpcMessage::Response(response) => response.id = id.clone(),
                JsonRpcMessage::Error(error) => error.id = Some(id.clone()),
                JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => {}
            }
            serialise(&message, line);
        });
        self.filled.notify_one();
    }

    /// The same for a call that rmcp knows nothing of; `write` appends its answer to a line. It is on its way with the
    /// next [`Connection::flush`], or when the writer finds it.
    pub fn answer_call(&self, number: Number, write: impl FnOnce(&RequestId, &mut Vec<u8>)) {
        let id = self.tickets.lock().owed_id(number);
        let Some(id) = id else { return };
        let mut line = new_line();
        write(&id, &mut line);
        // One step: a cancel that finds the answer given must find it in the outbox, before whatever the client is told next.
        let mut tickets = self.tickets.lock();
        if tickets.answer(number) {
            if points::LOSE_ANSWER.hit().is_err() {
                return tickets.sent(&[number]);
            }
            self.put(line, Some(number));
        }
    }

    /// How much the client has yet to read.
    pub fn output_gauge(&self) -> Arc<OutputGauge> {
        Arc::clone(&self.unread)
    }

    /// Answers everything that is owed with this error.
    pub fn answer_what_is_owed(&self, error: &ErrorData) {
        let owed = self.tickets.lock().owed();
        for number in owed {
            self.answer(number, ServerJsonRpcMessage::error(error.clone(), None));
        }
    }

    /// Puts a message into the outbox that answers no ticket.
    pub fn tell(&self, message: &ServerJsonRpcMessage) {
        let mut line = new_line();
        serialise(message, &mut line);
        self.put(line, None);
        self.filled.notify_one();
    }

    /// A message that could not be serialised is no line: its ticket ends with the bytes around it.
    fn put(&self, mut line: Vec<u8>, ticket: Option<Number>) {
        if !line.is_empty() {
            line.push(b'\n');
        }
        self.unread.waits(line.len());
        self.outbox.lock().push(line, ticket);
    }

    /// Has the outbox written by its task.
    pub fn flush_later(&self) {
        self.filled.notify_one();
    }

    /// Writes the outbox on this thread, as far as the client takes it at once; the writer does the rest.
    pub fn flush(&self) {
        while let Some(mut batch) = self.begin() {
            // A worker must not take a bug in here for its own.
            let write = || {
                points::OUTPUT_WRITE.hit()?;
                self.output.try_write(batch.rest())
            };
            match catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|_| Err(Panicked.into())) {
                Ok(written) if batch.written + written == batch.bytes.len() => self.end(batch, Ok(())),
                Ok(written) => {
                    batch.written += written;
                    return self.leave(batch);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.leave(batch),
                Err(error) => self.end(batch, Err(error)),
            }
        }
    }

    fn leave(&self, batch: Batch) {
        self.outbox.lock().put_back(batch);
        self.filled.notify_one();
    }

    fn begin(&self) -> Option<Batch> {
        if self.is_broken() {
            return None;
        }
        let mut batch = self.outbox.lock().begin()?;
        // Before the client can have read it.
        self.tickets.lock().sent(&std::mem::take(&mut batch.answers));
        Some(batch)
    }

    /// Whether the reader may read on.
    pub fn has_room(&self) -> bool {
        if points::UNBOUNDED_OUTPUT.hit().is_err() {
            return true;
        }
        self.outbox.lock().waiting_bytes() < defaults::OUTPUT_BUFFER_BYTES
    }

    /// Whether everything is written and nothing is owed.
    pub fn is_settled(&self) -> bool {
        self.tickets.lock().is_empty() && self.is_flushed()
    }

    /// Whether the client's end is closed.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// Ready once the client's end is closed.
    pub async fn broken(&self) {
        let mut gone = pin!(self.gone.notified());
        gone.as_mut().enable();
        if !self.is_broken() {
            gone.await;
        }
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
            let mut written = pin!(self.written.notified());
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
        self.over.notify_one();
    }

    /// Waits until the transport is through and its bytes are written; at most `patience` for the latter.
    pub async fn finished(&self, patience: Duration) {
        // Not `until`, which would wake this task with every answer of the session.
        while !self.finished.load(Ordering::SeqCst) {
            self.over.notified().await;
        }
        let flushed = self.until(|this| this.is_flushed() || this.is_broken());
        let _ = tokio::time::timeout(patience, flushed).await;
    }

    fn is_flushed(&self) -> bool {
        self.outbox.lock().waiting_bytes() == 0
    }

    /// Writes the outbox until the client is gone. Run it as a task of its own.
    pub async fn write(self: Arc<Self>) {
        while !self.is_broken() {
            let Some(mut batch) = self.begin() else {
                self.filled.notified().await;
                continue;
            };
            // A writer that is gone without a word would be waited for.
            let result = {
                let write = pin!(async {
                    points::OUTPUT_WRITE.hit()?;
                    self.output.write(&mut batch).await
                });
                caught(write).await.unwrap_or_else(|panicked| Err(panicked.into()))
            };
            self.end(batch, result);
        }
    }

    /// A batch was written, or cannot be.
    fn end(&self, batch: Batch, result: io::Result<()>) {
        self.unread.written(batch.bytes.len());
        self.outbox.lock().end(batch);
        match result {
            Ok(()) => {}
            Err(_) if points::IGNORE_BROKEN_PIPE.hit().is_err() => {}
            Err(error) => {
                tracing::debug!(%error, "the client cannot be written to");
                self.broken.store(true, Ordering::SeqCst);
                self.gone.notify_waiters();
                // Both wait for work that will not come.
                self.filled.notify_one();
                self.sooner.notify_one();
            }
        }
        self.written.notify_waiters();
    }
}

/// With room for a small result.
fn new_line() -> Vec<u8> {
    Vec::with_capacity(2 << 10)
}

/// Appends `message`.
fn serialise(message: &ServerJsonRpcMessage, line: &mut Vec<u8>) {
    if let Err(error) = serde_json::to_writer(&mut *line, message) {
        // Only a bug can make a message unserialisable; what was begun must not stay.
        tracing::error!(%error, "a message cannot be serialised");
        line.clear();
    }
}
