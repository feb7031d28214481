//! Our stdio transport for rmcp: what comes in is screened, what goes out is owed.
//!
//! rmcp's own transport leaves gaps that a server for many clients cannot have: it answers neither bad lines nor
//! duplicate ids, takes on any number of requests, and ends five seconds after the input does, whoever still waits.
//! Here every line gets its answer, requests past the limit are refused on the spot while the reader reads on (so that
//! cancels and pings never starve), and the end of input is withheld from rmcp until nothing is owed any more.
//!
//! `receive` is cancel-safe, as rmcp polls it inside a `select!`: everything it knows is in `self`.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotification, CancelledNotificationParam, ClientJsonRpcMessage,
    ClientNotification, ClientRequest, ErrorCode, ErrorData, JsonRpcMessage, RequestId, ServerJsonRpcMessage,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio_util::sync::CancellationToken;

use super::caught::caught;
use super::coalescing::Coalescing;
use super::connection::{Connection, Opened};
use super::direct;
use super::envelope::{Envelope, INVALID_REQUEST, Refused, id_in_head};
use super::error::{refused_inflight, refused_shutting_down};
use super::framing::{Frame, Framer};
use super::session::Session;
use super::stdio::Input;
use super::tickets::{Cancelled, Number};
use crate::actors::message::Refusal;
use crate::actors::shared::Shared;
use crate::actors::tool_table::ToolTable;
use crate::actors::watermark::Watermark;
use crate::config::{Performance, Shutdown, defaults};
use crate::failpoint::points;
use crate::wasi::manifest::Priority;

/// See the module documentation.
pub struct StdioTransport {
    input: Input,
    framer: Framer,
    connection: Arc<Connection>,
    shared: Arc<Shared>,
    /// Set when the process is told to stop: treated like the end of input.
    stop: CancellationToken,
    phase: Phase,
    session: Session,
    in_flight: Watermark,
    max_inflight: usize,
    coalescing: Coalescing,
    /// Requests of the last read; `None` when nothing was read since the next were left to gather.
    fresh: Option<u32>,
    shutdown: Shutdown,
}

/// Where the connection is in its life.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Reading,
    /// The input is over; waiting for what is owed, until then.
    Draining(Instant),
    /// Guests have been told to stop; waiting for their faults, until then.
    Interrupting(Instant),
    Over,
}

