//! The life of the process: log, command line, exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    nurones_mcp::telemetry::install();
    nurones_mcp::cli::run(std::env::args_os()).into()
}
