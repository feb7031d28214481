//! `nurones-load`: measures how fast an MCP server answers. The engine is `nurones_mcp::load`; here are its command
//! line, its progress bar and its exit codes.

mod args;
mod progress;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use nurones_mcp::cli::exit::{Exit, print};
use nurones_mcp::cli::interruption;
use nurones_mcp::load::{self, LoadError};

use args::Args;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    measure(&args).into()
}

fn measure(args: &Args) -> Exit {
    let mut job = match args.job() {
        Ok(job) => job,
        Err(problem) => {
            complain(&problem);
            return Exit::Unavailable;
        }
    };
    let asked_to_stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&asked_to_stop);
    interruption::listen(move || asked.swap(true, Ordering::Relaxed));
    let bar = progress::Bar::new(job.plan.duration);
    let report = load::run(&job.plan, &mut job.server, &mut |progress| {
        bar.show(progress, asked_to_stop.load(Ordering::Relaxed))
    });
    bar.clear();
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            complain(&error.to_string());
            return if matches!(error, LoadError::Plan(_)) { Exit::Usage } else { Exit::Unavailable };
        }
    };
    let text = if args.json {
        serde_json::to_string(&report).expect("a report is serialisable") + "\n"
    } else {
        report.to_string()
    };
    if print(text.as_bytes()).is_err() {
        return Exit::ClientGone;
    }
    if let Some(why) = report.ended_early.as_ref().filter(|_| args.json) {
        complain(why);
    }
    if report.is_complete() { Exit::Done } else { Exit::Failed }
}

/// Tells the person at the keyboard what is wrong.
fn complain(message: &str) {
    // Standard error may be closed; then there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "nurones-load: {message}");
}
