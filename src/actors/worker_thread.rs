//! The thread of a worker: takes a call, runs the guest, answers. Everything hot happens here.
//!
//! The thread owns the warm Stores. Its actor only watches: [`InHand`] is what the two share, and whoever takes the
//! reply out of it first is the one who answers. A thread that finds its reply taken was given up for stuck; it ends
//! as soon as it comes back.
//!
//! Rule: the thread waits for its lane and for its guest, and for nobody else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::gate::Verdict;
use super::gatekeeper::LetIn;
use super::lane::Received;
use super::message::{Call, CallOutcome, Deadline, ExitReason, Refusal, WorkerMsg};
use super::meter::Measured;
use super::reply::Reply;
use super::sandboxes::{Ended, Sandboxes};
use super::shared::Shared;
use super::supervision_log::{Reason, Record, Restart};
use super::tenant_accounts::Charge;
use super::tool_table::{ThreadExit, ToolEntry, WorkerSlot};
use super::unsent::Unsent;
use super::warm_stores::StoreKey;
use crate::events::{Class, Event};
use crate::failpoint::points;
use crate::frame::ContextFrame;
use crate::trail::{Step, Story};
use crate::wasi::error::{Fault, FaultCode};

/// Stack of a worker thread. Guests run on fibers of their own; this holds the host's frames.
const STACK_BYTES: usize = 4 << 20;

/// The call a thread is working on, shared with its actor.
#[derive(Default)]
pub struct InHand {
    call: Mutex<Option<Held>>,
    /// Set by the actor when it gives the thread up.
    abandoned: AtomicBool,
    /// Whether the actor's timer runs.
    watched: AtomicBool,
    unsent: Mutex<Unsent>,
}

struct Held {
    call: Measured,
    cancel: CancellationToken,
    /// When the actor first saw that it was cancelled.
    cancelled: Option<Instant>,
    reply: Reply,
}

/// A call whose thread did not come back in time.
pub struct Overdue {
    /// Its deadline, and what else is measured of it.
    pub call: Measured,
    /// Nobody waits for it.
    pub cancelled: bool,
    /// The way back.
    pub reply: Reply,
}

impl InHand {
    /// Takes the call if its deadline, or its cancellation, is more than `grace` past; the thread is then abandoned.
    pub fn take_overdue(&self, now: Instant, grace: Duration) -> Option<Overdue> {
        let mut call = self.call.lock();
        let held = call.as_mut()?;
        if held.cancel.is_cancelled() {
            held.cancelled.get_or_insert(now);
        }
        let since = held.cancelled.map_or(held.call.deadline.at, |cancelled| cancelled.min(held.call.deadline.at));
        if now <= since + grace {
            return None;
        }
        self.abandoned.store(true, Ordering::SeqCst);
        let Held { call, cancelled, reply, .. } = call.take()?;
        Some(Overdue { call, cancelled: cancelled.is_some(), reply })
    }

    /// Called by the actor's timer: whether there is something to watch. When not, the thread will ask again.
    pub fn keep_watching(&self) -> bool {
        if self.call.lock().is_some() {
            return true;
        }
        self.watched.store(false, Ordering::SeqCst);
        self.call.lock().is_some() && !self.watched.swap(true, Ordering::SeqCst)
    }

    /// Called by an actor that takes over a running thread.
    pub fn adopt(&self) {
        self.watched.store(true, Ordering::SeqCst);
    }

    /// Puts a call in hand; returns whether nobody watches yet.
    fn hold(&self, call: Measured, cancel: CancellationToken, reply: Reply) -> bool {
        *self.call.lock() = Some(Held { call, cancel, cancelled: None, reply });
        !self.watched.swap(true, Ordering::SeqCst)
    }

    /// Sends the answers that were given before this call was taken: it is not as short as was thought.
    pub fn send_unsent(&self) {
        self.unsent.lock().send();
    }

    fn release(&self) -> Option<Held> {
        self.call.lock().take()
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst)
    }
}

/// Starts the thread of worker `index` of `tool` and enters it in its slot.
///
/// # Errors
/// When the system refuses the thread or its executor.
pub fn start(shared: &Arc<Shared>, tool: &Arc<ToolEntry>, index: usize) -> std::io::Result<()> {
    points::WORKER_START.hit_for(&tool.published)?;
    let in_hand = Arc::new(InHand::default());
    let worker = WorkerThread {
        shared: Arc::clone(shared),
        tool: Arc::clone(tool),
        index,
        in_hand: Arc::clone(&in_hand),
        sandboxes: Sandboxes::new(Arc::clone(shared), Arc::clone(tool))?,
        was_ready: false,
    };
    let mut slot = tool.slots[index].thread.lock();
    std::thread::Builder::new()
        .name(format!("{}/w{index}", tool.published))
        .stack_size(STACK_BYTES)
        .spawn(move || worker.live())?;
    *slot = Some(in_hand);
    Ok(())
}

