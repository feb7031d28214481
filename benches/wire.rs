//! The steps between the pipe and the lane, and the event bus: framing beside a split at newlines, admission beside making
//! text of the arguments and sending it, an event published beside an event sent. And lines
//! of the log as they are redacted.

#[path = "parts/admitter.rs"]
mod admitter;
#[path = "parts/compare.rs"]
mod compare;
#[path = "parts/redaction.rs"]
mod redaction;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use nurones_mcp::actors::event_bus::{EventBus, EventBusActor};
use nurones_mcp::events::{Class, Event};
use nurones_mcp::mcp::framing::{Frame, Framer};
use ractor::Actor;
use tokio::sync::mpsc;

use admitter::Admitter;
use compare::{Compare, timed};

fn main() -> ExitCode {
    let mut compare = Compare::new("wire");
    framing(&mut compare);
    admission(&mut compare);
    events(&mut compare);
    redaction::lines(&mut compare);
    compare.finish()
}

/// A block of requests as it comes out of a pipe, cut into lines; a call is the whole block.
fn framing(compare: &mut Compare) {
    const BLOCK_BYTES: usize = 64 << 10;
    let line = br#"{"jsonrpc":"2.0","id":12345,"method":"tools/call","params":{"name":"fs_read","arguments":{"path":"file.txt"}}}"#;
    let lines = BLOCK_BYTES / (line.len() + 1);
    let block: Vec<u8> = [&line[..], b"\n"].concat().repeat(lines);
    let mut framer = Framer::new(4 << 20, 64 << 20);
    let mut copy = Vec::new();
    compare.pair(
        "framing",
        |blocks| {
            timed(blocks, || {
                framer.buffer().extend_from_slice(&block);
                let mut found = 0;
                while let Some(Frame::Line(line)) = framer.next_frame() {
                    black_box(line);
                    found += 1;
                }
                assert_eq!(found, lines);
            })
        },
        |blocks| {
            timed(blocks, || {
                copy.clear();
                copy.extend_from_slice(&block);
                let (mut found, mut start) = (0, 0);
                for end in memchr::memchr_iter(b'\n', &copy) {
                    black_box(&copy[start..end]);
                    (start, found) = (end + 1, found + 1);
                }
                assert_eq!(found, lines);
            })
        },
    );
}

/// A call let in: frame, rights, schema, gate and lane; then taken out of the lane again.
fn admission(compare: &mut Compare) {
    let admitter = Admitter::new();
    let (sender, receiver) = crossbeam_channel::bounded(1024);
    compare.pair(
        "admission",
        |calls| admitter.admit(calls),
        |calls| {
            let arguments = admitter.arguments();
            timed(calls, || {
                let text = serde_json::to_string(&arguments).expect("arguments are JSON");
                sender.try_send(text).expect("there is room");
                receiver.recv()
            })
        },
    );
}

/// An event to one subscriber.
fn events(compare: &mut Compare) {
    const AT_ONCE: u64 = 256;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
    let bus = EventBus::default();
    runtime.block_on(Actor::spawn(None, EventBusActor, bus.clone())).expect("the bus can be started");
    let mut subscription = bus.subscribe(Class::Normal, 1024, None);
    let (sender, mut receiver) = mpsc::channel(1024);
    let event = || Event::new("call_faulted", "t".into(), Class::Normal);
    let ours = |events: u64| {
        runtime.block_on(async {
            let began = Instant::now();
            let mut left = events;
            while left > 0 {
                let now = left.min(AT_ONCE);
                (0..now).for_each(|_| _ = bus.publish(event()).expect("there is room"));
                let mut told = 0;
                while told < now {
                    match subscription.next(Some(began)) {
                        Ok(batch) => told += black_box(batch).len() as u64,
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
                left -= now;
            }
            began.elapsed()
        })
    };
    let bare = |events: u64| {
        runtime.block_on(async {
            let began = Instant::now();
            let mut left = events;
            while left > 0 {
                let now = left.min(AT_ONCE);
                (0..now).for_each(|_| sender.try_send(event()).expect("there is room"));
                for _ in 0..now {
                    black_box(receiver.recv().await.expect("the sender lives"));
                }
                left -= now;
            }
            began.elapsed()
        })
    };
    compare.pair("event", ours, bare);
}
