//! The server: standard input to standard output, until the client is done or the process is told to stop.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::drilled::{Channel, DrilledArgs};
use super::exit::{Exit, complain, run_on_control_plane};
use crate::config::Config;
use crate::mcp::stdio::Stdio;
use crate::runtime::Runtime;
use crate::server::{self, Ended};
use crate::telemetry::{self, otlp};

/// Serves one client over stdio, while a drill may do its worst.
pub fn run_drilled(config: &Config, args: &DrilledArgs) -> Exit {
    match Channel::open(args) {
        Ok(channel) => run(config, Some(channel)),
        Err(error) => {
            complain(&format!("the drill's pipes cannot be opened: {error}; `drilled` is for `drill` alone"));
            Exit::Usage
        }
    }
}

/// How long the last lines of the log may hold up the end that a second signal wants.
const AT_ONCE: Duration = Duration::from_millis(50);

/// Serves one client over stdio.
pub fn run(config: &Config, drill: Option<Channel>) -> Exit {
    // Before there is a runtime, and after: sending spans blocks.
    let traces = otlp::start();
    let exit = run_on_control_plane(serve(config, drill));
    if let Some(traces) = traces {
        traces.end();
    }
    exit
}

async fn serve(config: &Config, drill: Option<Channel>) -> Exit {
    if std::io::stdin().is_terminal() {
        tracing::info!("waiting for an MCP client on standard input; see --help for commands to use by hand");
    }
    // First of all: from here on nothing but the connection can write to the client.
    let stdio = match Stdio::take() {
        Ok(stdio) => stdio,
        Err(error) => {
            complain(&format!("standard input or output cannot be used: {error}"));
            return Exit::Usage;
        }
    };
    let stop = CancellationToken::new();
    if let Err(error) = stop_on_signals(&stop) {
        complain(&format!("signals cannot be handled: {error}"));
        return Exit::Internal;
    }
    let server = match Runtime::start(config).await {
        Ok(server) => server,
        Err(error) => {
            error.to_string().lines().for_each(complain);
            return Exit::Usage;
        }
    };
    if let Some(channel) = drill
        && let Err(error) = channel.serve(std::sync::Arc::clone(&server.shared))
    {
        complain(&format!("the drill's pipes cannot be served: {error}"));
        return Exit::Internal;
    }
    for refused in &server.refused {
        tracing::error!(manifest = %refused.source.display(), "not served: {}", refused.error);
    }
    let escalated = server.shared.escalated();
    let ended = {
        let stop_on_escalation = async {
            escalated.cancelled().await;
            stop.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = server::serve(&server, config, stdio, stop.clone()) => ended,
            () = stop_on_escalation => unreachable!("it never ends"),
        }
    };
    server.stop(config.shutdown.interrupt).await;
    match ended {
        _ if escalated.is_cancelled() => Exit::Internal,
        Ended::Failed => Exit::Internal,
        Ended::Clean => Exit::Done,
        Ended::ClientGone => Exit::ClientGone,
        Ended::GivenUp => Exit::Failed,
    }
}

/// The first signal ends the input, so that everything owed is answered; the second ends the process.
fn stop_on_signals(stop: &CancellationToken) -> std::io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let mut signals = signal(kind)?;
        let stop = stop.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if stop.is_cancelled() {
                    telemetry::flush(AT_ONCE);
                    std::process::exit(128 + kind.as_raw_value());
                }
                tracing::info!(signal = kind.as_raw_value(), "told to stop; answering what is in flight");
                stop.cancel();
            }
        });
    }
    Ok(())
}
