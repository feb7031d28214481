//! ContextFrames: used as they say, or refused with every mistake by its key.

use nurones_mcp::fields::Mistake;
use nurones_mcp::frame::{ContextFrame, FrameDefaults, META_KEY};
use serde_json::{Map, Value};

/// Words that mean something in a frame.
pub const TOKENS: &[&str] = &[
    "\"reason_trace_id\"",
    "\"tenant_id\"",
    "\"stage\"",
    "\"dev\"",
    "\"staging\"",
    "\"prod\"",
    "\"risk_level\"",
    "\"novelty_score\"",
    "\"context_confidence\"",
    "\"budgets\"",
    "\"cpu_ms\"",
    "\"mem_mb\"",
    "\"rps\"",
    "\"flags\"",
    "\"allow_autotune\"",
    "\"read_only\"",
    "\"ts\"",
    "\"auto\"",
    "\"x-custom\"",
    "\"\"",
];

/// A maker of frames: of defaults, and of what a client says on top.
pub type Maker = fn(&FrameDefaults, &Value) -> Result<ContextFrame, Vec<Mistake>>;

/// The property, of our frames.
pub fn check(data: &[u8]) -> Result<(), String> {
    check_maker(data, |defaults, given| defaults.frame(Some(given)))
}

/// The property, of any: the data is what a client says, over built-in defaults and over defaults read from it too.
pub fn check_maker(data: &[u8], make: Maker) -> Result<(), String> {
    let Ok(given) = serde_json::from_slice::<Value>(data) else { return Ok(()) };
    check_frame(&FrameDefaults::built_in(), &given, make)?;
    let Value::Object(map) = &given else { return Ok(()) };
    match FrameDefaults::from_map(map) {
        Ok(defaults) => {
            check_frame(&defaults, &given, make)?;
            check_frame(&defaults, &Value::Null, make)
        }
        Err(mistakes) => check_mistakes(&mistakes, map),
    }
}

fn check_frame(defaults: &FrameDefaults, given: &Value, make: Maker) -> Result<(), String> {
    let frame = match (make(defaults, given), given) {
        (Ok(frame), Value::Object(_) | Value::Null) => frame,
        (Ok(_), _) => return Err(format!("{given} was taken for a frame")),
        (Err(mistakes), Value::Object(map)) => return check_mistakes(&mistakes, map),
        (Err(mistakes), _) if mistakes.len() == 1 && mistakes[0].key == META_KEY => return Ok(()),
        (Err(mistakes), _) => return Err(format!("{given} is refused with {mistakes:?}")),
    };
    let values = frame.values();
    if let Value::Object(map) = given {
        is_kept(map, &values)?;
    }
    let text = |key: &str| values.get(key).and_then(Value::as_str);
    if text("tenant_id") != Some(&*frame.tenant_id) || text("reason_trace_id") != Some(&*frame.reason_trace_id) {
        return Err(format!("the frame and its ids differ: {frame:?}"));
    }
    let read_only = values.get("flags").and_then(|flags| flags.get("read_only")) == Some(&Value::Bool(true));
    if read_only != frame.read_only || frame.tenant_id.is_empty() || text("ts") == Some("auto") {
        return Err(format!("the frame is not what it says: {frame:?}"));
    }
    match serde_json::from_str::<Value>(&frame.json()) {
        Ok(Value::Object(told)) if told == values => {}
        told => return Err(format!("the tool is told {told:?} instead of {values:?}")),
    }
    // What was used can be sent again and is used as it is.
    let again = make(defaults, &Value::Object(values.clone()));
    match again {
        Ok(again) if again.values() == values => Ok(()),
        Ok(again) => Err(format!("{values:?} comes back as {:?}", again.values())),
        Err(mistakes) => Err(format!("{values:?} is not taken again: {mistakes:?}")),
    }
}

/// Everything given is in the frame: members of objects one by one, `null` as if it were not there, a time `auto` as one.
fn is_kept(given: &Map<String, Value>, values: &Map<String, Value>) -> Result<(), String> {
    for (key, value) in given {
        match (value, values.get(key)) {
            (Value::Null, _) => {}
            (Value::String(text), Some(_)) if key == "ts" && text == "auto" => {}
            (Value::Object(inner), Some(Value::Object(kept))) => is_kept(inner, kept)?,
            (value, kept) if kept == Some(value) => {}
            (value, kept) => return Err(format!("{key:?} was {value} and became {kept:?}")),
        }
    }
    Ok(())
}

fn check_mistakes(mistakes: &[Mistake], given: &Map<String, Value>) -> Result<(), String> {
    if mistakes.is_empty() {
        return Err("it is refused, and no mistake is named".to_owned());
    }
    let is_there = |key: &str| given.contains_key(key.split('.').next().unwrap_or_default());
    let stray = mistakes.iter().find(|mistake| !is_there(&mistake.key));
    stray.map_or(Ok(()), |mistake| Err(format!("nobody gave this key: {mistake}")))
}
