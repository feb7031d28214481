//! `nurones-load`: measures how fast MCP servers answer. The engine is `nurones_mcp::load`; here are its command line,
//! its progress bar and its exit codes.

mod args;
mod call;
mod files;
mod job;
mod measured;
mod progress;
mod words;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use nurones_mcp::cli::exit::{Exit, print};
use nurones_mcp::cli::interruption;
use nurones_mcp::load::{self, LoadError, harmless};

use args::Args;
use job::{Job, Refused};
use measured::Measured;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    work(&args)
        .unwrap_or_else(|Refused(exit, problem)| {
            complain(&problem);
            exit
        })
        .into()
}

fn work(args: &Args) -> Result<Exit, Refused> {
    let page = args.html.as_ref().map(|path| {
        // Opened now, so that nothing is measured in vain; emptied only when there is something to write.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        file.map_err(|error| format!("cannot write {}: {error}; name another file with --html", path.display()))
    });
    let page = page.transpose()?;
    let mut job = Job::new(args)?;
    let measured = measure(&mut job, usize::from(args.rounds)).map_err(|error| {
        let exit = if matches!(error, LoadError::Plan(_)) { Exit::Usage } else { Exit::Unavailable };
        Refused(exit, error.to_string())
    })?;
    let verdicts = measured.judge(&args.asserts);
    if let Some(mut file) = page {
        write_page(&mut file, &measured.page(&verdicts)).map_err(|error| {
            Refused(Exit::Unavailable, format!("cannot write the page: {error}; name another file"))
        })?;
    }
    let text = if args.json { measured.json(&verdicts) } else { measured.table(&verdicts) };
    if let Err(error) = print(text.as_bytes()) {
        // Who closed a pipe knows.
        if error.kind() != ErrorKind::BrokenPipe {
            complain(&format!("cannot write the result to standard output: {error}; send it where there is room"));
        }
        return Ok(Exit::ClientGone);
    }
    if args.json {
        measured.ended_early().iter().for_each(|why| complain(why));
    }
    let broken: Vec<_> = verdicts.iter().filter(|verdict| !verdict.holds).collect();
    broken.iter().for_each(|verdict| complain(&verdict.to_string()));
    Ok(match (broken.is_empty(), measured.is_complete()) {
        (false, _) => Exit::NotAsAsserted,
        (true, false) => Exit::Failed,
        (true, true) => Exit::Done,
    })
}

fn measure(job: &mut Job, rounds: usize) -> Result<Measured, LoadError> {
    let asked_to_stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&asked_to_stop);
    interruption::listen(move || asked.swap(true, Ordering::Relaxed));
    let bar = progress::Bar::new(job.contenders[0].plan.duration);
    let go_on =
        || if asked_to_stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let measured = if job.is_comparison {
        load::compare(&mut job.contenders, rounds, &mut |round, progress| {
            bar.show(Some(round), progress);
            go_on()
        })
        .map(Measured::Several)
    } else {
        let contender = &mut job.contenders[0];
        load::run(&contender.plan, &mut contender.server, &mut |progress| {
            bar.show(None, progress);
            go_on()
        })
        .map(|report| Measured::One(Box::new(report)))
    };
    bar.clear();
    measured
}

fn write_page(file: &mut File, page: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.write_all(page.as_bytes())
}

/// Tells the person at the keyboard what is wrong. Servers have said some of it; the ends of lines are ours.
fn complain(message: &str) {
    let lines: Vec<String> = message.split('\n').map(harmless).collect();
    // Standard error may be closed; then there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "nurones-load: {}", lines.join("\n"));
}
