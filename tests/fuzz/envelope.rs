//! Envelopes: every line gets the verdict that a naive reader, with all the time in the world, would give it.

use std::fmt;

use nurones_mcp::mcp::envelope::{Envelope, INVALID_REQUEST, PARSE_ERROR, id_in_head};
use rmcp::model::RequestId;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// Words that mean something in a line.
pub const TOKENS: &[&str] = &[
    "\"jsonrpc\"",
    "\"2.0\"",
    "\"id\"",
    "\"method\"",
    "\"params\"",
    "\"result\"",
    "\"error\"",
    "\"tools/call\"",
    "\"notifications/cancelled\"",
    "\"requestId\"",
    "\"ping\"",
    "\"\\u0069d\"",
    "\"2\\u002e0\"",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"id\":7",
    "\"jsonrpc\":\"2.0\",",
    "\n",
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n",
];

/// Longest id and deepest nesting, as the documentation has them.
const ID_BYTES: usize = 1024;
const DEPTH: usize = 64;

/// Ids of an overlong line are looked for in what stands before as many cuts.
const CUTS: usize = 24;

/// The property, of all lines of `data`.
pub fn check(data: &[u8]) -> Result<(), String> {
    data.split(|byte| *byte == b'\n').try_for_each(|line| {
        check_line(line, |line| Verdict::of(Envelope::of(line)))?;
        check_head(line, id_in_head)
    })
}

/// What a line is taken for.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Ignored,
    Refused { code: i32, id: Option<RequestId> },
    Request { id: RequestId, is_call: bool },
    Cancel(RequestId),
    Notification,
}

impl Verdict {
    pub fn of(envelope: Envelope<'_>) -> Self {
        match envelope {
            Envelope::Ignore => Self::Ignored,
            Envelope::Refuse(refused) => Self::Refused { code: refused.code, id: refused.id },
            Envelope::Request { id, call } => Self::Request { id, is_call: call.is_some() },
            Envelope::Cancel { id } => Self::Cancel(id),
            Envelope::Notification => Self::Notification,
        }
    }
}

/// Compares the verdict with the naive one.
pub fn check_line(line: &[u8], verdict: impl Fn(&[u8]) -> Verdict) -> Result<(), String> {
    let seen = verdict(line);
    match naive(line) {
        Some(expected) if expected != seen => Err(format!("{seen:?} instead of {expected:?}")),
        _ => Ok(()),
    }
}

/// An overlong line has its id in what is seen of it, or none; never another.
pub fn check_head(line: &[u8], find: impl Fn(&[u8]) -> Option<RequestId>) -> Result<(), String> {
    let Ok(Members(members)) = serde_json::from_slice::<Members>(line) else { return Ok(()) };
    let Some(id) = only_id(&members).filter(|_| !has_negative_zero(&members)) else { return Ok(()) };
    for cut in (0..=line.len()).step_by(1 + line.len() / CUTS) {
        if let Some(found) = find(&line[..cut])
            && found != id
        {
            return Err(format!("after {cut} bytes the id {found:?} is found, and it is {id:?}"));
        }
    }
    // Written plainly, it must be found as soon as it is over.
    let plain: serde_json::Map<String, Value> = members.iter().cloned().collect();
    if members.len() == plain.len() {
        let plain = serde_json::to_string(&plain).expect("it was JSON");
        match find(plain.as_bytes()) {
            Some(found) if found == id => {}
            found => return Err(format!("{found:?} is found in {plain} instead of {id:?}")),
        }
    }
    Ok(())
}

/// The members of an object in their order, with those that appear twice.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The verdict of the rules in docs/operating.md; none for what serde_json cannot hold as a value although it is JSON
/// (`1e400`, lone surrogates, deep nesting), and for `-0`, which is an integer to some and not to others.
fn naive(line: &[u8]) -> Option<Verdict> {
    let line = line.trim_ascii();
    let refused = |code, id| Some(Verdict::Refused { code, id });
    if line.is_empty() {
        return Some(Verdict::Ignored);
    }
    let is_json = std::str::from_utf8(line).is_ok() && serde_json::from_slice::<IgnoredAny>(line).is_ok();
    if !is_json {
        return refused(PARSE_ERROR, None);
    }
    if line[0] != b'{' {
        return refused(INVALID_REQUEST, None);
    }
    let Members(members) = serde_json::from_slice(line).ok()?;
    if has_negative_zero(&members) {
        return None;
    }
    let count = |name: &str| members.iter().filter(|(key, _)| key == name).count();
    let get = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let id = only_id(&members);
    let twice = ["jsonrpc", "id", "method", "params", "result", "error"].iter().any(|name| count(name) > 1);
    let deep = 1 + members.iter().map(|(_, value)| depth(value)).max().unwrap_or(0) > DEPTH;
    if twice || deep || get("jsonrpc") != Some(&Value::from("2.0")) || (count("id") > 0 && id.is_none()) {
        return refused(INVALID_REQUEST, id);
    }
    let method = match get("method") {
        Some(Value::String(method)) => method,
        None if get("result").or(get("error")).is_some() => return Some(Verdict::Ignored),
        _ => return refused(INVALID_REQUEST, id),
    };
    Some(match id {
        Some(id) if get("params").is_some_and(|params| !params.is_object() && !params.is_null()) => {
            Verdict::Refused { code: -32602, id: Some(id) }
        }
        Some(id) => Verdict::Request { id, is_call: method == "tools/call" },
        None if method == "notifications/cancelled" => {
            #[derive(serde::Deserialize)]
            struct OnlyParams {
                params: Members,
            }
            let params = serde_json::from_slice(line).map(|OnlyParams { params: Members(params) }| params);
            let mut wanted = params.iter().flatten().filter(|(key, _)| key == "requestId");
            let wanted = wanted.next().and_then(|(_, id)| id_of(id)).filter(|_| wanted.next().is_none());
            wanted.map_or(Verdict::Ignored, Verdict::Cancel)
        }
        None => Verdict::Notification,
    })
}

/// The id, if there is exactly one and it can be one.
fn only_id(members: &[(String, Value)]) -> Option<RequestId> {
    let mut ids = members.iter().filter(|(key, _)| key == "id");
    let id = ids.next().and_then(|(_, value)| id_of(value));
    id.filter(|_| ids.next().is_none())
}

fn id_of(value: &Value) -> Option<RequestId> {
    match value {
        Value::Number(number) => number.as_i64().map(RequestId::Number),
        Value::String(text) if text.len() <= ID_BYTES => Some(RequestId::String(text.as_str().into())),
        _ => None,
    }
}

fn has_negative_zero(members: &[(String, Value)]) -> bool {
    let is_it = |value: &Value| value.as_f64().is_some_and(|number| number == 0.0 && number.is_sign_negative());
    members.iter().any(|(key, value)| match key.as_str() {
        "id" => is_it(value),
        "params" => value.get("requestId").is_some_and(is_it),
        _ => false,
    })
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
