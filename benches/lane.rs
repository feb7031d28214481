//! The way of a call to its worker and back, without a guest: the lane and the reply, beside a bounded crossbeam channel
//! and a tokio oneshot.

#[path = "parts/compare.rs"]
mod compare;

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use nurones_mcp::actors::bulkhead::Bulkhead;
use nurones_mcp::actors::gatekeeper::LetIn;
use nurones_mcp::actors::lane::{Lane, LaneSettings, Received};
use nurones_mcp::actors::message::{Call, CallOutcome, Deadline};
use nurones_mcp::actors::output_gauge::OutputGauge;
use nurones_mcp::actors::reply::{Answer, Reply};
use nurones_mcp::config::{CodelPolicy, defaults};
use nurones_mcp::frame::{ContextFrame, FrameDefaults};
use nurones_mcp::wasi::call::{GuestOutput, GuestRequest};
use nurones_mcp::wasi::manifest::Permissions;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use compare::{Compare, timed};

/// Calls a lane holds, as by default.
const DEPTH: usize = 1024;

fn main() -> ExitCode {
    let mut compare = Compare::new("lane");
    lane(&mut compare);
    lane_and_reply(&mut compare);
    hop(&mut compare);
    compare.finish()
}

/// A lane as every tool has it.
fn new_lane() -> Lane {
    Lane::new(LaneSettings {
        depth: Arc::new(DEPTH.into()),
        places: DEPTH,
        workers: 1,
        codel: Some(CodelPolicy { target: defaults::CODEL_TARGET, interval: defaults::CODEL_INTERVAL }),
        bulkhead: Arc::new(Bulkhead::new(defaults::MAX_INFLIGHT)),
        cancellations: Arc::default(),
    })
}

/// The next call of the lane, waiting as a worker does.
fn next(lane: &Lane) -> Option<Call> {
    match lane.recv(Duration::from_secs(300), || {}) {
        Received::Call(call) => Some(call),
        Received::Shed(_) | Received::Nothing | Received::Closed => None,
    }
}

/// Into the lane and out again on one thread: what the lane itself costs.
fn lane(compare: &mut Compare) {
    let lane = new_lane();
    let (sender, receiver) = bounded(DEPTH);
    let (call, _answer) = Caller::new().call();
    // Both halves use the one call, in turn.
    let call = Cell::new(Some(call));
    compare.pair(
        "lane",
        |calls| {
            timed(calls, || {
                lane.try_send(call.take().expect("it came back")).expect("there is room");
                call.set(next(&lane));
            })
        },
        |calls| {
            timed(calls, || {
                sender.try_send(call.take().expect("it came back")).expect("there is room");
                call.set(receiver.recv().ok());
            })
        },
    );
}

/// A call made, sent, taken and answered on one thread: everything but the wake-ups, which differ from moment to moment.
fn lane_and_reply(compare: &mut Compare) {
    let (lane, caller) = (new_lane(), Caller::new());
    let (sender, receiver) = bounded::<oneshot::Sender<CallOutcome>>(DEPTH);
    compare.pair(
        "lane_and_reply",
        |calls| {
            hops(calls, async || {
                let (call, mut answer) = caller.call();
                lane.try_send(call).expect("there is room");
                next(&lane).expect("it was sent").reply.answer(outcome());
                answer.wait().await
            })
        },
        |calls| {
            hops(calls, async || {
                let (reply, answer) = oneshot::channel();
                sender.try_send(reply).expect("there is room");
                receiver.recv().expect("it was sent").send(outcome()).expect("somebody waits");
                answer.await.expect("it was answered")
            })
        },
    );
}

/// To a thread that answers at once, and back to a task that waits. Mostly the two wake-ups.
fn hop(compare: &mut Compare) {
    let (lane, caller) = (Arc::new(new_lane()), Caller::new());
    let calls = Arc::clone(&lane);
    let our_worker = worker(move || {
        while let Some(call) = next(&calls) {
            call.reply.answer(outcome());
        }
    });
    let (sender, receiver) = bounded::<oneshot::Sender<CallOutcome>>(DEPTH);
    let bare_worker = worker(move || receiver.iter().for_each(|reply| reply.send(outcome()).expect("somebody waits")));
    compare.pair(
        "lane_hop",
        |calls| {
            hops(calls, async || {
                let (call, mut answer) = caller.call();
                lane.try_send(call).expect("there is room");
                answer.wait().await
            })
        },
        |calls| {
            hops(calls, async || {
                let (reply, answer) = oneshot::channel();
                sender.try_send(reply).expect("there is room");
                answer.await.expect("the worker answers")
            })
        },
    );
    lane.close();
    drop(sender);
    our_worker.join().expect("the worker does not panic");
    bare_worker.join().expect("the worker does not panic");
}

/// Makes `calls` calls one after the other on a runtime as the control plane has it; returns how long they took.
fn hops(calls: u64, mut call: impl AsyncFnMut() -> CallOutcome) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let began = Instant::now();
        for _ in 0..calls {
            assert_ne!(call().await, CallOutcome::Lost);
        }
        began.elapsed()
    })
}

fn worker(serve: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name("worker".to_owned()).spawn(serve).expect("a thread can be started")
}

fn outcome() -> CallOutcome {
    CallOutcome::Finished(GuestOutput::text("x"))
}

/// Makes calls as admission does, without looking at them. What calls share in it is shared by no two calls in flight,
/// as in the server: counters that two threads fight over would be measured otherwise.
struct Caller {
    requests: Vec<(Arc<ContextFrame>, CancellationToken)>,
    next: Cell<usize>,
    output: Arc<OutputGauge>,
}

impl Caller {
    fn new() -> Self {
        let frame = || Arc::new(FrameDefaults::built_in().frame(None).expect("the defaults are a frame"));
        let requests = (0..DEPTH).map(|_| (frame(), CancellationToken::new())).collect();
        Self { requests, next: Cell::new(0), output: Arc::default() }
    }

    fn call(&self) -> (Call, Answer) {
        let (frame, cancel) = &self.requests[self.next.get()];
        self.next.set((self.next.get() + 1) % self.requests.len());
        let (reply, answer) = Reply::new();
        let deadline = Deadline::starting_now(Duration::from_secs(10), None);
        let call = Call {
            request: GuestRequest {
                arguments: "{}".to_owned(),
                frame: Arc::clone(frame),
                deadline: deadline.at,
                progress: None,
                story: None,
            },
            charged: None,
            permissions: Permissions::default(),
            deadline,
            let_in: LetIn::free(),
            output: Arc::clone(&self.output),
            cancel: cancel.clone(),
            reply,
        };
        (call, answer)
    }
}
