//! Before measuring: the handshake, and each call once to see that it works.

use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::{Value, json};

use super::error::LoadError;
use super::exchange::{Ended, Exchange};
use super::plan::{Call, Plan};
use super::protocol::Protocol;
use super::requests::Requests;
use super::schedule::Share;
use super::table::harmless;
use super::wire;

/// How long each answer may take; a server may have to be downloaded first.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the observer is asked meanwhile.
const TICK: Duration = Duration::from_millis(100);

/// Ids of the session's requests. Trials all have the same, as they are made one after the other.
const HELLO: u64 = 1;
const TRIAL: u64 = 2;
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

/// Opens the session and makes each call of `plan` once; returns the version that is spoken, if the server named one.
/// `observe` is asked whether to go on.
pub(super) fn open(
    exchange: &Exchange,
    plan: &Plan,
    share: Share,
    observe: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Option<String>, Failure> {
    let version = greet(exchange, plan.protocol, observe)?;
    let mut requests = Requests::new(plan, share);
    for (position, call) in plan.calls.iter().enumerate() {
        let trial = requests.trial(position, TRIAL);
        let result = answer(exchange, "the first call failed", TRIAL, &trial, observe)?;
        let Some(what) = failure(&result) else { continue };
        // Servers say in many ways that they have no such tool; the list says it for all.
        let list = wire::request(LIST, "tools/list", &plan.protocol.params(json!({})));
        let list = answer(exchange, "listing the tools failed", LIST, &list, observe);
        let known = list.map(|list| names(&list)).unwrap_or_default();
        return Err(Failure::Known(why(call, what, &known)));
    }
    Ok(version)
}

/// The handshake, or what versions without one have to see who is there; returns the version that is spoken.
fn greet(
    exchange: &Exchange,
    protocol: Protocol,
    observe: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Option<String>, Failure> {
    let has_handshake = protocol.meta().is_none();
    let hello = if has_handshake {
        let params = json!({
            "protocolVersion": protocol.version(),
            "capabilities": {},
            "clientInfo": Protocol::client(),
        });
        wire::request(HELLO, "initialize", &params)
    } else {
        wire::request(HELLO, "server/discover", &protocol.params(json!({})))
    };
    let welcome = answer(exchange, "the handshake failed", HELLO, &hello, observe)?;
    if let Some(error) = failure(&welcome) {
        let version = protocol.version();
        return Err(Failure::Known(LoadError::Handshake { error, version }));
    }
    if !has_handshake {
        // Every request says which it is, and this one was accepted.
        return Ok(Some(protocol.version().to_owned()));
    }
    exchange.write(&wire::notification("notifications/initialized"));
    Ok(welcome["result"]["protocolVersion"].as_str().map(str::to_owned))
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
    tools.into_iter().flatten().filter_map(|tool| Some(harmless(tool["name"].as_str()?))).collect()
}
