//! `call`: one tool, once, from the shell, through the same lane and sandbox as a client's call.

use std::sync::Arc;

use clap::Args;
use rmcp::model::{JsonObject, RequestMetaObject};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, complain, print, run_on_control_plane};
use crate::actors::message::CallOutcome;
use crate::actors::shared::Shared;
use crate::actors::tool_table::ToolEntry;
use crate::config::Config;
use crate::frame::{self, ContextFrame};
use crate::mcp::admission::{self, Asked, Denied};
use crate::mcp::witness::Witness;
use crate::mcp::{error, tools};
use crate::runtime::Runtime;
use crate::wasi::call::Content;

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
pub fn run(mut config: Config, args: &CallArgs) -> Exit {
    // One call tells nothing about a tool, and must not keep a server from tuning it.
    config.tuning.enabled = false;
    run_on_control_plane(call(&config, args))
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
    let exit = make(&server.shared, &tool, arguments, &frame, args.json).await;
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

/// Makes the call as a client's would be, audited as that would be, and says how it ended.
async fn make(shared: &Shared, tool: &ToolEntry, arguments: JsonObject, frame: &Arc<ContextFrame>, json: bool) -> Exit {
    let cancel = CancellationToken::new();
    let mut witness = Witness::begin(&RequestMetaObject::new(), None, &cancel);
    witness.tool(tool);
    witness.frame(shared, tool, frame, &arguments);
    let output = Arc::default();
    let asked = Asked { arguments, frame, cancel, output: &output, progress: None, story: witness.story() };
    let outcome = match admission::admit(shared, tool, asked).await {
        Ok(mut admitted) => {
            witness.admitted();
            Ok(admitted.answer.wait().await)
        }
        Err(denied) => Err(denied),
    };
    let fault = match &outcome {
        Ok(CallOutcome::Faulted(fault)) | Err(Denied::Fault(fault)) => Some(fault.clone()),
        Ok(CallOutcome::Lost) => Some(error::lost()),
        _ => None,
    };
    let content = match &outcome {
        Ok(CallOutcome::Finished(output)) if !json => output.content.clone(),
        _ => Vec::new(),
    };
    let mut result = match outcome {
        Ok(outcome) => tools::answer(tool, outcome, frame),
        Err(denied) => tools::denied(tool, denied, frame),
    };
    witness.end(&mut result);
    match (result, fault) {
        (Err(error), _) => {
            complain(&error.message);
            Exit::Unavailable
        }
        (Ok(result), fault) if json => print_json(&result, if fault.is_some() { Exit::Failed } else { Exit::Done }),
        (Ok(_), Some(fault)) => {
            complain(&fault.to_string());
            Exit::Failed
        }
        (Ok(_), None) => print_content(&content),
    }
}

fn print_content(content: &[Content]) -> Exit {
    for content in content {
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

fn print_json(value: &impl serde::Serialize, exit: Exit) -> Exit {
    let mut text = serde_json::to_vec_pretty(value).expect("results are serialisable");
    text.push(b'\n');
    if print(&text).is_ok() { exit } else { Exit::ClientGone }
}
