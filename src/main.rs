//! The life of the process: log, command line, exit code. Everything else is in the library.

use std::process::ExitCode;
use std::time::Duration;

use nurones_mcp::{redact, telemetry};

/// How long the end waits for somebody to read standard error.
const LAST_LINES: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    // Before anything can be said.
    redact::register_environment(std::env::vars_os());
    telemetry::install();
    let exit = nurones_mcp::cli::run(std::env::args_os());
    telemetry::flush(LAST_LINES);
    exit.into()
}
