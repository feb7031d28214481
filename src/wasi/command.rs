//! A command guest: the seed's kind. One run per call, JSON in, JSON out.
//!
//! Standard input is exactly the arguments. `{"ok":true,"data":…}` on standard output becomes the result,
//! `{"ok":false,"error":…}` a tool error, and anything else text as it is. With `"encoding":"base64"` the data are bytes. The ContextFrame is the environment
//! variable `NURONES_CONTEXT`, the only one.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use wasmtime::{InstancePre, Store};
use wasmtime_wasi::I32Exit;

use super::call::{Content, GuestOutput, GuestRequest};
use super::contract::printable;
use super::engine::Engine;
use super::error::{Fault, FaultCode};
use super::limits::Limits;
use super::store::{CommandState, Sandbox};
use super::warm::cannot_mount;
use crate::frame::{Budget, ContextFrame};
use crate::trail::{Step, Story};

/// Runs the command once in a Store of its own.
///
/// # Errors
/// Whatever ended the run other than exit code 0, and the failure the command printed.
pub async fn run(
    engine: &Engine,
    pre: &InstancePre<CommandState>,
    sandbox: &Sandbox,
    request: GuestRequest,
) -> Result<GuestOutput, Fault> {
    let output_bytes = sandbox.limits.output_bytes;
    let mut store = sandbox
        .command_store(engine, request.arguments, &request.frame.json(), request.frame.budget)
        .map_err(|error| cannot_mount(&error))?;
    if let Some(story) = &request.story {
        story.note(Step::Entered { served: None });
    }
    let ended = start(&mut store, pre).await;
    log_stderr(&sandbox.tool, &request.frame, request.story.as_deref(), &store);
    match ended {
        Ok(()) => {}
        Err(error) if matches!(error.downcast_ref(), Some(I32Exit(0))) => {}
        Err(error) => return Err(exit_fault(&store, &error, output_bytes)),
    }
    interpret(store.data().stdout.take())?.within(output_bytes, 0)
}

/// Builds an instance in a Store of its own and drops it; nothing of it is run but its start function.
///
/// # Errors
/// When the start function fails or a limit is met.
pub(super) async fn instantiate(
    engine: &Engine,
    pre: &InstancePre<CommandState>,
    sandbox: &Sandbox,
) -> Result<(), Fault> {
    let output_bytes = sandbox.limits.output_bytes;
    let mut store =
        sandbox.command_store(engine, String::new(), "{}", Budget::default()).map_err(|error| cannot_mount(&error))?;
    match pre.instantiate_async(&mut store).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::from_guest(&error, store.data().limiter.denials(), output_bytes)),
    }
}

async fn start(store: &mut Store<CommandState>, pre: &InstancePre<CommandState>) -> wasmtime::Result<()> {
    let instance = pre.instantiate_async(&mut *store).await?;
    let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
    start.call_async(store, ()).await
}

/// A command that exits with a failure may still have said why.
fn exit_fault(store: &Store<CommandState>, error: &wasmtime::Error, output_bytes: usize) -> Fault {
    let mut fault = Fault::from_guest(error, store.data().limiter.denials(), output_bytes);
    if fault.code == FaultCode::ExitCode
        && let Err(said) = interpret(store.data().stdout.take())
    {
        fault.message = format!("{}: {}", fault.message, said.message);
    }
    fault
}

/// What the printed bytes mean.
fn interpret(stdout: Vec<u8>) -> Result<GuestOutput, Fault> {
    let text = match String::from_utf8(stdout) {
        Ok(text) => text,
        Err(error) => {
            let content = Content::Blob { data: error.into_bytes(), mime_type: "application/octet-stream".to_owned() };
            return Ok(GuestOutput { content: vec![content], structured: None });
        }
    };
    let Ok(Value::Object(mut answer)) = serde_json::from_str::<Value>(&text) else {
        return Ok(GuestOutput::text(text));
    };
    match answer.get("ok") {
        Some(Value::Bool(true)) => Ok(data(&mut answer)),
        Some(Value::Bool(false)) => Err(Fault::new(
            FaultCode::ToolError,
            match answer.remove("error") {
                Some(Value::String(error)) => error,
                Some(error) => error.to_string(),
                None => "the tool reported a failure without saying which".to_owned(),
            },
        )),
        _ => Ok(GuestOutput::text(text)),
    }
}

/// The data of a successful answer: text, or bytes when it says so and they are.
fn data(answer: &mut Map<String, Value>) -> GuestOutput {
    let text = match answer.remove("data") {
        Some(Value::String(data)) => data,
        Some(data) => data.to_string(),
        None => String::new(),
    };
    let is_base64 = answer.get("encoding").is_some_and(|encoding| encoding == "base64");
    if is_base64 && let Ok(data) = BASE64_STANDARD.decode(&text) {
        let mime_type = answer.get("mimeType").and_then(Value::as_str).unwrap_or("application/octet-stream");
        let content = Content::Blob { data, mime_type: mime_type.to_owned() };
        return GuestOutput { content: vec![content], structured: None };
    }
    GuestOutput::text(text)
}

fn log_stderr(tool: &str, frame: &ContextFrame, story: Option<&Story>, store: &Store<CommandState>) {
    let stderr = &store.data().stderr;
    if !stderr.is_empty() {
        let text = printable(&stderr.take(), Limits::STDERR_BYTES);
        if let Some(story) = story {
            story.said("stderr", &text);
        }
        tracing::debug!(target: "guest", tool, trace_id = &*frame.reason_trace_id, "stderr: {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_answers_are_understood() {
        let text = |stdout: &str| match interpret(stdout.into()).map(|output| output.content) {
            Ok(content) => match content.as_slice() {
                [Content::Text(text)] => Ok(text.clone()),
                other => panic!("{other:?}"),
            },
            Err(fault) => Err(fault.message),
        };
        assert_eq!(text(r#"{"ok":true,"data":"hi","bytes":2}"#), Ok("hi".to_owned()));
        assert_eq!(text(r#"{"ok":true,"data":{"a":1}}"#), Ok(r#"{"a":1}"#.to_owned()));
        assert_eq!(text(r#"{"ok":false,"error":"no such file"}"#), Err("no such file".to_owned()));
        assert_eq!(text("plain\n"), Ok("plain\n".to_owned()));
        assert_eq!(text(r#"{"other":1}"#), Ok(r#"{"other":1}"#.to_owned()));
        assert!(matches!(
            interpret(br#"{"ok":true,"data":"/w==","encoding":"base64"}"#.to_vec()).unwrap().content.as_slice(),
            [Content::Blob { data, .. }] if data == &[0xff]
        ));
        assert!(matches!(
            interpret(vec![0xff]).unwrap().content.as_slice(),
            [Content::Blob { data, .. }] if data == &[0xff]
        ));
    }
}
