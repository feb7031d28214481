//! The supervision tree under fire: actors are killed, a thread gets stuck, and calls go on.
//!
//! These look inside, as a client can neither kill an actor nor see whether a Store survived. The probe guest counts
//! the calls of its instance: a count that goes on is a Store that was kept, a count of 1 a new one.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ractor::{ActorCell, ActorId};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::actors::message::CallOutcome;
use crate::actors::output_gauge::OutputGauge;
use crate::actors::tool_table::ToolEntry;
use crate::config::{Flags, defaults};
use crate::mcp::admission::{self, Asked, Denied};
use crate::wasi::call::Content;
use crate::wasi::error::FaultCode;

/// A hang becomes a failure after this.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with the probe, whose calls have half a second.
struct Tree {
    runtime: Runtime,
    folder: tempfile::TempDir,
}

impl Tree {
    /// `blocking_io` lets the probe's file operations block its worker's own thread, as only embedded guests may.
    async fn start(blocking_io: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prebuilt = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/prebuilt/probe.wasm");
        let manifest = json!({
            "name": "probe", "version": "1.1.0", "entry": format!("wasm://{}", prebuilt.display()),
            "permissions": ["read"], "deadline_ms": 500
        });
        std::fs::write(folder.path().join("probe.json"), manifest.to_string()).unwrap();
        let flags = Flags {
            tools: vec![folder.path().to_owned()],
            allow: vec![folder.path().to_str().unwrap().to_owned()],
            supervision_log: Some(folder.path().join("log.jsonl")),
            ..Flags::default()
        };
        let config = Config::resolve(&flags, |_| None, folder.path()).unwrap();
        let loader = loader(&config, CompileIn::Thread).unwrap();
        let mut catalogue = Catalogue::read(&loader, &config.manifest_folders);
        assert!(catalogue.refused.is_empty(), "{:?}", catalogue.refused);
        for tool in &mut catalogue.tools {
            Arc::get_mut(tool).unwrap().trusted_io |= blocking_io;
        }
        catalogue.load_all().await;
        Self { runtime: Runtime::start_with(&config, loader, catalogue).await.unwrap(), folder }
    }

    fn probe(&self) -> &ToolEntry {
        self.runtime.shared.table.get("probe").unwrap()
    }

    async fn call(&self, arguments: serde_json::Value) -> CallOutcome {
        self.call_from(&Arc::default(), arguments).await
    }

    /// A call of a client that has yet to read `output`.
    async fn call_from(&self, output: &Arc<OutputGauge>, arguments: serde_json::Value) -> CallOutcome {
        let frame = self.runtime.shared.context.defaults().frame(None).unwrap().into();
        let arguments = arguments.as_object().unwrap().clone();
        let shared = &self.runtime.shared;
        let cancel = CancellationToken::new();
        let asked = Asked { arguments, frame: &frame, cancel, output, progress: None, story: None };
        match admission::admit(shared, self.probe(), asked).await {
            Ok(mut admitted) => tokio::time::timeout(PATIENCE, admitted.answer.wait()).await.expect("an answer"),
            Err(Denied::Fault(fault)) => CallOutcome::Faulted(fault),
            Err(Denied::Protocol(error)) => panic!("{error}"),
        }
    }

