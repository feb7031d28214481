//! Why nothing could be measured.

use thiserror::Error;

/// Why nothing could be measured; every message says what to do.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The plan asks for what cannot be done.
    #[error("{0}")]
    Plan(String),
    /// The server's program cannot be run.
    #[error("cannot start the server {program}: {source}; check that it is there and may be run")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread of the generator cannot be started.
    #[error("cannot start a thread: {0}; free some memory or raise the limit on threads")]
    Thread(std::io::Error),
    /// The server did not answer, or ended, before anything was measured.
    #[error("{step}: {what}; check that the command is an MCP server that speaks over standard input and output")]
    Silent {
        /// What was being done.
        step: &'static str,
        /// What happened instead, with the server's last words.
        what: String,
    },
    /// The server refused the handshake.
    #[error(
        "the handshake failed: asked for protocol version {version}, the server says: {error}; if it speaks another \
         version, name that with --protocol"
    )]
    Handshake {
        /// What the server said.
        error: String,
        /// The version it was asked for.
        version: &'static str,
    },
    /// The server has no such tool.
    #[error("the server has no tool {tool}; choose one of its tools with --tool or --call: {known}")]
    UnknownTool {
        /// The tool that was asked for.
        tool: String,
        /// The tools there are.
        known: String,
    },
    /// The first call failed, so all would.
    #[error("the first call of {tool} failed: {what}; give arguments that work with --args or --call")]
    FirstCall {
        /// The tool.
        tool: String,
        /// What the server said.
        what: String,
    },
    /// One of the servers that are compared could not be measured.
    #[error("{name}: {source}")]
    Compared {
        /// The server.
        name: String,
        /// Why.
        source: Box<LoadError>,
    },
    /// The observer stopped it before anything was measured.
    #[error(
        "stopped before anything was measured, so there are no figures and nothing that was asserted holds; let it run \
         longer, or choose a shorter --warm-up"
    )]
    Stopped,
}
