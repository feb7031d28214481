//! `replay`: an audited call made again, in a copy of the directories it had.
//!
//! The files are those of now, and the tool is that of now; what was then is known by its digests, so it is said what
//! differs. Secrets and variables of a policy are not handed to a replay.

use std::fmt::Write;
use std::sync::Arc;

use clap::Args;
use rmcp::model::{CallToolResult, JsonObject};
use tokio_util::sync::CancellationToken;

use super::audit::{open, said, unreadable};
use super::exit::{Exit, complain, run_on_control_plane};
use super::explain::unknown;
use super::folder_copy::FolderCopy;
use crate::config::{Access, AuditMode, Config};
use crate::mcp::admission::{self, Asked};
use crate::mcp::ending::Ending;
use crate::mcp::{tools, witness};
use crate::runtime::{self, Runtime};
use crate::trail::{CallEntry, Digest};

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The call, as its answer names it: `_meta["io.nurones/callId"]`.
    #[arg(value_name = "CALL_ID")]
    call_id: String,
    /// Copy at most so many MB of files.
    #[arg(long, value_name = "MB", default_value_t = 256)]
    copy_mb: u64,
    /// Also print what the tool answers now.
    #[arg(long)]
    answer: bool,
}

/// Runs the command.
pub fn run(config: Config, args: &ReplayArgs) -> Exit {
    let (call, arguments) = match kept(&config, &args.call_id) {
        Ok(kept) => kept,
        Err(exit) => return exit,
    };
    let allowed = match runtime::rules(&config) {
        Ok(rules) => rules.of_tool(&call.tool).and_then(|rule| rule.directories.clone()).map(|(policy, _)| policy),
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| complain(mistake));
            return Exit::Usage;
        }
    };
    let allowed = allowed.as_deref().unwrap_or(&config.policy);
    let (copy, policy) = match FolderCopy::of(allowed, args.copy_mb << 20) {
        Ok(copied) => copied,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Usage;
        }
    };
    let config = apart(config, policy);
    run_on_control_plane(async {
        match again(&config, &call, arguments).await {
            Ok(result) => report(&call, &result, &copy, args.answer),
            Err(exit) => exit,
        }
    })
}

/// The entry and the arguments of a call that was made; why there are none has been said.
fn kept(config: &Config, call_id: &str) -> Result<(CallEntry, JsonObject), Exit> {
    let (book, path) = open(config)?;
    let found = book.call(call_id).map_err(|error| unreadable(&path, &error))?;
    let (_, call, arguments) = found.ok_or_else(|| unknown(call_id))?;
    let refuse = |why: &str| {
        complain(why);
        Err(Exit::Failed)
    };
    if call.outcome == "refused" {
        return refuse("the call was refused and never made, so there is nothing to make again; see `explain`");
    }
    let Some(arguments) = arguments else {
        return refuse(
            "the arguments of the call were not kept; `audit.keepArguments`: true in the config keeps those of calls from \
             then on",
        );
    };
    let arguments: JsonObject = serde_json::from_str(&arguments).unwrap_or_default();
    if Digest::of(&arguments, String::new()).sha256 != call.arguments.sha256 {
        return refuse("the arguments beside the entry are not those of the call: somebody has changed them");
    }
    Ok((call, arguments))
}

/// The same server without anything that a replay could leave a trace in.
fn apart(config: Config, policy: crate::wasi::sandbox::Policy) -> Config {
    let mut apart = Config { policy, access: Access::default(), supervision_log: None, state: None, ..config };
    apart.audit.mode = AuditMode::Off;
    apart.journal.journaled = None;
    apart.tuning.enabled = false;
    apart
}

/// Makes the call; why it could not be made has been said.
async fn again(config: &Config, call: &CallEntry, arguments: JsonObject) -> Result<CallToolResult, Exit> {
    let unavailable = |why: &str| {
        complain(why);
        Exit::Unavailable
    };
    let server = Runtime::start(config).await.map_err(|error| unavailable(&error.to_string()))?;
    let tool = server.shared.table.get(&call.tool).cloned();
    let tool = tool.ok_or_else(|| {
        unavailable(&format!("there is no tool {} any more; name its folder with --tools", call.tool))
    })?;
    let frame = config.frame_defaults.frame(Some(&call.context)).map(Arc::new);
    let frame = frame.map_err(|mistakes| unavailable(&crate::mcp::error::bad_frame(&mistakes).message))?;
    let output = Arc::default();
    let asked = Asked {
        arguments,
        frame: &frame,
        cancel: CancellationToken::new(),
        output: &output,
        progress: None,
        story: None,
    };
    let result = match admission::admit(&server.shared, &tool, asked).await {
        Ok(mut admitted) => tools::answer(&tool, admitted.answer.wait().await, &frame),
        Err(denied) => tools::denied(&tool, denied, &frame),
    };
    server.stop(config.shutdown.interrupt).await;
    result.map_err(|error| unavailable(&error.message))
}

fn report(call: &CallEntry, result: &CallToolResult, copy: &FolderCopy, with_answer: bool) -> Exit {
    let mut text = String::new();
    let ending = Ending::of(&Ok(result.clone()), true);
    let now = witness::answer(result);
    let then = call.answer.as_ref();
    let as_then = ending.outcome == call.outcome && then.is_some_and(|then| then.sha256 == now.sha256);
    let _ = match (as_then, then) {
        (true, _) => {
            writeln!(text, "{} as then, with the same answer: {} ({} bytes)", call.outcome, now.shape, now.bytes)
        }
        (false, then) => writeln!(
            text,
            "otherwise than then: {} with {} now, {} with {} then; files and tool are those of now",
            ending.outcome,
            now.shape,
            call.outcome,
            then.map_or("no answer", |then| &then.shape)
        ),
    };
    match copy.changes() {
        Ok(changes) if changes.is_empty() => text += "in the copy, no file was changed\n",
        Ok(changes) => changes.iter().for_each(|change| text += &format!("in the copy, {change}\n")),
        Err(error) => text += &format!("what has changed in the copy cannot be read: {error}\n"),
    }
    for left_out in &copy.left_out {
        let _ = writeln!(text, "left out of the copy, as it is no file: {}", left_out.display());
    }
    if with_answer {
        text += &serde_json::to_string_pretty(&result).expect("results are serialisable");
    }
    said(&text, if as_then { Exit::Done } else { Exit::Failed })
}
