//! `log`: the supervision log checked against its rules, or shown as a timeline.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::exit::{Exit, complain, harmless, print};
use crate::audit::{history, rules, svg, timeline};

/// Arguments of `log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Check the rules of the log: numbers without a gap, what follows an exit, incarnations, delays that were kept.
    Check {
        /// The log; the files put aside, FILE.1 and so on, are read first.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Show what happened, tool by tool.
    Timeline {
        /// The log; the files put aside, FILE.1 and so on, are read first.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Write a page with a picture to OUT.html instead.
        #[arg(long, value_name = "OUT.html")]
        html: Option<PathBuf>,
    },
}

/// Runs it.
pub fn run(args: &LogArgs) -> Exit {
    match &args.command {
        LogCommand::Check { file } => check(file),
        LogCommand::Timeline { file, html: None } => match history::gather(file) {
            Ok(history) => show(&timeline::text(&history), Exit::Done),
            Err(error) => unreadable(file, &error),
        },
        LogCommand::Timeline { file, html: Some(html) } => match history::gather(file) {
            Ok(history) => draw(&svg::page(&history), html),
            Err(error) => unreadable(file, &error),
        },
    }
}

fn check(file: &Path) -> Exit {
    let verdict = match rules::check(file) {
        Ok(verdict) => verdict,
        Err(error) => return unreadable(file, &error),
    };
    let mut text = String::new();
    for note in &verdict.notes {
        let _ = writeln!(text, "note: {note}");
    }
    if verdict.more_notes > 0 {
        let _ = writeln!(text, "note: {} more notes", verdict.more_notes);
    }
    for found in &verdict.breaks {
        let _ = writeln!(text, "{found}");
    }
    if verdict.more_breaks > 0 {
        let _ = writeln!(text, "{} more breaks; mend the first ones and check again", verdict.more_breaks);
    }
    let _ = writeln!(text, "{}", verdict.summary());
    show(&text, if verdict.is_clean() { Exit::Done } else { Exit::Failed })
}

/// A log may hold what a guest has chosen.
fn show(text: &str, exit: Exit) -> Exit {
    let lines: String = text.lines().map(|line| harmless(line) + "\n").collect();
    match print(lines.as_bytes()) {
        Ok(()) => exit,
        Err(_) => Exit::ClientGone,
    }
}

fn draw(page: &str, html: &Path) -> Exit {
    match std::fs::write(html, page) {
        Ok(()) => show(&format!("wrote {}; open it in a browser", html.display()), Exit::Done),
        Err(error) => {
            complain(&format!("cannot write {}: {error}; choose another file", html.display()));
            Exit::Usage
        }
    }
}

fn unreadable(file: &Path, error: &io::Error) -> Exit {
    complain(&format!(
        "cannot read the supervision log {}: {error}; name the file that --supervision-log was given",
        file.display()
    ));
    Exit::Usage
}
