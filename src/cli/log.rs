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
        LogCommand::Timeline { file, html } => match (history::gather(file), html) {
            (Err(error), _) => unreadable(file, &error),
            (Ok(history), _) if history.boots.is_empty() => no_log(file),
            (Ok(history), None) => show(&timeline::text(&history), Exit::Done),
            (Ok(_), Some(html)) if is_part_of(file, html) => {
                complain(&format!("{} is part of the log itself; choose another file for the page", html.display()));
                Exit::Usage
            }
            (Ok(history), Some(html)) => draw(&svg::page(&history), html),
        },
    }
}

fn check(file: &Path) -> Exit {
    let verdict = match rules::check(file) {
        Ok(verdict) => verdict,
        Err(error) => return unreadable(file, &error),
    };
    if verdict.counts.records == 0 {
        return no_log(file);
    }
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

/// Whether `html` is the log, or one of the files put aside.
fn is_part_of(file: &Path, html: &Path) -> bool {
    let (Ok(log), Ok(page)) = (file.canonicalize(), html.canonicalize()) else { return false };
    let aside = page.file_stem().zip(page.extension()).is_some_and(|(stem, number)| {
        log.file_name() == Some(stem) && number.to_str().is_some_and(|number| number.parse::<u32>().is_ok())
    });
    page == log || aside && page.parent() == log.parent()
}

fn no_log(file: &Path) -> Exit {
    let file = file.display();
    complain(&format!("{file} holds no record of a supervision log; name the file that --supervision-log was given"));
    Exit::Usage
}

fn unreadable(file: &Path, error: &io::Error) -> Exit {
    complain(&format!(
        "cannot read the supervision log {}: {error}; name the file that --supervision-log was given",
        file.display()
    ));
    Exit::Usage
}
