//! `explain`: the story of one audited call.

use std::fmt::Write;

use clap::Args;
use serde_json::Value;

use super::audit::{moment, open, said, unreadable};
use super::exit::{Exit, complain};
use crate::config::Config;
use crate::trail::{CallEntry, Step};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The call, as its answer names it: `_meta["io.nurones/callId"]`, or `callId` in the data of an error.
    #[arg(value_name = "CALL_ID")]
    call_id: String,
    /// Print the entry as it is.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(config: &Config, args: &ExplainArgs) -> Exit {
    let (book, path) = match open(config) {
        Ok(opened) => opened,
        Err(exit) => return exit,
    };
    let (found, verdict) = match (book.call(&args.call_id), book.verify(&[])) {
        (Ok(found), Ok(verdict)) => (found, verdict),
        (Err(error), _) | (_, Err(error)) => return unreadable(&path, &error),
    };
    let Some((seq, call, _)) = found else {
        return unknown(&args.call_id);
    };
    if args.json {
        let text = serde_json::to_string_pretty(&call).expect("entries are serialisable");
        return said(&text, Exit::Done);
    }
    let mut text = story(&call);
    let _ = match &verdict.broken {
        Some(broken) if verdict.head.seq < seq => writeln!(text, "entry {seq}: NOT to be trusted: {broken}"),
        _ => writeln!(text, "entry {seq} of the audit trail, whole up to there"),
    };
    said(&text, Exit::Done)
}

/// Says that nobody has heard of the call.
pub(super) fn unknown(call_id: &str) -> Exit {
    complain(&format!(
        "the audit trail has no call {call_id}; see `audit show`. Calls of tools that only read are in it with \
         `audit.calls`: \"all\" in the config"
    ));
    Exit::Failed
}

fn story(call: &CallEntry) -> String {
    let mut text = String::new();
    let frame = |key: &str| match &call.context[key] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let who = match (&call.user, &call.role) {
        (Some(user), Some(role)) => format!("the user {user} ({role})"),
        (Some(user), None) => format!("the user {user}"),
        (None, Some(role)) => format!("whoever calls ({role})"),
        (None, None) => "whoever calls".to_owned(),
    };
    let _ = writeln!(text, "call {} of {} {} by {who}", call.call_id, call.tool, call.tool_version);
    let _ = writeln!(
        text,
        "  tenant {}, stage {}, risk {}, reason {}, server {}",
        frame("tenant_id"),
        frame("stage"),
        frame("risk_level"),
        frame("reason_trace_id"),
        call.server
    );
    let _ = writeln!(text, "  {}", moment(call.at_ms));
    let arguments = &call.arguments;
    step(&mut text, 0, &format!("arrived with {} ({} bytes, {})", arguments.shape, arguments.bytes, arguments.sha256));
    let verb = if call.decision.allowed { "allowed" } else { "denied" };
    step(&mut text, 0, &format!("{verb}: {}", call.decision.by));
    for timed in &call.steps.steps {
        step(&mut text, timed.at_us, &words(&timed.step, &call.tool));
    }
    if call.steps.more_steps > 0 {
        let _ = writeln!(text, "             and {} steps more", call.steps.more_steps);
    }
    step(&mut text, call.took_us, &ending(call));
    text
}

fn step(text: &mut String, at_us: u64, words: &str) {
    let _ = writeln!(text, "  {at_us:>8} us  {words}");
}

fn words(step: &Step, tool: &str) -> String {
    match step {
        Step::Queued { behind: 0 } => format!("into the lane of {tool}, which was empty"),
        Step::Queued { behind } => format!("into the lane of {tool}, behind {behind}"),
        Step::Taken { worker, incarnation } => format!("taken by {worker}, in its life {incarnation}"),
        Step::Entered { served: Some(0) } => "into a Store that had served no call yet".to_owned(),
        Step::Entered { served: Some(served) } => format!("into a warm Store that had served {served} calls"),
        Step::Entered { served: None } => "into a Store of its own".to_owned(),
        Step::Said { level, line } => format!("the guest wrote ({level}): {line}"),
        Step::Left { how } => format!("the guest was left: {how}"),
    }
}

fn ending(call: &CallEntry) -> String {
    let mut text = call.outcome.clone();
    for part in [&call.code, &call.said].into_iter().flatten() {
        let _ = write!(text, ", {part}");
    }
    if let Some(answer) = &call.answer {
        let _ = write!(text, "; the answer was {} ({} bytes, {})", answer.shape, answer.bytes, answer.sha256);
    }
    text
}
