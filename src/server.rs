//! One stdio connection, served to its end.

use std::sync::Arc;

use rmcp::ServiceExt;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::mcp::connection::Connection;
use crate::mcp::handler::ToolHandler;
use crate::mcp::stdio::Stdio;
use crate::mcp::transport::{FLUSH, StdioTransport};
use crate::runtime::Runtime;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything owed was written.
    Clean,
    /// The client closed its reading end while answers were owed to it.
    ClientGone,
    /// The client sent a line without end.
    GivenUp,
}

/// Serves the client behind `stdio` until its input ends, `stop` is cancelled or it goes away, and everything owed is
/// written.
pub async fn serve(runtime: &Runtime, config: &Config, stdio: Stdio, stop: CancellationToken) -> Ended {
    let connection = Arc::new(Connection::default());
    let transport = StdioTransport::new(
        stdio.input,
        Arc::clone(&connection),
        Arc::clone(&runtime.shared),
        stop,
        &config.performance,
        config.shutdown.clone(),
    );
    tokio::spawn(Arc::clone(&connection).write_to(stdio.output));
    let handler = ToolHandler::new(Arc::clone(&runtime.shared));
    let finish = Arc::clone(&connection);
    tokio::spawn(async move {
        match handler.serve(transport).await {
            Ok(service) => {
                let _ = service.waiting().await;
            }
            // The input ended before any request: nothing was owed.
            Err(error) => tracing::debug!(%error, "no session was started"),
        }
        finish.finish();
    });
    // Not the service's end: it waits for handlers that may be stuck, and nothing is owed to those any more.
    connection.finished(FLUSH).await;
    match connection.is_broken() {
        true => Ended::ClientGone,
        false if connection.is_given_up() => Ended::GivenUp,
        false => Ended::Clean,
    }
}