struct WorkerThread {
    shared: Arc<Shared>,
    tool: Arc<ToolEntry>,
    index: usize,
    in_hand: Arc<InHand>,
    sandboxes: Sandboxes,
    was_ready: bool,
}

impl WorkerThread {
    fn live(mut self) {
        let reason = match catch_unwind(AssertUnwindSafe(|| self.serve_all())) {
            Ok(reason) => reason,
            Err(panic) => ExitReason::HostPanic(panic_text(panic.as_ref())),
        };
        self.in_hand.send_unsent();
        if self.in_hand.is_abandoned() {
            // Its place is taken already; it only reports back from the dead.
            self.tool.zombies.came_back();
            return;
        }
        // Dropping the reply answers the call in hand with "lost".
        let lost = self.in_hand.release();
        lost.iter().for_each(|held| self.tool.measure(held.call, Instant::now(), Verdict::Faulted));
        let answered = u64::from(lost.is_some());
        drop(lost);
        *self.slot().exit.lock() = Some(ThreadExit { reason: reason.clone(), answered, was_ready: self.was_ready });
        *self.slot().thread.lock() = None;
        self.tell(WorkerMsg::Exited(reason));
        self.shared.worker_ended();
    }

    fn slot(&self) -> &WorkerSlot {
        &self.tool.slots[self.index]
    }

    fn tell(&self, message: WorkerMsg) {
        if let Some(owner) = &*self.slot().owner.lock() {
            // An actor that is gone is being replaced, and its successor looks at the slot.
            let _ = owner.cast(message);
        }
    }

    fn serve_all(&mut self) -> ExitReason {
        let first_life = self.slot().incarnation.load(Ordering::SeqCst) == 0;
        if let Err(reason) = self.sandboxes.warm_up(first_life) {
            return reason;
        }
        self.was_ready = true;
        self.tell(WorkerMsg::Ready);
        let tool = Arc::clone(&self.tool);
        loop {
            if !tool.is_fast() {
                self.in_hand.send_unsent();
            }
            match tool.lane.recv(tool.loaded.manifest.reuse.idle, || self.in_hand.send_unsent()) {
                Received::Call(call) => {
                    if let Err(reason) = self.serve(call) {
                        return reason;
                    }
                }
                Received::Shed(call) => self.refuse(call, Refusal::Codel),
                Received::Nothing => self.sandboxes.drop_all(),
                Received::Closed => return ExitReason::Shutdown,
            }
        }
    }

    /// Answers a call that is not run.
    fn refuse(&self, call: Call, refusal: Refusal) {
        self.tool.sheds.note(refusal, Some(&call.request.frame.reason_trace_id));
        self.answer_soon(call.reply, CallOutcome::Refused(refusal));
    }

    /// Serves one call.
    ///
    /// # Errors
    /// Why this worker cannot go on after it.
    fn serve(&mut self, call: Call) -> Result<(), ExitReason> {
        let mut measured = Measured { deadline: call.deadline, taken: None, tunable: call.request.frame.is_tunable() };
        if call.is_cancelled() {
            let now = Instant::now();
            if now >= call.deadline.at {
                // It was answered without us, for having waited too long.
                self.tool.measure(measured, now, Verdict::Faulted);
            }
            call.reply.stay_silent();
            return Ok(());
        }
        if self.shared.is_interrupted() {
            self.refuse(call, Refusal::ShuttingDown);
            return Ok(());
        }
        if call.output.is_full() {
            self.refuse(call, Refusal::Inflight);
            return Ok(());
        }
        let began = Instant::now();
        if began >= call.deadline.at {
            self.tool.measure(measured, began, Verdict::Faulted);
            self.answer_soon(call.reply, CallOutcome::Faulted(call.deadline.fault()));
            return Ok(());
        }
        let Call { request, charged, permissions, deadline, let_in, cancel, reply, .. } = call;
        let (frame, story) = (Arc::clone(&request.frame), request.story.clone());
        if let Some(story) = &story {
            let incarnation = self.slot().incarnation.load(Ordering::SeqCst);
            story.note(Step::Taken { worker: self.tool.worker_path(self.index).to_string(), incarnation });
        }
        measured.taken = Some(began);
        if self.in_hand.hold(measured, cancel.clone(), reply) && points::UNWATCHED.hit().is_ok() {
            self.tell(WorkerMsg::Busy);
        }
        // With the call in hand: whatever happens now, it is answered.
        let _ = points::WORKER_RECV.hit_for(&self.tool.published);
        let key = StoreKey { tenant_id: Arc::clone(&frame.tenant_id), permissions };
        let charge = charged.map(Charge::begin);
        let ended = self.sandboxes.run(&key, request, &cancel, || self.in_hand.send_unsent());
        drop(charge);
        if let Some(story) = &story {
            story.note(Step::Left { how: ended.as_str().to_owned() });
        }
        if self.in_hand.is_abandoned() {
            // The answer was given and the place taken while the guest was stuck.
            return Err(ExitReason::Wedged);
        }
        let _ = points::GUEST_LEAVE.hit_for(&self.tool.published);
        let (returned, cancelled) = (matches!(ended, Ended::Returned(_)), matches!(ended, Ended::Cancelled));
        let (fault, verdict) = self.answer(ended, let_in, deadline);
        let now = Instant::now();
        let took = now.saturating_duration_since(began);
        if self.shared.bus.wants(Class::Low) {
            self.announce(cancelled, fault.as_ref(), took, &frame, story.as_deref());
        }
        self.tool.lane.note_service(took);
        self.tool.measure(measured, now, verdict);
        let rebuilt = self.sandboxes.recover(&key, returned, || self.in_hand.send_unsent());
        if let Some(fault) = fault.filter(|fault| !fault.code.is_the_tools_word()) {
            self.report(&fault, rebuilt.as_ref().ok().copied().flatten(), &frame);
        }
        rebuilt.map(drop)
    }

