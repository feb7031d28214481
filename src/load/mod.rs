//! The load generator: calls one tool of an MCP stdio server at a set rate or with a set number in flight, and tells
//! what came back and how long it took.
//!
//! ```text
//!  caller ── plan ──► begin, tick, drain, end                        usage: /proc, twice a second
//!                       │        ▲ settled
//!                  ┌────▼────────┴─────────────────────────┐
//!                  │ exchange: one lock around the ledger   │
//!                  └────┬────────────────────────────▲─────┘
//!                  what is due                   what was answered
//!                       ▼                             │
//!                    writer ──► server's stdin   reader ◄── server's stdout
//! ```
//!
//! Open loop: a call is due when the schedule says so, and its latency counts from then, whether or not the server (or
//! this program) was ready for it. So a stall is seen by every call that was due during it.
//!
//! The server usually shares this machine, so everything here is done in batches: one clock reading and one lock for
//! all answers of one read, one write for all calls that are due. It knows MCP's wire and nothing of our server.
//!
//! Fault drills make a load of their own that they can also disturb. They share the parts: [`Schedule`], [`Template`],
//! [`Lines`], [`Server`], [`wake_on_time`], [`cpu_of`].

mod error;
mod exchange;
mod ledger;
mod lines;
mod plan;
mod reader;
mod recorder;
mod report;
mod run;
mod schedule;
mod server;
mod session;
mod table;
mod usage;
mod wire;
mod writer;

pub use error::LoadError;
pub use lines::Lines;
pub use plan::{Arrivals, Call, Mode, Plan, parse_duration};
pub use recorder::Seen;
pub use report::{Generator, Latency, Report, ServerUse};
pub use run::{Observer, Phase, Progress, run};
pub use schedule::Schedule;
pub use server::Server;
pub use usage::cpu_of;
pub use wire::Template;
pub use writer::wake_on_time;
