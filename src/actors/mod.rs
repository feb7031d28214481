//! The control plane: who watches whom, and the way of a call between the protocol and the sandbox.
//!
//! | actor | duty | mailbox | may wait on | on failure |
//! |---|---|---|---|---|
//! | [`root_supervisor`] | restarts the three below; gives up after 3 deaths in 30 s | few messages, own | nobody | the process ends with 70 |
//! | [`event_bus`] | fans events out | one message for all that waits | nobody | restarted; events wait for its successor, or are shed by class |
//! | [`context`] | writes the ContextFrame defaults; ends the context engine's windows | few messages | nobody | restarted; the last snapshot stands |
//! | [`tools_supervisor`] | one supervisor per tool that was called | few messages | nobody | restarted; threads serve on |
//! | [`tool_supervisor`] | restarts workers, with backoff and quarantine | few messages per worker | nobody | restarted; threads are taken over |
//! | [`tool_worker`] | watches the deadline of one thread | one timer message at a time | nobody | restarted; the thread is taken over |
//!
//! Calls do not go through these mailboxes, which ractor leaves unbounded. They go through the tool's [`lane`] to a
//! [`worker_thread`] and come back through a [`reply`]. What must survive an actor is in the [`tool_table`].
//!
//! Invariant: nothing in this folder knows JSON-RPC.

pub mod alarm_clock;
pub mod bulkhead;
pub mod census;
pub mod child;
pub mod child_spec;
pub mod codel;
pub mod context;
pub mod cpu_account;
pub mod event_bus;
pub mod fair_queue;
pub mod gate;
pub mod gatekeeper;
pub mod knobs;
pub mod lane;
#[cfg(test)]
mod lane_tests;
pub mod message;
pub mod meter;
pub mod output_gauge;
pub mod reply;
pub mod restart;
pub mod root_supervisor;
pub mod sandboxes;
pub mod shared;
pub mod sheds;
#[cfg(test)]
mod simulation;
pub mod supervision_log;
pub mod tenant_accounts;
pub mod token_bucket;
pub mod tool_supervisor;
pub mod tool_table;
pub mod tool_worker;
pub mod tools_supervisor;
pub mod tuning;
pub mod tuning_thread;
pub mod unsent;
pub mod warm_stores;
pub mod watermark;
pub mod worker_thread;
pub mod zombies;
