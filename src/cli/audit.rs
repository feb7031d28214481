//! `audit`: the audit trail looked through, checked, and fixed to a head that can be kept elsewhere.

use std::fmt::Write;
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};

use super::exit::{Exit, complain, harmless, print};
use crate::config::Config;
use crate::trail::{Book, CallEntry, Entry, Head};

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Show calls, the newest first.
    Show(ShowArgs),
    /// Look whether anything in the trail was changed, removed or put elsewhere.
    Check {
        /// What `audit head` printed at some time, and somebody has kept elsewhere; may be repeated.
        #[arg(long, value_name = "SEQ:HASH")]
        head: Vec<Head>,
    },
    /// Print the newest entry's number and hash. Kept where nobody who can write the trail can write, it shows later that
    /// nothing up to here was written anew.
    Head,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Only calls of this tool.
    #[arg(long)]
    tool: Option<String>,
    /// Only calls of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only calls that ended so: finished, faulted, refused, lost, cancelled or replayed.
    #[arg(long, value_parser = ["finished", "faulted", "refused", "lost", "cancelled", "replayed"])]
    outcome: Option<String>,
    /// Only calls of which the frame has this reason_trace_id.
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Print the entries as they are, one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(config: &Config, args: &AuditArgs) -> Exit {
    let (book, path) = match open(config) {
        Ok(opened) => opened,
        Err(exit) => return exit,
    };
    let done = match &args.command {
        AuditCommand::Show(args) => show(&book, args),
        AuditCommand::Check { head } => check(&book, head),
        AuditCommand::Head => book.head().map(|head| (format!("{head}\n"), Exit::Done)),
    };
    match done {
        Ok((text, exit)) => said(&text, exit),
        Err(error) => unreadable(&path, &error),
    }
}

/// The trail of the state folder; why there is none has been said.
pub(super) fn open(config: &Config) -> Result<(Book, PathBuf), Exit> {
    let Some(folder) = &config.state else {
        complain("there is no state folder, so nothing was audited; choose one with --state-dir");
        return Err(Exit::Usage);
    };
    let path = folder.join("audit.db");
    match Book::read(&path) {
        Ok(Some(book)) => Ok((book, path)),
        Ok(None) => {
            complain(&format!(
                "nothing was audited yet: there is no {}; another folder is chosen with --state-dir",
                path.display()
            ));
            Err(Exit::Usage)
        }
        Err(error) => Err(unreadable(&path, &error)),
    }
}

/// Says that the trail cannot be read.
pub(super) fn unreadable(path: &std::path::Path, error: &rusqlite::Error) -> Exit {
    complain(&format!("cannot read the audit trail {}: {error}; look at the file and its folder", path.display()));
    Exit::Usage
}

/// Prints lines that may hold what a client or a guest has chosen.
pub(super) fn said(text: &str, exit: Exit) -> Exit {
    let lines: String = text.lines().map(|line| harmless(line) + "\n").collect();
    if print(lines.as_bytes()).is_ok() { exit } else { Exit::ClientGone }
}

/// A moment, as people and programs read it.
pub(super) fn moment(at_ms: i64) -> String {
    let at = DateTime::<Utc>::from_timestamp_millis(at_ms).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn check(book: &Book, noted: &[Head]) -> rusqlite::Result<(String, Exit)> {
    let verdict = book.verify(noted)?;
    let mut text = String::new();
    if verdict.start.seq > 0 {
        let _ = writeln!(text, "note: entries 1 to {} have gone by retention", verdict.start.seq);
    }
    if let Some(noted) = noted.iter().find(|noted| noted.seq <= verdict.start.seq) {
        let _ = writeln!(text, "note: entry {} of a noted head has gone, so it proves nothing", noted.seq);
    }
    if verdict.lost > 0 {
        let _ = writeln!(text, "note: {} entries were lost when they came, and counted", verdict.lost);
    }
    if let Some(broken) = &verdict.broken {
        let _ = writeln!(text, "broken: {broken}; entries {} to {} are whole", verdict.start.seq + 1, verdict.head.seq);
        return Ok((text, Exit::Failed));
    }
    let _ = writeln!(text, "whole: {} calls, up to {}", verdict.calls, verdict.head);
    Ok((text, Exit::Done))
}

fn show(book: &Book, args: &ShowArgs) -> rusqlite::Result<(String, Exit)> {
    let tool = args.tool.as_deref().map(crate::wasi::manifest::published_name);
    let wanted = |entry: &Entry| match entry {
        Entry::Call(call) => {
            tool.as_ref().is_none_or(|tool| *tool == call.tool)
                && args.tenant.as_ref().is_none_or(|tenant| call.context["tenant_id"] == tenant.as_str())
                && args.trace.as_ref().is_none_or(|trace| call.context["reason_trace_id"] == trace.as_str())
                && args.outcome.as_ref().is_none_or(|outcome| *outcome == call.outcome)
        }
        Entry::Lost { .. } => {
            [&args.tool, &args.tenant, &args.trace, &args.outcome].iter().all(|filter| filter.is_none())
        }
    };
    let (mut text, mut shown) = (String::new(), 0);
    book.each(&mut |seq, entry| {
        match serde_json::from_str::<Entry>(entry) {
            Ok(parsed) if !wanted(&parsed) => return true,
            Ok(_) if args.json => text += &format!("{entry}\n"),
            Ok(Entry::Call(call)) => text += &format!("{}\n", line(seq, &call)),
            Ok(Entry::Lost { at_ms, entries, .. }) => {
                text += &format!("{seq:>6} {} {entries} entries were lost\n", moment(at_ms));
            }
            Err(error) => text += &format!("{seq:>6} cannot be read: {error}; see audit check\n"),
        }
        shown += 1;
        shown < args.limit
    })?;
    Ok((text, Exit::Done))
}

fn line(seq: i64, call: &CallEntry) -> String {
    let who = call.user.as_deref().unwrap_or("-");
    let tenant = call.context["tenant_id"].as_str().unwrap_or("-");
    let code = call.code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
    let CallEntry { call_id, tool, outcome, arguments, took_us, .. } = call;
    let at = moment(call.at_ms);
    format!(
        "{seq:>6} {at} {call_id} {tool} {} user {who} tenant {tenant} {outcome}{code} {took_us} us",
        arguments.shape
    )
}
