//! The whole server, driven from outside: every test here starts the real executable and speaks MCP to it over stdio.
//!
//! What belongs here: what a client, a hostile guest or a person at the shell can observe. What does not: rules of
//! pure parts, which are tested beside them in `src/`.
//!
//! No test sleeps to wait for something, and none asserts how fast something is; a time limit only turns a hang into a
//! failure.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests: a panic is their failure")]

mod priorities;
mod rates;
mod support;

mod answer;
mod audit;
mod bad_input;
mod budgets;
mod call;
mod cancel;
mod cli;
mod collector;
mod commands;
mod compiling;
mod config;
mod context;
mod direct;
mod drill;
mod eof;
mod eras;
mod events;
mod frames;
mod fs_tools;
mod fs_write;
mod grants;
mod guests;
mod hostile_commands;
mod hygiene;
mod keyed;
mod lines;
mod load;
mod load_compare;
mod load_plans;
mod lock;
mod log;
mod manifests;
mod module_cache;
mod modules;
mod odd_files;
mod output;
mod overload;
mod policy;
mod process;
mod protocol;
mod quarantine;
mod redaction;
mod rmcp_client;
mod sandbox;
mod scale;
mod signatures;
mod snapshots;
mod starts;
mod stdio_kinds;
mod supervision;
mod telemetry;
mod tidy;
mod tuning;
mod validate;
mod waiting;
mod wat_guests;
