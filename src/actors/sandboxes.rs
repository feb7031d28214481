//! What a worker thread runs guests in: its executor, its warm Stores, and how both recover after a call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::message::ExitReason;
use super::shared::Shared;
use super::tool_table::ToolEntry;
use super::warm_stores::{StoreKey, WarmStores};
use crate::failpoint::points;
use crate::wasi::call::{GuestOutput, GuestRequest};
use crate::wasi::command;
use crate::wasi::error::{Fault, FaultCode};
use crate::wasi::executor::{DeadlinePassed, Executor};
use crate::wasi::guest::Guest;

/// How a guest call ended, seen from the thread.
pub enum Ended {
    /// The guest came back, or failed.
    Returned(Result<GuestOutput, Fault>),
    /// The client cancelled it.
    Cancelled,
    /// The server ends.
    Interrupted,
    /// It took too long.
    DeadlinePassed,
}

impl Ended {
    /// In a word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Returned(Ok(_)) => "returned",
            Self::Returned(Err(_)) => "faulted",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::DeadlinePassed => "deadline",
        }
    }
}

/// See the module documentation.
pub struct Sandboxes {
    shared: Arc<Shared>,
    tool: Arc<ToolEntry>,
    executor: Executor,
    stores: WarmStores,
}

impl Sandboxes {
    /// An executor and no Store yet.
    ///
    /// # Errors
    /// When the system refuses the executor its resources.
    pub fn new(shared: Arc<Shared>, tool: Arc<ToolEntry>) -> std::io::Result<Self> {
        Ok(Self { shared, tool, executor: Executor::new()?, stores: WarmStores::default() })
    }

    /// Builds the Store that most calls will want, if the tool is warm and compiled already. A worker's `first_life`
    /// begins with a call, which builds its own and is answered if that fails.
    ///
    /// # Errors
    /// A tool that cannot be instantiated: there is no use in taking calls for it.
    pub fn warm_up(&mut self, first_life: bool) -> Result<(), ExitReason> {
        points::WORKER_INIT
            .hit_for(&self.tool.published)
            .map_err(|injected| ExitReason::InitFailed(injected.to_string()))?;
        if first_life {
            return Ok(());
        }
        let Ok(frame) = self.shared.context.defaults().frame(None) else { return Ok(()) };
        match self.tool.permissions_for(&frame) {
            Some(permissions) => self.rebuild(&StoreKey { tenant_id: frame.tenant_id, permissions }).map(drop),
            None => Ok(()),
        }
        .map_err(|fault| ExitReason::InitFailed(fault.to_string()))
    }

    /// Runs the guest once, in the Store of `key` if it is a warm one. `not_at_once` is called if that takes longer than
    /// an epoch, or waits for something.
    pub fn run(
        &mut self,
        key: &StoreKey,
        request: GuestRequest,
        cancel: &CancellationToken,
        not_at_once: impl Fn(),
    ) -> Ended {
        let Self { shared, tool, executor, stores, .. } = self;
        let deadline = request.deadline;
        let _running = shared.engine.running();
        let sandbox = || tool.sandbox(&shared.policy, key.permissions);
        let guest = async {
            points::GUEST_ENTER
                .hit_for(&tool.published)
                .map_err(|injected| Fault::new(FaultCode::WorkerLost, injected.to_string()))?;
            match tool.loaded.guest() {
                None => Err(Fault::new(FaultCode::WorkerLost, "the tool is not compiled yet; call it again")),
                Some(Guest::Command(pre)) => command::run(&shared.engine, pre, &sandbox(), request).await,
                Some(Guest::Tool(pre)) => {
                    let most = request.frame.budget.memory_bytes;
                    let warm = stores.get_or_build(&shared.engine, pre, sandbox, key, most).await?;
                    warm.call(request).await
                }
            }
        };
        let waits = async {
            not_at_once();
            std::future::pending::<()>().await;
        };
        // The guest is polled first: a call that never waits touches no timer and no other future.
        let ended = executor.run(deadline, async {
            tokio::select! {
                biased;
                result = guest => Ended::Returned(result),
                () = cancel.cancelled() => Ended::Cancelled,
                () = waits => unreachable!("it never ends"),
                () = shared.interrupted() => Ended::Interrupted,
            }
        });
        ended.unwrap_or(Ended::DeadlinePassed)
    }

    /// Makes ready for the next call: Stores that are torn or worn go, and the one for `key` is built anew, after
    /// `before_building`. Says how long that took, if it was done.
    ///
    /// # Errors
    /// Why the worker cannot go on.
    pub fn recover(
        &mut self,
        key: &StoreKey,
        returned: bool,
        before_building: impl FnOnce(),
    ) -> Result<Option<Duration>, ExitReason> {
        // A leak, when a drill wants one.
        let _ = points::LEAK.hit_for(&self.tool.published);
        let torn = points::KEEP_TORN_STORE.hit_for(&self.tool.published).is_ok() && self.stores.drop_torn();
        if !WarmStores::keeps(&self.tool) {
            self.stores.drop_all();
        } else {
            let tool = &self.tool;
            self.stores.drop_worn(Instant::now(), tool.knobs.reuse_calls(), &tool.loaded.manifest.reuse);
        }
        if !returned {
            self.renew_executor()?;
        }
        if !self.stores.has(key) {
            before_building();
        }
        match self.rebuild(key) {
            Ok(took) => Ok(took.filter(|_| torn)),
            // Perhaps it is only this tenant's, or read-only; the worker stands as long as it can build its own.
            Err(_) if self.stores.is_empty() => self.warm_up(false).map(|()| None),
            Err(_) => Ok(None),
        }
    }

    /// Holds no memory while nobody calls.
    pub fn drop_all(&mut self) {
        self.stores.drop_all();
    }

    /// After a call that did not return: a file operation of it may never come back, and must not hold up the next.
    fn renew_executor(&mut self) -> Result<(), ExitReason> {
        let too_many = self.tool.zombies.count() >= self.shared.supervision.zombies;
        match self.executor.renew() {
            Ok(left) => left.into_iter().for_each(|threads| self.tool.zombies.leave_behind(threads)),
            Err(error) => return Err(ExitReason::InitFailed(format!("cannot make an executor anew: {error}"))),
        }
        if too_many { Err(ExitReason::Wedged) } else { Ok(()) }
    }

    /// Builds the Store for `key` if the tool is warm and it is missing, and says how long that took.
    fn rebuild(&mut self, key: &StoreKey) -> Result<Option<Duration>, Fault> {
        let Self { shared, tool, executor, stores, .. } = self;
        let Some(Guest::Tool(pre)) = tool.loaded.guest() else { return Ok(None) };
        if !WarmStores::keeps(tool) || stores.has(key) || shared.is_interrupted() {
            return Ok(None);
        }
        let began = Instant::now();
        let _running = shared.engine.running();
        let sandbox = || tool.sandbox(&shared.policy, key.permissions);
        let init_deadline = shared.supervision.init_deadline;
        let built = executor.run(began + init_deadline, async {
            stores.get_or_build(&shared.engine, pre, sandbox, key, None).await.map(drop)
        });
        built.unwrap_or_else(|DeadlinePassed| {
            let text = format!("the tool did not start within {} ms", init_deadline.as_millis());
            Err(Fault::new(FaultCode::DeadlineExceeded, text))
        })?;
        Ok(Some(began.elapsed()))
    }
}
