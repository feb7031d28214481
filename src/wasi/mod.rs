//! The sandbox: how bytes become a guest, what a guest may see and use, and how a call into it ends.
//!
//! By default a guest gets nothing: no files, no network, no environment, no arguments, no stdio of the server. What
//! it gets comes from three places that can only narrow one another: the user's [`sandbox::Policy`], the tool's
//! [`manifest::Manifest`], and the ContextFrame of the call.
//!
//! Before a call: the [`catalogue`] is the list of [`lazy_tool`]s, made of manifests and [`sightings`] of modules; the
//! [`loader`] turns the module of one that is needed
//! into a [`guest`], by way of the [`cache`] or the [`compiler`]. An [`inspection`] does all that for a person to see.
//!
//! One call: a worker holds a [`warm::WarmInstance`] (or runs a
//! [`command`]) in a [`store`] bounded by [`limits`], on its own [`executor`]; what comes out is a
//! [`call::GuestOutput`] or an [`error::Fault`].
//!
//! Invariant: nothing in this folder knows MCP or actors.

pub mod anatomy;
pub mod artefact;
pub mod cache;
pub mod cache_key;
pub mod call;
pub mod catalogue;
pub mod command;
pub mod compiler;
pub mod contract;
pub mod cpu_meter;
pub mod definition;
pub mod engine;
pub mod environment;
pub mod error;
pub mod executor;
pub mod files;
pub mod frame_view;
pub mod guest;
pub mod inspection;
pub mod lazy_tool;
pub mod limits;
pub mod loader;
pub mod manifest;
pub mod output;
pub mod regular_file;
pub mod sandbox;
pub mod schema;
mod shared_module;
pub mod sightings;
pub mod store;
pub mod vetting;
pub mod warm;
