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

use super::message::{Call, CallOutcome, Event, ExitReason, Refusal, WorkerMsg};
use super::reply::Reply;
use super::shared::Shared;
use super::supervision_log::{Reason, Record, Restart};
use super::tool_table::{ToolEntry, WorkerSlot};
use super::warm_stores::{StoreKey, WarmStores};
use crate::config::defaults;
use crate::wasi::call::{GuestOutput, GuestRequest};
use crate::wasi::command;
use crate::wasi::error::{Fault, FaultCode};
use crate::wasi::executor::Executor;
use crate::wasi::guest::Guest;

/// Stack of a worker thread. Guests run on fibers of their own; this holds the host's frames.
const STACK_BYTES: usize = 4 << 20;

/// Time a Store may take to be rebuilt after a fault, away from any call.
const REBUILD_DEADLINE: Duration = Duration::from_secs(1);

/// The call a thread is working on, shared with its actor.
#[derive(Default)]
pub struct InHand {
    call: Mutex<Option<(Instant, Reply)>>,
    /// Set by the actor when it gives the thread up.
    abandoned: AtomicBool,
    /// Whether the actor's timer runs.
    watched: AtomicBool,
}

impl InHand {
    /// Takes the reply if its deadline is more than `grace` past; the thread is then abandoned.
    pub fn take_overdue(&self, now: Instant, grace: Duration) -> Option<Reply> {
        let mut call = self.call.lock();
        let overdue = call.as_ref().is_some_and(|(deadline, _)| now > *deadline + grace);
        if !overdue {
            return None;
        }
        self.abandoned.store(true, Ordering::SeqCst);
        call.take().map(|(_, reply)| reply)
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
    fn hold(&self, deadline: Instant, reply: Reply) -> bool {
        *self.call.lock() = Some((deadline, reply));
        !self.watched.swap(true, Ordering::SeqCst)
    }

    fn release(&self) -> Option<Reply> {
        self.call.lock().take().map(|(_, reply)| reply)
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
    let in_hand = Arc::new(InHand::default());
    let worker = WorkerThread {
        shared: Arc::clone(shared),
        tool: Arc::clone(tool),
        index,
        in_hand: Arc::clone(&in_hand),
        executor: Executor::new()?,
        stores: WarmStores::default(),
        too_many_zombies: false,
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
    executor: Executor,
    stores: WarmStores,
    /// Set when this thread's guests have left so many threads stuck that the tool must be left alone.
    too_many_zombies: bool,
}

/// How a guest call ended, seen from the thread.
enum Ended {
    Returned(Result<GuestOutput, Fault>),
    Cancelled,
    Interrupted,
    DeadlinePassed,
}

impl WorkerThread {
    fn live(mut self) {
        self.tell(WorkerMsg::Ready);
        let reason = match catch_unwind(AssertUnwindSafe(|| self.serve_all())) {
            Ok(reason) => reason,
            Err(panic) => ExitReason::HostPanic(panic_text(panic.as_ref())),
        };
        if self.in_hand.is_abandoned() {
            // Its place is taken already; it only reports back from the dead.
            self.tool.zombies.came_back();
            return;
        }
        // Dropping the reply answers the call in hand with "lost".
        drop(self.in_hand.release());
        *self.slot().exit.lock() = Some(reason.clone());
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
        self.warm_up();
        let tool = Arc::clone(&self.tool);
        while let Some(call) = tool.lane.recv() {
            self.serve(call);
            if self.in_hand.is_abandoned() || self.too_many_zombies {
                return ExitReason::Wedged;
            }
        }
        ExitReason::Shutdown
    }

    /// Builds the Store that most calls will want, if the tool is compiled already.
    fn warm_up(&mut self) {
        let Ok(frame) = self.shared.context.defaults().frame(None) else { return };
        if let Some(permissions) = self.tool.permissions_for(&frame) {
            self.rebuild(&StoreKey { tenant_id: frame.tenant_id, permissions });
        }
    }

    fn serve(&mut self, call: Call) {
        if call.is_cancelled() {
            return call.reply.stay_silent();
        }
        if self.shared.is_interrupted() {
            return call.reply.answer(CallOutcome::Refused(Refusal::ShuttingDown));
        }
        let began = Instant::now();
        let deadline_ms = self.tool.loaded.manifest.limits.deadline.as_millis();
        if began >= call.deadline {
            return call.reply.answer(CallOutcome::Faulted(Fault::deadline(deadline_ms)));
        }
        let Call { request, tenant_id, reason_trace_id, permissions, deadline, cancel, reply } = call;
        if self.in_hand.hold(deadline, reply) {
            self.tell(WorkerMsg::Busy);
        }
        let key = StoreKey { tenant_id, permissions };
        let ended = self.run_guest(&key, request, deadline, &cancel);
        if self.in_hand.is_abandoned() {
            // The answer was given and the place taken while the guest was stuck.
            return;
        }
        let returned = matches!(ended, Ended::Returned(_));
        let fault = self.answer(ended, deadline_ms);
        self.tool.note_service(began.elapsed());
        self.stores.prune(!WarmStores::keeps(&self.tool));
        if !returned {
            self.renew_executor();
        }
        let rebuilt = self.rebuild(&key);
        if let Some(fault) = fault.filter(|fault| !fault.code.is_the_tools_word()) {
            self.report(&fault, rebuilt, reason_trace_id);
        }
    }

    fn run_guest(
        &mut self,
        key: &StoreKey,
        request: GuestRequest,
        deadline: Instant,
        cancel: &tokio_util::sync::CancellationToken,
    ) -> Ended {
        let Self { shared, tool, executor, stores, .. } = self;
        let _running = shared.engine.running();
        let sandbox = || tool.sandbox(&shared.policy, key.permissions);
        let guest = async {
            match tool.loaded.guest() {
                None => Err(Fault::new(FaultCode::WorkerLost, "the tool is not compiled yet; call it again")),
                Some(Guest::Command(pre)) => command::run(&shared.engine, pre, &sandbox(), request).await,
                Some(Guest::Tool(pre)) => {
                    let warm = stores.get_or_build(&shared.engine, pre, sandbox, key).await?;
                    warm.call(request).await
                }
            }
        };
        // The guest is polled first: a call that never waits touches no timer and no other future.
        let ended = executor.run(deadline, async {
            tokio::select! {
                biased;
                result = guest => Ended::Returned(result),
                () = cancel.cancelled() => Ended::Cancelled,
                () = shared.interrupted() => Ended::Interrupted,
            }
        });
        ended.unwrap_or(Ended::DeadlinePassed)
    }

    /// Answers the call in hand, unless its actor has done so; returns the fault that was met, if any.
    fn answer(&mut self, ended: Ended, deadline_ms: u128) -> Option<Fault> {
        let ended = match ended {
            Ended::Returned(result) => Some(result),
            Ended::DeadlinePassed => Some(Err(Fault::deadline(deadline_ms))),
            Ended::Interrupted => Some(Err(Fault::new(
                FaultCode::WorkerLost,
                "the server is shutting down and stopped the tool; it may have done part of its work",
            ))),
            Ended::Cancelled => None,
        };
        let fault = ended.as_ref().and_then(|result| result.as_ref().err().cloned());
        if let Some(reply) = self.in_hand.release() {
            match ended {
                Some(Ok(output)) => reply.answer(CallOutcome::Finished(output)),
                Some(Err(fault)) => reply.answer(CallOutcome::Faulted(fault)),
                None => reply.stay_silent(),
            }
        }
        fault
    }

    /// After a call that did not return: a file operation of it may never come back, and must not hold up the next.
    fn renew_executor(&mut self) {
        self.too_many_zombies = self.tool.zombies.count() >= defaults::ZOMBIES;
        let left = self.executor.renew().expect("the system gives a new executor the resources of the old");
        if let Some(threads) = left {
            self.tool.zombies.leave_behind(threads);
        }
    }

    /// Says in the supervision log and on the bus that a call met a fault, and what was done about it.
    fn report(&self, fault: &Fault, rebuilt: Option<Duration>, trace_id: Arc<str>) {
        self.shared.bus.publish(Event::CallFaulted { tool: Arc::clone(&self.tool.name), code: fault.code });
        self.shared.log.record(Record {
            level: Some("L1"),
            incarnation: Some(self.slot().incarnation.load(Ordering::SeqCst)),
            reason: Some(Reason::new(fault.code.as_str(), fault.detail.clone(), &fault.message)),
            restart: rebuilt.map(|took| Restart { took_us: Some(took.as_micros() as u64), ..Restart::new("store") }),
            queue_depth: Some(self.tool.lane.depth()),
            trace_id: Some(trace_id),
            ..Record::new("call_faulted", self.tool.worker_path(self.index))
        });
    }

    /// Builds the Store for `key` if the tool is warm and it is missing, and says how long that took; a failure is left
    /// for the next call to meet and report.
    fn rebuild(&mut self, key: &StoreKey) -> Option<Duration> {
        let Self { shared, tool, executor, stores, .. } = self;
        let Some(Guest::Tool(pre)) = tool.loaded.guest() else { return None };
        if !WarmStores::keeps(tool) || stores.has(key) || shared.is_interrupted() {
            return None;
        }
        let began = Instant::now();
        let _running = shared.engine.running();
        let sandbox = || tool.sandbox(&shared.policy, key.permissions);
        let built = executor.run(began + REBUILD_DEADLINE, async {
            stores.get_or_build(&shared.engine, pre, sandbox, key).await.map(drop)
        });
        matches!(built, Ok(Ok(()))).then(|| began.elapsed())
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
