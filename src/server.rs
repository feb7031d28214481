//! One stdio connection, served to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rmcp::ServiceExt;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::mcp::connection::Connection;
use crate::mcp::error;
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
    /// A bug of ours ended the session; everything owed was answered with that.
    Failed,
}

/// Serves the client behind `stdio` until its input ends, `stop` is cancelled or it goes away, and everything owed is
/// written.
pub async fn serve(runtime: &Runtime, config: &Config, stdio: Stdio, stop: CancellationToken) -> Ended {
    let connection = Arc::new(Connection::new(stdio.output));
    let transport = StdioTransport::new(
        stdio.input,
        Arc::clone(&connection),
        Arc::clone(&runtime.shared),
        stop,
        &config.performance,
        config.shutdown.clone(),
    );
    tokio::spawn(Arc::clone(&connection).write());
    tokio::spawn(Arc::clone(&connection).watch_deadlines(Arc::clone(&runtime.shared)));
    let handler = ToolHandler::new(Arc::clone(&runtime.shared), connection.output_gauge());
    let session = tokio::spawn(async move {
        match handler.serve(transport).await {
            Ok(service) => service.waiting().await.map(drop),
            // The input ended before any request: nothing was owed.
            Err(error) => {
                tracing::debug!(%error, "no session was started");
                Ok(())
            }
        }
    });
    let (finish, failed) = (Arc::clone(&connection), Arc::new(AtomicBool::new(false)));
    let has_failed = Arc::clone(&failed);
    tokio::spawn(async move {
        // Either task may have panicked: ours, or the one rmcp runs the session in.
        if !matches!(session.await, Ok(Ok(()))) {
            tracing::error!("the session failed; answering what is owed and ending");
            has_failed.store(true, Ordering::SeqCst);
            finish.answer_what_is_owed(&error::host_bug());
        }
        finish.finish();
    });
    // Not the service's end: it waits for handlers that may be stuck, and nothing is owed to those any more.
    connection.finished(FLUSH).await;
    match connection.is_broken() {
        _ if failed.load(Ordering::SeqCst) => Ended::Failed,
        true => Ended::ClientGone,
        false if connection.is_given_up() => Ended::GivenUp,
        false => Ended::Clean,
    }
}
