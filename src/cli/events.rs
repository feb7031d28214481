//! `events`: what happened, from the journal; also while servers run.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::exit::{Exit, complain, harmless, print};
use crate::config::Config;
use crate::journal::{Entry, FILE, Query, Reader};

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Go on with what happens from now on, until interrupted.
    #[arg(long)]
    follow: bool,
    /// Only events of this type, for example `child_exited`; may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    kinds: Vec<String>,
    /// Only events of calls with this trace id.
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// Only events with this number or a later one, or from this time on, as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "NUMBER|TIME", value_parser = since)]
    since: Option<Since>,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
    /// Only say whether what each server has written is there without a gap.
    #[arg(long, conflicts_with_all = ["follow", "kinds", "trace", "since", "json"])]
    check: bool,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Number(i64),
    TimeUs(i64),
}

/// Events that are read together.
const PAGE: usize = 1000;

/// How often the journal is looked at for more.
const LOOK: Duration = Duration::from_millis(200);

/// Runs it.
pub fn run(config: &Config, args: &EventsArgs) -> Exit {
    let Some(folder) = &config.state else {
        complain("there is no state folder, and so no journal; choose one with --state-dir");
        return Exit::Usage;
    };
    let path = folder.join(FILE);
    if !path.exists() {
        complain(&format!(
            "there is no journal {}; servers with NURONES_EVENTS_JOURNAL=critical, or with `events.journal` in their \
             config file, write one",
            path.display()
        ));
        return Exit::Usage;
    }
    let done = Reader::open(&path).and_then(|journal| if args.check { check(&journal) } else { show(&journal, args) });
    done.unwrap_or_else(|error| unreadable(&path, &error))
}

fn show(journal: &Reader, args: &EventsArgs) -> rusqlite::Result<Exit> {
    let mut query = Query { kinds: args.kinds.clone(), trace_id: args.trace.clone(), ..Query::default() };
    match args.since {
        Some(Since::Number(number)) => {
            query.from = number;
            if let Some(oldest) = journal.oldest()?.filter(|oldest| *oldest > number) {
                complain(&format!("events before number {oldest} are not kept any more; these begin there"));
            }
        }
        Some(Since::TimeUs(time)) => query.since_us = Some(time),
        None => {}
    }
    loop {
        let entries = journal.entries(&query, PAGE)?;
        let lines: String = entries.iter().map(|entry| if args.json { json(entry) } else { line(entry) }).collect();
        if print(lines.as_bytes()).is_err() {
            return Ok(Exit::ClientGone);
        }
        if let Some(last) = entries.last() {
            query.from = last.number + 1;
        }
        if entries.len() < PAGE {
            if !args.follow {
                return Ok(Exit::Done);
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn check(journal: &Reader) -> rusqlite::Result<Exit> {
    let verdict = journal.check()?;
    let mut text: String = verdict.gaps.iter().map(|gap| harmless(gap) + "\n").collect();
    let gaps = match verdict.gaps.len() {
        0 => "no gap".to_owned(),
        1 => "1 of them has a gap".to_owned(),
        gaps => format!("{gaps} of them have gaps"),
    };
    let _ = writeln!(text, "{} events of {} runs of a server, {gaps}", verdict.events, verdict.boots);
    Ok(match print(text.as_bytes()) {
        Err(_) => Exit::ClientGone,
        Ok(()) if verdict.gaps.is_empty() => Exit::Done,
        Ok(()) => Exit::Failed,
    })
}

/// For a person. What a guest has chosen may be in it.
fn line(entry: &Entry) -> String {
    let Entry { number, class, kind, stream, data, .. } = entry;
    let trace = entry.trace_id.as_ref().map(|id| format!(" trace {id}")).unwrap_or_default();
    harmless(format!("{number} {} {class} {kind} {stream}{trace} {data}", time(entry.at_us)).trim_end()) + "\n"
}

fn json(entry: &Entry) -> String {
    let data = serde_json::from_str(&entry.data).unwrap_or(Value::Null);
    let object = json!({
        "number": entry.number,
        "ts": time(entry.at_us),
        "boot": entry.boot,
        "seq": entry.seq,
        "offset": entry.offset,
        "id": entry.id,
        "class": entry.class,
        "type": entry.kind,
        "stream": entry.stream,
        "trace_id": entry.trace_id,
        "correlation_id": entry.correlation_id,
        "causation_id": entry.causation_id,
        "data": data,
    });
    object.to_string() + "\n"
}

fn time(at_us: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp_micros(at_us).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(number) = text.parse() {
        return Ok(Since::Number(number));
    }
    let time = DateTime::parse_from_rfc3339(text);
    time.map(|time| Since::TimeUs(time.timestamp_micros()))
        .map_err(|_| "say an event's number, or a time like 2026-01-31T12:00:00Z".to_owned())
}

fn unreadable(path: &Path, error: &rusqlite::Error) -> Exit {
    complain(&format!(
        "cannot read the journal {}: {error}; see that it is this version's, and readable",
        path.display()
    ));
    Exit::Usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_number_or_a_time() {
        assert_eq!(since("12"), Ok(Since::Number(12)));
        assert_eq!(since("1970-01-01T00:00:01Z"), Ok(Since::TimeUs(1_000_000)));
        assert!(since("yesterday").unwrap_err().contains("2026-01-31T12:00:00Z"));
    }

    #[test]
    fn a_line_cannot_be_made_to_look_like_two() {
        let entry = Entry {
            number: 3,
            boot: "b".to_owned(),
            seq: 0,
            offset: 0,
            id: 1,
            at_us: 0,
            class: "low".to_owned(),
            kind: "call_finished".to_owned(),
            stream: "s".to_owned(),
            trace_id: Some("x\n4 forged".to_owned()),
            correlation_id: None,
            causation_id: None,
            data: String::new(),
        };
        assert_eq!(line(&entry), "3 1970-01-01T00:00:00.000000Z low call_finished s trace x\\n4 forged\n");
        let told: Value = serde_json::from_str(&json(&entry)).unwrap();
        assert_eq!((&told["type"], &told["data"]), (&json!("call_finished"), &Value::Null));
    }
}