impl StdioTransport {
    /// A transport that reads `input` and answers through `connection`.
    pub fn new(
        input: Input,
        connection: Arc<Connection>,
        shared: Arc<Shared>,
        stop: CancellationToken,
        performance: &Performance,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            input,
            framer: Framer::new(defaults::LINE_BYTES, defaults::ENDLESS_LINE_BYTES),
            connection,
            shared,
            stop,
            phase: Phase::Reading,
            session: Session::default(),
            in_flight: Watermark::new(performance.max_inflight, performance.queue_watermark),
            max_inflight: performance.max_inflight,
            coalescing: Coalescing::new(performance.coalesce),
            fresh: None,
            shutdown,
        }
    }

    /// Reads on until a line is to be passed to rmcp (`Some`) or the input is over.
    async fn read(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            while self.connection.has_room() {
                let Some(frame) = self.framer.next_frame() else { break };
                if let Some(message) = self.screen_frame(frame) {
                    return Some(message);
                }
                if !matches!(self.phase, Phase::Reading) {
                    return None;
                }
            }
            if self.connection.is_broken() {
                self.phase = Phase::Over;
                return None;
            }
            if !self.connection.has_room() {
                let changed = self.connection.until(|connection| connection.is_broken() || connection.has_room());
                tokio::select! {
                    () = self.stop.cancelled() => return self.input_over(),
                    () = changed => continue,
                }
            }
            self.let_gather();
            tokio::select! {
                () = self.stop.cancelled() => return self.input_over(),
                () = self.connection.broken() => {}
                read = read_some(&mut self.input, &mut self.framer) => match read {
                    Ok(1..) => self.fresh = Some(0),
                    Ok(0) => return self.end_of_input(),
                    Err(error) => {
                        tracing::warn!(%error, "the input cannot be read; ending as if it were over");
                        return self.input_over();
                    }
                },
            }
        }
    }

    /// Waits for more requests to come before the next read, if that is worth it.
    fn let_gather(&mut self) {
        let Some(requests) = self.fresh.take() else { return };
        let pause = self.coalescing.read(Instant::now(), requests, self.connection.in_flight());
        if !pause.is_zero() {
            // Not tokio's timer, which counts milliseconds; for so short a time nothing else of this thread is missed.
            std::thread::sleep(pause);
        }
    }

    fn input_over<T>(&mut self) -> Option<T> {
        self.shared.phase("drain");
        self.phase = Phase::Draining(Instant::now() + self.shutdown.drain);
        None
    }

    /// A last line without a newline counts if it is whole; a torn one is dropped.
    fn end_of_input(&mut self) -> Option<ClientJsonRpcMessage> {
        let _: Option<()> = self.input_over();
        let rest = self.framer.rest();
        let whole = serde_json::from_slice::<serde::de::IgnoredAny>(&rest).is_ok();
        if !whole && !rest.trim_ascii().is_empty() {
            tracing::warn!(bytes = rest.len(), "the input ended in the middle of a line, which is dropped");
        }
        if whole { self.screen_line(&rest) } else { None }
    }

    fn screen_frame(&mut self, frame: Frame) -> Option<ClientJsonRpcMessage> {
        match frame {
            Frame::Line(line) => self.screen_line(&line),
            Frame::TooLong(head) => {
                self.refuse(Refused {
                    id: id_in_head(&head),
                    code: INVALID_REQUEST,
                    reason: "message_too_large",
                    message: format!("the message is longer than {} bytes", defaults::LINE_BYTES).into(),
                });
                None
            }
            Frame::Endless => {
                tracing::error!(bytes = defaults::ENDLESS_LINE_BYTES, "a line does not end; giving the client up");
                self.connection.give_up();
                self.input_over()
            }
        }
    }

    fn screen_line(&mut self, line: &[u8]) -> Option<ClientJsonRpcMessage> {
        match Envelope::of(line) {
            Envelope::Ignore => None,
            Envelope::Refuse(refused) => {
                self.refuse(refused);
                None
            }
            // None of them tells us anything, and before the handshake is over rmcp takes them for a broken one.
            Envelope::Notification => None,
            Envelope::Cancel { id } => {
                points::IGNORE_CANCEL.hit().ok()?;
                let Cancelled { number, call } = self.connection.cancel(&id)?;
                if let Some(call) = &call {
                    call.cancel();
                }
                // rmcp cancels the call's token before it asks for the next message.
                self.shared.table.note_cancellation();
                call.is_none().then(|| cancelled(number))
            }
            Envelope::Request { id, call } => self.take_on(line, id, call),
        }
    }

    /// Opens a ticket for a request, or refuses it.
    fn take_on(&mut self, line: &[u8], id: RequestId, call: Option<&str>) -> Option<ClientJsonRpcMessage> {
        self.fresh = self.fresh.map(|requests| requests + 1);
        let (in_flight, table, max_inflight) = (&mut self.in_flight, &self.shared.table, self.max_inflight);
        let admits = |open: usize| match call {
            Some(params) => in_flight.admits_all(open) || in_flight.admits(priority(table, params), open),
            None => open < max_inflight + defaults::CONTROL_INFLIGHT,
        };
        let number = match self.connection.open(&id, admits) {
            Opened::Ticket(number) => number,
            Opened::InFlight => {
                self.refuse(Refused {
                    id: Some(id),
                    code: INVALID_REQUEST,
                    reason: "duplicate_id",
                    message: "a request with this id is in flight; this second one is not run".into(),
                });
                return None;
            }
            Opened::Full => {
                self.shared.table.sheds.note(Refusal::Inflight, None);
                self.push_error(Some(id), refused_inflight(self.shared.table.retry_after()));
                return None;
            }
        };
        // What is not read here is left to rmcp and its errors.
        let params = call.and_then(|params| serde_json::from_str::<CallToolRequestParams>(params).ok());
        let Some(params) = params else { return self.parse(line, number) };
        match direct::Request::of(params, &self.session, &self.shared) {
            Ok(request) => {
                request.call(&self.shared, &self.connection, number);
                None
            }
            Err(params) => Some(through_rmcp(params, number)),
        }
    }

    /// The line as rmcp's type, under the number of its ticket. What passes [`Envelope`] and not this is a request whose
    /// parameters make no sense.
    fn parse(&self, line: &[u8], number: Number) -> Option<ClientJsonRpcMessage> {
        match serde_json::from_slice(line) {
            Ok(ClientJsonRpcMessage::Request(mut request)) => {
                request.id = RequestId::Number(number);
                Some(ClientJsonRpcMessage::Request(request))
            }
            other => {
                tracing::debug!(error = ?other.err(), "a message passed the envelope and not the types");
                let error = ErrorData::invalid_params("the parameters do not fit the method", None);
                self.connection.answer(number, ServerJsonRpcMessage::error(error, None));
                None
            }
        }
    }

    fn refuse(&self, refused: Refused) {
        if points::IGNORE_BAD_LINES.hit().is_err() {
            return;
        }
        let data = serde_json::json!({ "reason": refused.reason });
        let error = ErrorData::new(ErrorCode(refused.code), refused.message, Some(data));
        self.push_error(refused.id, error);
    }

    /// Writes an error that answers no ticket: the request was never taken on.
    fn push_error(&self, id: Option<RequestId>, error: ErrorData) {
        self.connection.tell(&ServerJsonRpcMessage::error(error, id));
    }

    /// Waits until nothing is owed, interrupting guests when the time for that is up.
    async fn drain(&mut self) {
        loop {
            let until = match self.phase {
                Phase::Draining(until) | Phase::Interrupting(until) => until,
                Phase::Reading | Phase::Over => return,
            };
            let settled = self.connection.until(|connection| connection.is_settled() || connection.is_broken());
            if tokio::time::timeout_at(until.into(), settled).await.is_ok() {
                self.phase = Phase::Over;
            } else if matches!(self.phase, Phase::Draining(_)) {
                self.shared.phase("interrupt");
                self.shared.interrupt();
                self.phase = Phase::Interrupting(Instant::now() + self.shutdown.interrupt);
            } else {
                // The last resort: a worker that is stuck cannot answer, but the client must not wait for ever.
                self.connection.answer_what_is_owed(&refused_shutting_down());
                self.phase = Phase::Over;
            }
        }
    }
}

