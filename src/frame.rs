//! The ContextFrame: what a call is bound to.
//!
//! A client sends it in `_meta["io.nurones/context"]`; what it leaves out comes from [`FrameDefaults`]. The frame is
//! checked key by key, handed to the guest whole, and comes back in the result as it was used. Keys we do not know
//! pass through.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::fields::{Fields, Mistake};

/// Where a frame rides in `_meta`, both ways.
pub const META_KEY: &str = "io.nurones/context";

/// A checked, completed frame.
#[derive(Debug, Clone)]
pub struct ContextFrame {
    values: Map<String, Value>,
    /// The frame as JSON text, as guests get it.
    json: Arc<str>,
    /// Whose call it is; part of what a warm Store may be shared between.
    pub tenant_id: Arc<str>,
    /// Joins all that happens for one reason, in logs and in the supervision log.
    pub reason_trace_id: Arc<str>,
    /// Takes the write capability away.
    pub read_only: bool,
    /// CPU time and memory the caller allows the call.
    pub budget: Budget,
    /// Wall-clock time the caller allows the call.
    pub deadline: Option<Duration>,
}

impl ContextFrame {
    /// The whole frame, for the result's `_meta`.
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// The same, when nothing else is needed of it any more.
    pub fn into_values(self) -> Map<String, Value> {
        self.values
    }

    /// The whole frame as JSON text.
    pub fn json(&self) -> Arc<str> {
        Arc::clone(&self.json)
    }
}

/// What a caller allows one call, on top of what the tool's manifest does: never more, often less. Absent means no limit
/// of the caller's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// CPU time, from `budgets.cpu_ms` of the ContextFrame.
    pub cpu: Option<Duration>,
    /// Bytes of linear memory, from `budgets.mem_mb`.
    pub memory_bytes: Option<usize>,
}

/// What a frame says when the client does not.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameDefaults {
    values: Map<String, Value>,
}

impl FrameDefaults {
    /// Tenant `default`, stage `dev`, risk 0; a new trace id and the time of each call.
    pub fn built_in() -> Self {
        let values =
            [("tenant_id", Value::from("default")), ("stage", Value::from("dev")), ("risk_level", Value::from(0))];
        Self { values: values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
    }

    /// The built-in defaults overlaid with `map`, as read from `context-default.json`. A `ts` of `"auto"` means the
    /// time of each call.
    ///
    /// # Errors
    /// Every mistake found.
    pub fn from_map(map: &Map<String, Value>) -> Result<Self, Vec<Mistake>> {
        check(map)?;
        let mut values = Self::built_in().values;
        overlay(&mut values, map);
        Ok(Self { values })
    }

    /// The frame of a call that says `given`.
    ///
    /// # Errors
    /// Every mistake in `given`.
    pub fn frame(&self, given: Option<&Value>) -> Result<ContextFrame, Vec<Mistake>> {
        let mut values = self.values.clone();
        match given {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                check(map)?;
                overlay(&mut values, map);
            }
            Some(_) => {
                let problem = "must be an object: a ContextFrame".to_owned();
                return Err(vec![Mistake { key: META_KEY.to_owned(), problem }]);
            }
        }
        Ok(complete(values))
    }
}

/// Fills in what only the moment of the call can say.
fn complete(mut values: Map<String, Value>) -> ContextFrame {
    if !values.contains_key("reason_trace_id") {
        values.insert("reason_trace_id".to_owned(), Value::from(trace_id()));
    }
    if values.get("ts").is_none_or(|ts| ts == "auto") {
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        values.insert("ts".to_owned(), Value::from(now));
    }
    let text = |key: &str| values.get(key).and_then(Value::as_str).unwrap_or_default().into();
    let budget = |key: &str| values.get("budgets").and_then(|budgets| budgets.get(key)).and_then(Value::as_u64);
    ContextFrame {
        tenant_id: text("tenant_id"),
        reason_trace_id: text("reason_trace_id"),
        budget: Budget {
            cpu: budget("cpu_ms").map(Duration::from_millis),
            memory_bytes: budget("mem_mb").map(|megabytes| (megabytes as usize) << 20),
        },
        deadline: budget("deadline_ms").map(Duration::from_millis),
        read_only: values.get("flags").and_then(|flags| flags.get("read_only")) == Some(&Value::Bool(true)),
        json: serde_json::to_string(&values).expect("a JSON object is serialisable").into(),
        values,
    }
}