    /// Answers the call in hand, unless its actor has done so; returns the fault that was met, if any, and what it says
    /// about the tool.
    fn answer(&mut self, ended: Ended, let_in: LetIn, deadline: Deadline) -> (Option<Fault>, Verdict) {
        let ended = match ended {
            Ended::Returned(result) => Some(result),
            Ended::DeadlinePassed => Some(Err(deadline.fault())),
            Ended::Interrupted => Some(Err(Fault::new(
                FaultCode::WorkerLost,
                "the server is shutting down and stopped the tool; it may have done part of its work",
            ))),
            Ended::Cancelled => None,
        };
        let fault = ended.as_ref().and_then(|result| result.as_ref().err().cloned());
        let verdict = match (&ended, &fault) {
            _ if self.shared.is_interrupted() => Verdict::Unknown,
            (None, _) => Verdict::Unknown,
            (Some(_), Some(fault)) if fault.counts_against_the_tool() => Verdict::Faulted,
            (Some(_), _) => Verdict::Good,
        };
        self.tool.call_ended(let_in, verdict);
        if let Some(Held { reply, .. }) = self.in_hand.release() {
            match ended {
                Some(Ok(output)) => self.answer_soon(reply, CallOutcome::Finished(output)),
                Some(Err(fault)) => self.answer_soon(reply, CallOutcome::Faulted(fault)),
                None => reply.stay_silent(),
            }
        }
        (fault, verdict)
    }

    /// Answers; the answer is sent when the next call is looked for.
    fn answer_soon(&self, reply: Reply, outcome: CallOutcome) {
        self.in_hand.unsent.lock().add(reply.answer_unsent(outcome), self.tool.knobs.batch_size());
    }

    /// Says on the bus how a call ended, unless it met a fault that [`WorkerThread::report`] tells of. If the call is
    /// audited, its name there is what the event is about.
    fn announce(
        &self,
        cancelled: bool,
        fault: Option<&Fault>,
        took: Duration,
        frame: &ContextFrame,
        story: Option<&Story>,
    ) {
        let code = match fault {
            None => String::new(),
            Some(fault) if fault.code.is_the_tools_word() => format!(",\"code\":\"{}\"", fault.code.as_str()),
            Some(_) => return,
        };
        let kind = if cancelled { "call_cancelled" } else { "call_finished" };
        let event = Event::new(kind, self.tool.worker_path(self.index), Class::Low);
        let event = event.with_data(format!("{{\"took_us\":{}{code}}}", took.as_micros()));
        let (trace_id, correlation_id) = (Some(Arc::clone(&frame.reason_trace_id)), story.map(Story::call_id));
        self.shared.bus.publish(Event { trace_id, correlation_id, ..event });
    }

    /// Says in the supervision log, and so on the bus, that a call met a fault, and what was done about it.
    fn report(&self, fault: &Fault, rebuilt: Option<Duration>, frame: &ContextFrame) {
        self.shared.log.record(Record {
            level: Some("L1"),
            incarnation: Some(self.slot().incarnation.load(Ordering::SeqCst)),
            reason: Some(Reason::new(fault.code.as_str(), fault.detail.clone(), &fault.message)),
            restart: rebuilt.map(|took| Restart { took_us: Some(took.as_micros() as u64), ..Restart::new("store") }),
            queue_depth: Some(self.tool.lane.depth()),
            trace_id: Some(Arc::clone(&frame.reason_trace_id)),
            ..Record::new("call_faulted", self.tool.worker_path(self.index))
        });
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
