//! `context`: where the knobs of the tools stand, how they came there, and a person's word about them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::{Exit, complain, harmless, print};
use crate::config::Config;
use crate::private_folder;
use crate::tuning::cap::ChangeCap;
use crate::tuning::entry::{Entry, What};
use crate::tuning::file_history::FileHistory;
use crate::tuning::history::{AppendError, History};
use crate::tuning::knob::KnobName;
use crate::tuning::knob_state::KnobState;
use crate::tuning::ledger::Ledger;

/// Times that a change is made anew because a server has written meanwhile.
const TRIES: usize = 5;

/// Arguments of `context`.
#[derive(Debug, Args)]
pub struct ContextArgs {
    #[command(subcommand)]
    command: ContextCommand,
}

#[derive(Debug, Subcommand)]
enum ContextCommand {
    /// Show where the knobs stand, and how far they may move today.
    Show(ShowArgs),
    /// Show every change that is remembered, the oldest first.
    History(ShowArgs),
    /// Go back to the configured values, of one tool or of all, and forget its objective; pinned ones stay.
    Rollback {
        /// The tool, as clients see it.
        tool: Option<String>,
    },
    /// Set a knob, and have the engine leave it alone.
    Pin {
        /// The tool, as clients see it.
        tool: String,
        /// For example laneDepth=2048.
        #[arg(value_name = "KNOB=VALUE")]
        knob: String,
    },
    /// Let the engine move a knob again, or all of a tool; the values stay.
    Unpin {
        /// The tool, as clients see it.
        tool: String,
        /// The knob.
        knob: Option<String>,
    },
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Of this tool only, as clients see it.
    tool: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The reason of what a person does here.
const ASKED: &str = "asked for on the command line";

/// What cannot be done, in words for the person who asked for it.
type Refused = String;

/// Runs the command.
pub fn run(config: &Config, args: &ContextArgs) -> Exit {
    let Some(folder) = &config.state else {
        complain("there is no folder to keep changes in; name one with --state-dir DIR");
        return Exit::Usage;
    };
    // As `show` prints it, or as clients see it, in the project that the options name.
    let key = |tool: &String| if tool.contains('@') { tool.clone() } else { config.tuning.key(tool) };
    let done = match &args.command {
        ContextCommand::Show(args) => {
            let tool = args.tool.as_ref().map(key);
            read(folder).map(|entries| show(config.tuning.cap, &entries, tool.as_deref(), args.json))
        }
        ContextCommand::History(args) => {
            let tool = args.tool.as_ref().map(key);
            read(folder).map(|entries| history(&entries, tool.as_deref(), args.json))
        }
        ContextCommand::Rollback { tool } => {
            let tool = tool.as_ref().map(key);
            change(folder, |ledger, at_ms| roll_back(ledger, at_ms, tool.as_deref()))
        }
        ContextCommand::Pin { tool, knob } => change(folder, |ledger, at_ms| pin(ledger, at_ms, &key(tool), knob)),
        ContextCommand::Unpin { tool, knob } => {
            change(folder, |ledger, at_ms| unpin(ledger, at_ms, &key(tool), knob.as_deref()))
        }
    };
    match done {
        Ok(text) if print(text.as_bytes()).is_ok() => Exit::Done,
        Ok(_) => Exit::ClientGone,
        Err(refused) => {
            complain(&refused);
            Exit::Usage
        }
    }
}

fn read(folder: &Path) -> Result<Vec<Entry>, Refused> {
    let mut history = FileHistory::new(folder);
    let read = history.read().map_err(|error| unreadable(&history.path(), &error))?;
    Ok(read.unwrap_or_default())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Refused {
    format!("cannot read {}: {error}; choose another folder with --state-dir", path.display())
}

/// Writes what `make` makes of the ledger, and says it.
fn change(folder: &Path, make: impl Fn(&Ledger, u64) -> Result<Vec<Entry>, Refused>) -> Result<String, Refused> {
    private_folder::prepare(folder, "state folder", "--state-dir")?;
    let mut history = FileHistory::new(folder);
    for _ in 0..TRIES {
        let read = history.read().map_err(|error| unreadable(&history.path(), &error))?;
        let ledger = Ledger::of(&read.unwrap_or_default());
        let entries = make(&ledger, ledger.clock(now_ms()))?;
        if entries.is_empty() {
            return Ok("nothing to change\n".to_owned());
        }
        match history.append(&entries) {
            Ok(()) => return Ok(entries.iter().map(|entry| told(entry) + "\n").collect()),
            // Read anew, whatever is known of it.
            Err(AppendError::Moved) => history = FileHistory::new(folder),
            Err(AppendError::Io(error)) => {
                return Err(format!("cannot write to {}: {error}; nothing was changed", history.path().display()));
            }
        }
    }
    Err("servers change the history all the time; nothing was changed, try again".to_owned())
}

fn now_ms() -> u64 {
    // A clock before 1970 is as good as none; the ledger's own takes over.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn roll_back(ledger: &Ledger, at_ms: u64, tool: Option<&str>) -> Result<Vec<Entry>, Refused> {
    if let Some(tool) = tool {
        known(ledger, tool)?;
    }
    let chosen = ledger.tools().filter(|(name, _)| tool.is_none_or(|tool| tool == *name));
    let chosen: Vec<_> = chosen.collect();
    let derived = chosen.iter().filter_map(|(name, _)| Some((*name, ledger.objective(name)?)));
    let forgotten = derived.map(|(name, p95_us)| Entry {
        at_ms,
        tool: name.to_owned(),
        knob: KnobName::P95Us,
        what: What::Objective,
        from: p95_us,
        value: 0,
        setting: None,
        why: ASKED.to_owned(),
    });
    let knobs = chosen.iter().flat_map(|(name, knobs)| knobs.iter().map(move |(knob, state)| (*name, *knob, state)));
    let moved = knobs
        .filter(|(_, _, state)| !state.pinned && (state.trial.is_some() || state.value != state.setting.configured));
    let back = |(name, knob, state): (&str, KnobName, &KnobState)| {
        persons(at_ms, name, knob, state, What::Restored, state.setting.configured)
    };
    Ok(moved.map(back).chain(forgotten).collect())
}

fn pin(ledger: &Ledger, at_ms: u64, tool: &str, knob: &str) -> Result<Vec<Entry>, Refused> {
    let wrong = || format!("`{knob}` is not KNOB=VALUE with a whole number; for example laneDepth=2048");
    let (name, value) = knob.split_once('=').ok_or_else(wrong)?;
    let value: u64 = value.parse().map_err(|_| wrong())?;
    let (name, state) = find(ledger, tool, name)?;
    if !name.is_moved() {
        return Err(format!("{} is only proposed; say it in the manifest of {tool}", name.as_str()));
    }
    let setting = state.setting;
    if !(setting.least..=setting.most).contains(&value) {
        let (least, most) = (setting.least, setting.most);
        return Err(format!("{} of {tool} must be from {least} to {most}, not {value}", name.as_str()));
    }
    Ok(vec![persons(at_ms, tool, name, state, What::Pinned, value)])
}

fn unpin(ledger: &Ledger, at_ms: u64, tool: &str, knob: Option<&str>) -> Result<Vec<Entry>, Refused> {
    known(ledger, tool)?;
    let only = knob.map(|knob| find(ledger, tool, knob)).transpose()?.map(|(name, _)| name);
    let pinned = ledger.knobs(tool).filter(|(name, state)| state.pinned && only.is_none_or(|only| only == *name));
    Ok(pinned.map(|(name, state)| persons(at_ms, tool, name, state, What::Unpinned, state.value)).collect())
}

fn persons(at_ms: u64, tool: &str, knob: KnobName, state: &KnobState, what: What, value: u64) -> Entry {
    let why = ASKED.to_owned();
    Entry { at_ms, tool: tool.to_owned(), knob, what, from: state.value, value, setting: None, why }
}

fn known(ledger: &Ledger, tool: &str) -> Result<(), Refused> {
    if ledger.knobs(tool).next().is_some() {
        return Ok(());
    }
    let tools: Vec<&str> = ledger.tools().map(|(name, _)| name).collect();
    Err(if tools.is_empty() {
        "no tool was served with the context engine on yet; serve with --context-engine on first".to_owned()
    } else {
        format!("no tool `{tool}` was served with the context engine on; known here: {}", tools.join(", "))
    })
}

fn find<'a>(ledger: &'a Ledger, tool: &str, knob: &str) -> Result<(KnobName, &'a KnobState), Refused> {
    known(ledger, tool)?;
    let found = KnobName::parse(knob).and_then(|name| Some((name, ledger.knob(tool, name)?)));
    found.ok_or_else(|| {
        let knobs: Vec<&str> = ledger.knobs(tool).map(|(name, _)| name.as_str()).collect();
        format!("{tool} has no knob `{knob}`; it has {}", knobs.join(", "))
    })
}

fn show(cap: ChangeCap, entries: &[Entry], tool: Option<&str>, json: bool) -> String {
    let ledger = Ledger::of(entries);
    let now_ms = ledger.clock(now_ms());
    let chosen = ledger.tools().filter(|(name, _)| tool.is_none_or(|tool| tool == *name));
    let knobs = |(name, knobs)| BTreeMap::iter(knobs).map(move |(knob, state)| (name, *knob, state));
    if json {
        let one = |(tool, knob, state)| as_json(tool, knob, state, now_ms, cap, ledger.objective(tool));
        return pretty(&chosen.flat_map(knobs).map(one).collect());
    }
    let mut lines = String::new();
    for tool in chosen {
        let told = knobs(tool).map(|(tool, knob, state)| as_text(tool, knob, state, now_ms, cap));
        let objective = ledger.objective(tool.0).map(|p95_us| {
            format!("{}  objective  95 of 100 calls within {p95_us} µs, from its first good windows", tool.0)
        });
        lines.extend(told.chain(objective).map(|line| harmless(&line) + "\n"));
    }
    if lines.is_empty() { "nothing was tuned yet; serve with --context-engine on\n".to_owned() } else { lines }
}

fn as_text(tool: &str, knob: KnobName, state: &KnobState, now_ms: u64, cap: ChangeCap) -> String {
    let room = state.room(now_ms, cap);
    let stands = if !knob.is_moved() {
        let proposed = state.proposed_ms.map(|at_ms| format!("; at {} more might have helped", time(at_ms)));
        format!("proposed only: its manifest says it{}", proposed.unwrap_or_default())
    } else if state.pinned {
        "pinned".to_owned()
    } else if let Some(trial) = state.trial {
        format!("on trial since {}, {} before", time(trial.since_ms), trial.former)
    } else if room.is_empty() || room.start() == room.end() {
        format!("does not move: {} % of it is less than 1, or it has moved as far as it may today", cap.pct())
    } else {
        format!("may be {} to {} today", room.start(), room.end())
    };
    let configured = state.setting.configured;
    format!("{tool}  {}  {} {}  (configured {configured}; {stands})", knob.as_str(), state.value, knob.unit())
}

fn as_json(
    tool: &str,
    knob: KnobName,
    state: &KnobState,
    now_ms: u64,
    cap: ChangeCap,
    objective_us: Option<u64>,
) -> Value {
    let room = state.room(now_ms, cap);
    json!({
        "tool": tool,
        "knob": knob,
        "unit": knob.unit(),
        "value": state.value,
        "baseline": state.baseline,
        "configured": state.setting.configured,
        "least": state.setting.least,
        "most": state.setting.most,
        "pinned": state.pinned,
        "proposedOnly": !knob.is_moved(),
        "proposed": state.proposed_ms.map(time),
        "objectiveP95Us": objective_us,
        "trial": state.trial.map(|trial| json!({ "since": time(trial.since_ms), "former": trial.former })),
        "today": (!room.is_empty()).then(|| json!([room.start(), room.end()])),
    })
}

fn history(entries: &[Entry], tool: Option<&str>, json: bool) -> String {
    let chosen = entries.iter().filter(|entry| tool.is_none_or(|tool| tool == entry.tool));
    if json {
        return pretty(&chosen.map(|entry| json!(entry)).collect());
    }
    let lines: String = chosen.map(|entry| told(entry) + "\n").collect();
    if lines.is_empty() { "nothing was changed yet\n".to_owned() } else { lines }
}

fn told(entry: &Entry) -> String {
    let Entry { tool, knob, what, from, value, why, .. } = entry;
    let moved = if from == value { value.to_string() } else { format!("{from} to {value}") };
    harmless(&format!("{}  {tool}  {}  {}: {moved}  ({why})", time(entry.at_ms), knob.as_str(), what.words()))
}

fn time(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(DateTime::from_timestamp_millis);
    at.map_or_else(|| format!("{at_ms} ms"), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn pretty(values: &Vec<Value>) -> String {
    serde_json::to_string_pretty(values).expect("a JSON value is serialisable") + "\n"
}