/// A UUID of version 7. Its random part tells calls apart and keeps no secret, so it need not be asked of the system,
/// which would cost each call more than the rest of its frame.
fn trace_id() -> String {
    let now_ms = chrono::Utc::now().timestamp_millis().try_into().unwrap_or(0);
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    uuid::Builder::from_unix_timestamp_millis(now_ms, &random).into_uuid().to_string()
}

/// Puts `top` over `base`; `budgets` and `flags` are merged key by key, so that naming one flag keeps the others.
fn overlay(base: &mut Map<String, Value>, top: &Map<String, Value>) {
    for (key, value) in top {
        match (base.get_mut(key), value) {
            (_, Value::Null) => {}
            (Some(Value::Object(inner)), Value::Object(value)) => overlay(inner, value),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Checks the keys we know; the others are the client's business.
fn check(map: &Map<String, Value>) -> Result<(), Vec<Mistake>> {
    const ID_CHARS: usize = 256;
    let mut fields = Fields::new("", map);
    for key in ["reason_trace_id", "tenant_id"] {
        if fields.string(key).is_some_and(|id| id.is_empty() || id.len() > ID_CHARS) {
            fields.mistake(key, format!("must have 1 to {ID_CHARS} bytes"));
        }
    }
    if let Some(stage) = fields.string("stage")
        && !["dev", "staging", "prod"].contains(&stage)
    {
        fields.mistake("stage", format!("must be dev, staging or prod, not `{stage}`"));
    }
    fields.integer("risk_level", 0..=2);
    fields.number("novelty_score", 0.0..=1.0);
    fields.number("context_confidence", 0.0..=1.0);
    fields.nested("budgets", |budgets| {
        budgets.integer("cpu_ms", 1..=3_600_000);
        budgets.integer("deadline_ms", 1..=3_600_000);
        budgets.integer("mem_mb", 1..=65_536);
        budgets.number("rps", 0.001..=1_000_000.0);
    });
    fields.nested("flags", |flags| {
        flags.boolean("allow_autotune");
        flags.boolean("read_only");
    });
    if let Some(ts) = fields.value("ts")
        && !(ts.is_string() || ts.is_number())
    {
        fields.mistake("ts", "must be an RFC 3339 time, a number, or \"auto\"");
    }
    let mistakes = fields.finish();
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_client_leaves_out_comes_from_the_defaults() {
        let seed = json!({"reason_trace_id":"bootstrap-000","tenant_id":"default","stage":"dev","risk_level":0,
            "context_confidence":0.7,"ts":"auto","flags":{"read_only":true}});
        let defaults = FrameDefaults::from_map(seed.as_object().unwrap()).unwrap();
        let given = json!({"tenant_id": "acme", "flags": {"allow_autotune": false}, "x-custom": [1]});
        let frame = defaults.frame(Some(&given)).unwrap();
        assert_eq!(&*frame.tenant_id, "acme");
        assert!(frame.read_only, "naming one flag must not reset the other");
        assert_eq!(&*frame.reason_trace_id, "bootstrap-000");
        assert_eq!(frame.values()["x-custom"], json!([1]));
        assert_ne!(frame.values()["ts"], "auto");
        assert_eq!(serde_json::from_str::<Value>(&frame.json()).unwrap(), Value::Object(frame.values().clone()));
    }

    #[test]
    fn every_wrong_key_is_named() {
        let given = json!({"stage": "qa", "risk_level": 3, "novelty_score": 2, "flags": {"read_only": "yes"},
            "budgets": {"cpu_ms": 0}, "tenant_id": ""});
        let mistakes = FrameDefaults::built_in().frame(Some(&given)).unwrap_err();
        let mut keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["budgets.cpu_ms", "flags.read_only", "novelty_score", "risk_level", "stage", "tenant_id"]);
        assert!(FrameDefaults::built_in().frame(Some(&json!("frame"))).is_err());
    }

    #[test]
    fn each_call_without_a_trace_id_gets_its_own() {
        let frame = || FrameDefaults::built_in().frame(None).unwrap();
        assert_ne!(frame().reason_trace_id, frame().reason_trace_id);
    }
}
