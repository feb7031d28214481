//! nurones-mcp: MCP tools as WASI guests, each in a warm, supervised sandbox.
//!
//! ```text
//!  stdin ─► reader ─► rmcp service ─► handler ── Call ──► lane (bounded) ─► worker thread
//!           screens,    both eras      admits,                               owns warm Stores
//!           tickets                    waits for its reply                    │ guest call
//!                                        ▲                                    │
//!                                        └──────────── reply ◄────────────────┘
//!  stdout ◄─ writer ◄────────────────────┘
//!
//!  root ══ event bus, context, tools ══ one supervisor per tool ══ one actor per worker thread
//! ```
//!
//! A call crosses one mailbox and comes back without passing through an actor. Full means an immediate answer.
//!
//! # Layout
//!
//! - [`config`]: every knob; flags, environment, file and defaults.
//! - [`wasi`]: the sandbox; what a guest may see and use. Knows no MCP.
//! - [`actors`]: supervisors, lanes, workers. Knows no JSON-RPC.
//! - [`policy`]: who may call which tool, and what that may reach.
//! - [`pins`]: what tools were accepted as, and whose modules are trusted; below `wasi`, which goes by it.
//! - [`mcp`]: the protocol over stdio.
//! - [`redact`]: what must not leave the process is taken out of everything but answers. Pure; below all others.
//! - [`frame`]: the ContextFrame, what a call is bound to. [`fields`]: JSON objects read with all their mistakes.
//! - [`events`]: what happens, told to whoever wants to know. Knows nothing else of ours.
//! - [`journal`]: those of them that outlive the server.
//! - [`keyed`]: calls that are made once, however often they are asked for. [`private_folder`]: where such things are kept.
//! - [`load`]: the load generator. Knows MCP's wire and nothing else of ours.
//! - [`trail`]: the audit trail, who called what and to what end, in a chain that shows what was altered. Below all but
//!   `config`, `redact` and `private_folder`.
//! - [`failpoint`]: where fault drills make the server fail on purpose. [`drill`]: those drills, which know the server
//!   from outside only.
//! - [`audit`]: the supervision log read back, checked and drawn. Knows the log's contract and nothing else of ours.
//! - [`tuning`]: the context engine, which moves the tools' knobs a little. Knows nothing of ours.
//! - [`telemetry`]: the log, and spans for a collector.
//! - [`runtime`]: builds all this and takes it down. [`server`]: serves one connection. [`cli`]: the commands.
//!
//! # Where to begin
//!
//! `actors/message.rs` says who says what to whom. Then follow one call: `mcp/handler.rs` → `mcp/admission.rs` →
//! `actors/lane.rs` → `actors/worker_thread.rs` → `wasi/warm.rs`, and back through `actors/reply.rs`.

pub mod actors;
pub mod audit;
pub mod cli;
pub mod config;
pub mod drill;
pub mod events;
pub mod failpoint;
pub mod fields;
pub mod frame;
pub mod journal;
pub mod keyed;
pub mod load;
pub mod mcp;
pub mod pins;
pub mod policy;
pub mod private_folder;
pub mod redact;
pub mod runtime;
pub mod server;
pub mod telemetry;
pub mod trail;
pub mod tuning;
pub mod wasi;