/// The priority of the tool that a call with these parameters is for; asked only when there are many.
fn priority(table: &ToolTable, params: &str) -> Priority {
    #[derive(serde::Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: std::borrow::Cow<'a, str>,
    }
    let tool = serde_json::from_str::<Named<'_>>(params).ok().and_then(|named| table.get(&named.name));
    tool.map_or(Priority::Normal, |tool| tool.loaded.manifest.priority)
}

/// Cancel-safe, as what it waits for is.
async fn read_some(input: &mut Input, framer: &mut Framer) -> std::io::Result<usize> {
    points::INPUT_READ.hit()?;
    input.read(framer.buffer()).await
}

/// A `tools/call` as rmcp's type. rmcp would find out by trying every kind of message on a copy of the line, which takes
/// longer than the call itself.
fn through_rmcp(mut params: CallToolRequestParams, number: Number) -> ClientJsonRpcMessage {
    let meta = params.meta.take();
    let mut call = CallToolRequest::new(params);
    if let Some(meta) = meta {
        // Where rmcp puts it and looks for it.
        call.extensions.insert(meta);
    }
    ClientJsonRpcMessage::request(ClientRequest::CallToolRequest(call), RequestId::Number(number))
}

/// Tells rmcp that the request with this ticket is no longer wanted.
fn cancelled(number: Number) -> ClientJsonRpcMessage {
    let params = CancelledNotificationParam::new(Some(RequestId::Number(number)), None);
    ClientJsonRpcMessage::notification(ClientNotification::CancelledNotification(CancelledNotification::new(params)))
}

impl Transport<RoleServer> for StdioTransport {
    type Error = std::convert::Infallible;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let id = match &message {
            JsonRpcMessage::Response(response) => {
                self.session.observe(&response.result);
                Some(&response.id)
            }
            JsonRpcMessage::Error(error) => error.id.as_ref(),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
        };
        match id {
            Some(&RequestId::Number(number)) => self.connection.answer(number, message),
            // rmcp only ever saw our numbers.
            Some(id) => tracing::error!(%id, "an answer to a request that was never passed on"),
            None => self.connection.tell(&message),
        }
        std::future::ready(Ok(()))
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        if matches!(self.phase, Phase::Reading) {
            let read = caught(pin!(self.read())).await;
            match read {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(panicked) => {
                    tracing::error!("{panicked} while it read; ending as if the input were over");
                    let _: Option<()> = self.input_over();
                }
            }
        }
        self.drain().await;
        self.connection.finish();
        None
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.connection.finish();
        Ok(())
    }
}

/// How long the last bytes may take to be written when everything else is over.
pub const FLUSH: Duration = Duration::from_secs(1);
