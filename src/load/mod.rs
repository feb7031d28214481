//! The load generator: calls tools of MCP stdio servers at a set rate or with a set number in flight, and tells what came
//! back and how long it took; of several servers, how they compare.
//!
//! ```text
//!  caller ── plan ──► begin, tick, drain, end           every half second: usage from /proc
//!                       │        ▲ settled              every second: recent tallies, taken and put together
//!   each connection ┌───▼────────┴─────────────────────────┐
//!                   │ exchange: one lock around the ledger  │
//!                   └───┬───────────────────────────▲──────┘
//!                  what is due                  what was answered
//!                       ▼                            │
//!                    writer ──► server's stdin   reader ◄── server's stdout
//! ```
//!
//! Open loop: a call is due when the schedule says so, and its latency counts from then, whether or not the server (or
//! this program) was ready for it. So a stall is seen by every call that was due during it.
//!
//! The server usually shares this machine, so everything here is done in batches: one clock reading and one lock for
//! all answers of one read, one write for all calls that are due. It knows MCP's wire and nothing of our server.
//!
//! By noun: what to do is a [`Plan`] of [`Call`]s with [`Arguments`] at a [`Rate`]; `deal` says which call is whose turn,
//! `schedule` and `offer` when it is due; `ledger`, `recorder`, `tally` and `times` count; `parts` and `series` are the
//! [`Report`]'s rows; [`Metric`]s are what [`Claim`]s judge and [`compare()`] divides; `table` and [`page`] show.
//!
//! Fault drills make a load of their own that they can also disturb. They share the parts: [`Schedule`], [`Template`],
//! [`Lines`], [`Server`], [`wake_on_time`], [`cpu_of`].

mod arguments;
mod claim;
mod columns;
mod compare;
mod connection;
mod deal;
mod error;
mod exchange;
mod ledger;
mod lines;
mod metric;
mod offer;
pub mod page;
mod parts;
mod plan;
mod protocol;
mod rate;
mod reader;
mod recorder;
mod report;
mod requests;
mod run;
mod schedule;
mod series;
mod server;
mod session;
mod table;
mod tally;
mod template;
mod times;
mod usage;
mod wire;
mod writer;

pub use arguments::{Arguments, json_inside};
pub use claim::{Claim, Verdict};
pub use compare::{COMPARED, Comparison, Contender, Measured, Ratio, Ratios, Round, compare};
pub use error::LoadError;
pub use lines::Lines;
pub use metric::{Metric, Unit};
pub use parts::{CallShare, Step, StepMedian};
pub use plan::{Arrivals, Call, Mode, Plan, parse_duration, parse_rate};
pub use protocol::Protocol;
pub use rate::Rate;
pub use recorder::Seen;
pub use report::{Generator, Report, ServerUse};
pub use run::{Observer, Phase, Progress, run};
pub use schedule::Schedule;
pub use series::Second;
pub use server::Server;
pub use table::harmless;
pub use template::Template;
pub use times::Latency;
pub use usage::cpu_of;
pub use writer::wake_on_time;
