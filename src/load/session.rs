//! Before measuring: the handshake, and one call to see that the call works.

use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::{Value, json};

use super::error::LoadError;
use super::exchange::{Ended, Exchange};
use super::plan::Call;
use super::wire;

/// The protocol version we speak. Servers of every era since know it, or answer with one they know; for calling a tool
/// the differences do not matter.
const PROTOCOL_VERSION: &str = "2025-06-18";

/// How long each answer may take; a server may have to be downloaded first.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the observer is asked meanwhile.
const TICK: Duration = Duration::from_millis(100);

/// Ids of the session's requests.
const INITIALIZE: u64 = 1;
const FIRST_CALL: u64 = 2;
const LIST: u64 = 3;

/// What went wrong, as far as the wire shows it.
pub(super) enum Failure {
    /// It is clear what.
    Known(LoadError),
    /// No answer came; the process knows why.
    Silent {
        /// What was being done.
        step: &'static str,
        /// Why no answer can come any more; `None` when the time was up.
        ended: Option<Ended>,
    },
}

/// Opens the session and makes the call once. `observe` is asked whether to go on.
pub(super) fn open(
    exchange: &Exchange,
    call: &Call,
    observe: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<(), Failure> {
    let mut ask = |step, id, method, params| answer(exchange, step, id, &wire::request(id, method, &params), observe);
    let hello = json!({
        "protocolVersion": PROTOCOL_VERSION,
        "capabilities": {},
        "clientInfo": { "name": "nurones-load", "version": env!("CARGO_PKG_VERSION") },
    });
    let welcome = ask("the handshake failed", INITIALIZE, "initialize", hello)?;
    if let Some(error) = failure(&welcome) {
        return Err(Failure::Known(LoadError::Handshake(error)));
    }
    exchange.write(&wire::notification("notifications/initialized"));
    let params = json!({ "name": call.tool, "arguments": call.arguments });
    let result = ask("the first call failed", FIRST_CALL, "tools/call", params)?;
    let Some(what) = failure(&result) else { return Ok(()) };
    // Servers say in many ways that they have no such tool; the list says it for all.
    let list = ask("listing the tools failed", LIST, "tools/list", json!({}));
    let known = list.map(|list| names(&list)).unwrap_or_default();
    Err(Failure::Known(why(call, what, &known)))
}

fn why(call: &Call, what: String, known: &[String]) -> LoadError {
    let tool = call.tool.clone();
    // Servers may publish dotted names with `_`, and take both.
    if known.is_empty() || known.contains(&tool) || known.contains(&tool.replace('.', "_")) {
        LoadError::FirstCall { tool, what }
    } else {
        LoadError::UnknownTool { tool, known: known.join(", ") }
    }
}

fn answer(
    exchange: &Exchange,
    step: &'static str,
    id: u64,
    request: &[u8],
    observe: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Value, Failure> {
    exchange.ask(id, request);
    let until = exchange.now_ns() + PATIENCE.as_nanos() as u64;
    loop {
        let mut state = exchange.lock();
        let now = exchange.now_ns();
        if state.answer.is_none() && state.ended.is_none() {
            exchange.wait(&mut state, until.min(now + TICK.as_nanos() as u64));
        }
        if let Some(line) = state.answer.take() {
            return Ok(serde_json::from_slice(&line).unwrap_or_default());
        }
        if state.ended.is_some() || now >= until {
            return Err(Failure::Silent { step, ended: state.ended });
        }
        drop(state);
        if observe().is_break() {
            return Err(Failure::Known(LoadError::Stopped));
        }
    }
}

/// What an answer says is wrong, if anything.
fn failure(answer: &Value) -> Option<String> {
    match wire::classify(answer.to_string().as_bytes()) {
        wire::Message::Answer { outcome: wire::Outcome::Good, .. } => None,
        wire::Message::Answer { outcome: wire::Outcome::Shed(text) | wire::Outcome::Error(text), .. } => Some(text),
        _ => Some("the answer cannot be read".to_owned()),
    }
}

fn names(list: &Value) -> Vec<String> {
    let tools = list["result"]["tools"].as_array();
    tools.into_iter().flatten().filter_map(|tool| Some(tool["name"].as_str()?.to_owned())).collect()
}