    /// How many calls the probe's instance has served, this one included.
    async fn count(&self) -> u64 {
        match self.call(json!({"verb": "count"})).await {
            CallOutcome::Finished(output) => match output.content.as_slice() {
                [Content::Text(text)] => text.parse().unwrap(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// The actor that owns the probe's thread, once there is one other than `not`.
    async fn worker(&self, not: Option<ActorId>) -> ActorCell {
        let slot = &self.probe().slots[0];
        until("a worker", || {
            let owner = slot.owner.lock().as_ref().map(|owner| owner.get_cell());
            owner.filter(|owner| Some(owner.get_id()) != not && slot.supervised.load(Ordering::SeqCst))
        })
        .await
    }

    fn logged(&self, event: &str) -> usize {
        self.runtime.shared.log.flush(PATIENCE);
        let log = std::fs::read_to_string(self.folder.path().join("log.jsonl")).unwrap();
        log.lines().filter(|line| line.contains(&format!(r#""event":"{event}""#))).count()
    }
}

/// Lets everything else run until `look` finds something.
async fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        // Timers of the actors need the clock to move as well as the scheduler.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn supervisor_of(cell: &ActorCell) -> ActorCell {
    cell.try_get_supervisor().expect("a supervised actor")
}

#[tokio::test]
async fn a_killed_worker_actor_is_replaced_and_its_store_is_kept() {
    let tree = Tree::start(false).await;
    assert_eq!(tree.count().await, 1);
    let worker = tree.worker(None).await;
    worker.kill();
    tree.worker(Some(worker.get_id())).await;
    assert_eq!(tree.count().await, 2, "the Store was dropped with the actor");
    assert_eq!((tree.logged("child_exited"), tree.logged("restart_scheduled")), (1, 1));
}

#[tokio::test]
async fn a_killed_tool_supervisor_is_replaced_and_the_thread_taken_over() {
    let tree = Tree::start(false).await;
    assert_eq!(tree.count().await, 1);
    let worker = tree.worker(None).await;
    supervisor_of(&worker).kill();
    tree.worker(Some(worker.get_id())).await;
    assert_eq!(tree.count().await, 2);
}

#[tokio::test]
async fn the_death_of_every_control_actor_is_survived_while_calls_run() {
    let tree = Tree::start(false).await;
    assert_eq!(tree.count().await, 1);
    let worker = tree.worker(None).await;
    let tools = supervisor_of(&supervisor_of(&worker));
    let root = supervisor_of(&tools);
    let (asleep, ()) = tokio::join!(tree.call(json!({"verb": "sleep", "ms": 200})), async {
        for child in root.get_children() {
            child.kill();
        }
        tree.worker(Some(worker.get_id())).await;
    });
    assert!(matches!(asleep, CallOutcome::Finished(_)), "{asleep:?}");
    assert_eq!(tree.count().await, 3, "two calls and the sleep went to the one Store");
    let restarted = until("restarts", || Some(tree.logged("restart_ok")).filter(|restarts| *restarts >= 3)).await;
    assert!(restarted >= 3, "event bus, context and tools supervisor");
    assert!(!tree.runtime.shared.escalated().is_cancelled());
}

#[tokio::test]
async fn a_control_actor_that_keeps_dying_ends_the_process() {
    let tree = Tree::start(false).await;
    assert_eq!(tree.count().await, 1);
    let worker = tree.worker(None).await;
    let root = supervisor_of(&supervisor_of(&supervisor_of(&worker)));
    let mut killed = Vec::new();
    while !tree.runtime.shared.escalated().is_cancelled() {
        let next = root.get_children().into_iter().find(|child| !killed.contains(&child.get_id()));
        if let Some(child) = next {
            killed.push(child.get_id());
            child.kill();
        }
        assert!(killed.len() < 20, "many deaths and no escalation");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(tree.logged("escalated"), 1);
}

#[tokio::test]
async fn a_thread_stuck_in_the_system_is_answered_for_and_replaced() {
    let tree = Tree::start(true).await;
    assert_eq!(tree.count().await, 1);
    let pipe = tree.folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let stuck = tree.call(json!({"verb": "read", "path": pipe})).await;
    assert!(matches!(&stuck, CallOutcome::Faulted(fault) if fault.code == FaultCode::DeadlineExceeded), "{stuck:?}");
    assert_eq!(tree.count().await, 1, "the next call meets a new thread with a new Store");
    assert_eq!(tree.probe().zombies.count(), 1);
    // The answer does not wait for the supervisor to note that the new thread is up.
    until("the record of the restart", || (tree.logged("restart_ok") == 1).then_some(())).await;
    // Somebody opens the other end: the stuck thread comes back, finds itself replaced, and ends.
    drop(std::fs::OpenOptions::new().write(true).open(&pipe).unwrap());
    until("the thread's return", || (tree.probe().zombies.count() == 0).then_some(())).await;
    assert_eq!(tree.count().await, 2);
}

#[tokio::test]
async fn the_end_leaves_no_worker_and_records_every_stop() {
    let tree = Tree::start(false).await;
    assert_eq!(tree.count().await, 1);
    tree.worker(None).await;
    let Tree { runtime, folder } = tree;
    let log = runtime.shared.log.clone();
    assert_eq!(runtime.stop(PATIENCE).await, 0);
    log.flush(PATIENCE);
    let log = std::fs::read_to_string(folder.path().join("log.jsonl")).unwrap();
    let stopped: Vec<String> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["event"] == "child_stopped")
        .map(|line| line["path"].as_str().unwrap().to_owned())
        .collect();
    let reverse = ["root/tools/probe/w0", "root/tools/probe", "root/tools", "root/context", "root/event_bus"];
    assert_eq!(stopped, reverse, "tools that were never called had nothing to stop");
}

#[tokio::test]
async fn a_tool_has_neither_actor_nor_thread_before_its_first_call() {
    let tree = Tree::start(false).await;
    let shared = &tree.runtime.shared;
    until("the tools' supervisor", || shared.census.actor("root/tools")).await;
    assert_eq!(shared.table.live_workers(), 0);
    assert!(shared.census.actor("root/tools/probe").is_none());
    assert_eq!(tree.count().await, 1);
    tree.worker(None).await;
    assert_eq!(shared.table.live_workers(), 1, "the other tools sleep on");
}

#[tokio::test]
async fn a_tool_whose_first_call_finds_no_supervisor_is_woken_by_the_next_one() {
    let tree = Tree::start(false).await;
    let tools = until("the tools' supervisor", || tree.runtime.shared.census.actor("root/tools")).await;
    tools.kill();
    assert_eq!(tree.count().await, 1, "the call waited for a successor");
    let worker = tree.worker(None).await;
    worker.kill();
    tree.worker(Some(worker.get_id())).await;
    assert_eq!(tree.count().await, 2);
}

#[tokio::test]
async fn a_client_that_does_not_read_has_its_calls_refused_until_it_does() {
    let server = Tree::start(false).await;
    let (deaf, reading) = (Arc::new(OutputGauge::default()), Arc::new(OutputGauge::default()));
    deaf.waits(defaults::OUTPUT_REFUSE_BYTES);
    let echo = || json!({"verb": "echo", "text": "x"});
    assert_eq!(server.call_from(&deaf, echo()).await, CallOutcome::Refused(Refusal::Inflight));
    assert!(matches!(server.call_from(&reading, echo()).await, CallOutcome::Finished(_)));
    deaf.written(defaults::OUTPUT_REFUSE_BYTES);
    assert!(matches!(server.call_from(&deaf, echo()).await, CallOutcome::Finished(_)));
    let refused: Vec<_> = server.probe().sheds.counts().filter(|(_, count)| *count > 0).collect();
    assert_eq!(refused, [("inflight", 1)]);
}
