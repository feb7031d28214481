//! The Model Context Protocol over stdio, in both its eras: clients that begin with `initialize` (2024-11-05 to
//! 2025-11-25) and clients that send their version with every request (2026-07-28).
//!
//! rmcp does types, lifecycle and versions. Ours is what a server for many clients needs on top: [`transport`] (what
//! comes in is screened by [`framing`] and [`envelope`], what is owed is kept in [`tickets`], what goes out passes the
//! [`connection`]), [`admission`], and [`error`], the only place where a failure becomes a code.
//!
//! Invariant: exactly one answer for every request that is not cancelled, none for one that is.

pub mod admission;
pub mod call_span;
pub mod caught;
pub mod coalescing;
pub mod connection;
pub mod direct;
pub mod ending;
pub mod envelope;
pub mod error;
pub mod framing;
pub mod handler;
pub mod once;
pub mod outbox;
pub mod session;
pub mod stdio;
pub mod text_answer;
pub mod tickets;
pub mod tool_list;
pub mod tools;
pub mod transport;
pub mod witness;
