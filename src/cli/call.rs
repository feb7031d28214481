//! `call`: one tool, once, from the shell, through the same lane and sandbox as a client's call.

use std::sync::Arc;

use clap::Args;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, complain, print, run_on_control_plane};
use crate::actors::message::CallOutcome;
use crate::actors::tool_table::ToolEntry;
use crate::config::Config;
use crate::frame::{self, ContextFrame};
use crate::mcp::admission::{self, Denied};
use crate::mcp::{error, tools};
use crate::runtime::Runtime;
use crate::wasi::call::{Content, GuestOutput};
use crate::wasi::error::Fault;

/// Arguments of `call`.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// The tool, for example `fs.read`.
    name: String,
    /// Its arguments, as a JSON object.
    #[arg(default_value = "{}")]
    arguments: String,
    /// The ContextFrame, as a JSON object.
    #[arg(long, value_name = "JSON")]
    context: Option<String>,
    /// Print the whole MCP result as JSON instead of its content.
    #[arg(long)]
    json: bool,
}

/// Runs the call.
pub fn run(config: &Config, args: &CallArgs) -> Exit {
    run_on_control_plane(call(config, args))
}

async fn call(config: &Config, args: &CallArgs) -> Exit {
    let (arguments, frame) = match parse(config, args) {
        Ok(parsed) => parsed,
        Err(problem) => {
            complain(&problem);
            return Exit::Usage;
        }
    };
    let server = match Runtime::start(config).await {
        Ok(server) => server,
        Err(error) => {
            error.to_string().lines().for_each(complain);
            return Exit::Usage;
        }
    };
    let Some(tool) = server.shared.table.get(&args.name).cloned() else {
        let known: Vec<&str> = server.shared.table.iter().map(|tool| tool.published.as_str()).collect();
        complain(&error::unknown_tool(&args.name, &known).message);
        for refused in &server.refused {
            complain(&format!("not served: {}: {}", refused.source.display(), refused.error));
        }
        return Exit::Usage;
    };
    let exit = match admission::admit(
        &server.shared,
        &tool,
        arguments,
        &frame,
        CancellationToken::new(),
        &Arc::default(),
        None,
    )
    .await
    {
        Ok(mut admitted) => report(&tool, admitted.answer.wait().await, &frame, args.json),
        Err(Denied::Fault(fault)) => failed(&tool, &fault, &frame, args.json),
        Err(Denied::Protocol(error)) => {
            complain(&error.message);
            Exit::Unavailable
        }
    };
    server.stop(config.shutdown.interrupt).await;
    exit
}

fn parse(config: &Config, args: &CallArgs) -> Result<(serde_json::Map<String, Value>, Arc<ContextFrame>), String> {
    let Ok(Value::Object(arguments)) = serde_json::from_str(&args.arguments) else {
        return Err(format!(
            "the arguments must be a JSON object like '{{\"path\":\"a.txt\"}}', not {}",
            args.arguments
        ));
    };
    let given = match &args.context {
        None => None,
        Some(text) => Some(serde_json::from_str(text).map_err(|error| format!("--context is not JSON: {error}"))?),
    };
    let frame = config.frame_defaults.frame(given.as_ref()).map_err(|mistakes| {
        error::bad_frame(&mistakes).message.replace(&format!("_meta[\"{}\"]", frame::META_KEY), "--context")
    })?;
    Ok((arguments, Arc::new(frame)))
}

fn report(tool: &ToolEntry, outcome: CallOutcome, frame: &ContextFrame, json: bool) -> Exit {
    match outcome {
        CallOutcome::Finished(output) => finished(tool, output, frame, json),
        CallOutcome::Faulted(fault) => failed(tool, &fault, frame, json),
        CallOutcome::Lost => failed(tool, &error::lost(), frame, json),
        CallOutcome::Refused(refusal) => {
            complain(&error::refused(refusal, &tool.published, tool.retry_after(refusal)).message);
            Exit::Unavailable
        }
    }
}

fn finished(tool: &ToolEntry, output: GuestOutput, frame: &ContextFrame, json: bool) -> Exit {
    if json {
        return print_json(&tools::finished(tool, output, frame), Exit::Done);
    }
    for content in &output.content {
        let bytes = match content {
            Content::Text(text) => text.as_bytes(),
            Content::Blob { data, .. } => data,
        };
        if print(bytes).is_err() {
            return Exit::ClientGone;
        }
    }
    Exit::Done
}

fn failed(tool: &ToolEntry, fault: &Fault, frame: &ContextFrame, json: bool) -> Exit {
    if json {
        return print_json(&tools::faulted(tool, fault, frame), Exit::Failed);
    }
    complain(&fault.to_string());
    Exit::Failed
}

fn print_json(value: &impl serde::Serialize, exit: Exit) -> Exit {
    let mut text = serde_json::to_vec_pretty(value).expect("results are serialisable");
    text.push(b'\n');
    if print(&text).is_ok() { exit } else { Exit::ClientGone }
}
