//! The sandbox: how bytes become a guest, what a guest may see and use, and how a call into it ends.
//!
//! By default a guest gets nothing: no files, no network, no environment, no arguments, no stdio of the server. What
//! it gets comes from three places that can only narrow one another: the user's [`sandbox::Policy`], the tool's
//! [`manifest::Manifest`], and the ContextFrame of the call.
//!
//! One call: [`catalogue`] has loaded the tool's [`guest`]; a worker holds a [`warm::WarmInstance`] (or runs a
//! [`command`]) in a [`store`] bounded by [`limits`], on its own [`executor`]; what comes out is a
//! [`call::GuestOutput`] or an [`error::Fault`].
//!
//! Invariant: nothing in this folder knows MCP or actors.

pub mod call;
pub mod catalogue;
pub mod command;
pub mod contract;
pub mod engine;
pub mod error;
pub mod executor;
pub mod guest;
pub mod limits;
pub mod manifest;
pub mod output;
pub mod sandbox;
pub mod schema;
pub mod store;
pub mod warm;
