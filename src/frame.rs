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
    /// The frame as JSON text, as guests and results get it.
    json: Arc<str>,
    /// Whose call it is; part of what a warm Store may be shared between.
    pub tenant_id: Arc<str>,
    /// Joins all that happens for one reason, in logs and in the supervision log.
    pub reason_trace_id: Arc<str>,
    /// How far from harm the work is.
    pub stage: Stage,
    /// How much could go wrong, from 0 to 2.
    pub risk_level: u8,
    /// Takes the write capability away.
    pub read_only: bool,
    /// CPU time and memory the caller allows the call.
    pub budget: Budget,
    /// Wall-clock time the caller allows the call.
    pub deadline: Option<Duration>,
    /// Calls a second that the tenant allows itself.
    pub rps: Option<f64>,
}

impl ContextFrame {
    /// The whole frame, key by key.
    pub fn values(&self) -> Map<String, Value> {
        serde_json::from_str(&self.json).expect("a frame is a JSON object")
    }

    /// The whole frame as JSON text.
    pub fn json(&self) -> Arc<str> {
        Arc::clone(&self.json)
    }
}

/// Where the work takes place; the later, the stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Where things may break.
    Dev,
    /// Where they are tried.
    Staging,
    /// Where people depend on them.
    Prod,
}

impl Stage {
    /// All of them, from lax to strict.
    pub const ALL: [Self; 3] = [Self::Dev, Self::Staging, Self::Prod];

    /// The stage, as frames have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Staging => "staging",
            Self::Prod => "prod",
        }
    }

    /// The stage of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

/// The highest risk level.
pub const HIGHEST_RISK: u8 = 2;

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
#[derive(Debug, Clone)]
pub struct FrameDefaults {
    values: Map<String, Value>,
    template: Template,
    /// Whether a client may make its call stricter than these say, and never laxer.
    binding: bool,
}

impl FrameDefaults {
    /// Tenant `default`, stage `dev`, risk 0; a new trace id and the time of each call.
    pub fn built_in() -> Self {
        let values =
            [("tenant_id", Value::from("default")), ("stage", Value::from("dev")), ("risk_level", Value::from(0))];
        Self::of(values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
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
        Ok(Self::of(values))
    }

    fn of(values: Map<String, Value>) -> Self {
        Self { template: Template::of(&values), values, binding: false }
    }

    /// The same, but what they say of `stage`, `risk_level` and `flags.read_only` is the least strict a frame can be:
    /// where a policy decides by them, a client must not be able to talk its way out.
    pub fn binding(self) -> Self {
        Self { binding: true, ..self }
    }

    /// The frame of a call that says `given`.
    ///
    /// # Errors
    /// Every mistake in `given`.
    pub fn frame(&self, given: Option<&Value>) -> Result<ContextFrame, Vec<Mistake>> {
        match given {
            None | Some(Value::Null) => Ok(self.template.frame()),
            Some(Value::Object(map)) => {
                check(map)?;
                let mut values = self.values.clone();
                overlay(&mut values, map);
                if self.binding {
                    self.tighten(&mut values);
                }
                Ok(complete(values))
            }
            Some(_) => {
                let problem = "must be an object: a ContextFrame".to_owned();
                Err(vec![Mistake { key: META_KEY.to_owned(), problem }])
            }
        }
    }
}

impl FrameDefaults {
    /// Takes back what `values` say more laxly than the defaults.
    fn tighten(&self, values: &mut Map<String, Value>) {
        let least = &self.template.frame;
        values.insert("stage".to_owned(), stage(values).max(least.stage).as_str().into());
        values.insert("risk_level".to_owned(), risk_level(values).max(least.risk_level).into());
        if least.read_only
            && let Some(Value::Object(flags)) = values.get_mut("flags")
        {
            flags.insert("read_only".to_owned(), true.into());
        }
    }
}

/// The frame of a call that says nothing of its own, but for what only the moment of the call can say. Most calls have
/// it, so it is serialised once.
#[derive(Debug, Clone)]
struct Template {
    /// All of it but the gaps, for the fields that are read out of it.
    frame: ContextFrame,
    /// JSON text, and what comes after each piece.
    pieces: Vec<(String, Option<Gap>)>,
}

/// What only the moment of a call can say.
#[derive(Debug, Clone, Copy)]
enum Gap {
    TraceId,
    Now,
}

impl Template {
    fn of(values: &Map<String, Value>) -> Self {
        let mut keys: Vec<&str> = values.keys().map(String::as_str).collect();
        keys.extend([TRACE_ID, TIME]);
        keys.sort_unstable();
        keys.dedup();
        let (mut pieces, mut text) = (Vec::new(), String::from("{"));
        for key in keys {
            let comma = if text == "{" && pieces.is_empty() { "" } else { "," };
            text += &format!("{comma}{}:", Value::from(key));
            match gap(values, key) {
                None => text += &values[key].to_string(),
                gap => pieces.push((std::mem::take(&mut text), gap)),
            }
        }
        pieces.push((text + "}", None));
        Self { frame: complete(values.clone()), pieces }
    }

    fn frame(&self) -> ContextFrame {
        let mut frame = self.frame.clone();
        let mut json = String::with_capacity(frame.json.len());
        for (text, gap) in &self.pieces {
            json += text;
            let said = match gap {
                None => continue,
                Some(Gap::Now) => now(),
                Some(Gap::TraceId) => {
                    let id = trace_id();
                    frame.reason_trace_id = id.as_str().into();
                    id
                }
            };
            // Neither has a character that JSON escapes.
            json.extend(["\"", &said, "\""]);
        }
        frame.json = json.into();
        frame
    }
}

/// What is to be filled in for this key, if these values leave it open.
fn gap(values: &Map<String, Value>, key: &str) -> Option<Gap> {
    match (key, values.get(key)) {
        (TRACE_ID, None) => Some(Gap::TraceId),
        (TIME, None) => Some(Gap::Now),
        (TIME, Some(time)) if time == "auto" => Some(Gap::Now),
        _ => None,
    }
}

const TRACE_ID: &str = "reason_trace_id";
const TIME: &str = "ts";

fn stage(values: &Map<String, Value>) -> Stage {
    values.get("stage").and_then(Value::as_str).and_then(Stage::named).unwrap_or(Stage::Dev)
}

fn risk_level(values: &Map<String, Value>) -> u8 {
    values.get("risk_level").and_then(Value::as_u64).map_or(0, |level| level.min(HIGHEST_RISK.into()) as u8)
}

/// Fills in what only the moment of the call can say.
fn complete(mut values: Map<String, Value>) -> ContextFrame {
    for key in [TRACE_ID, TIME] {
        let said = match gap(&values, key) {
            None => continue,
            Some(Gap::TraceId) => trace_id(),
            Some(Gap::Now) => now(),
        };
        values.insert(key.to_owned(), Value::from(said));
    }
    let text = |key: &str| values.get(key).and_then(Value::as_str).unwrap_or_default().into();
    let budgets = |key: &str| values.get("budgets").and_then(|budgets| budgets.get(key));
    let budget = |key: &str| budgets(key).and_then(Value::as_u64);
    ContextFrame {
        tenant_id: text("tenant_id"),
        reason_trace_id: text("reason_trace_id"),
        budget: Budget {
            cpu: budget("cpu_ms").map(Duration::from_millis),
            memory_bytes: budget("mem_mb").map(|megabytes| (megabytes as usize) << 20),
        },
        deadline: budget("deadline_ms").map(Duration::from_millis),
        rps: budgets("rps").and_then(Value::as_f64),
        stage: stage(&values),
        risk_level: risk_level(&values),
        read_only: values.get("flags").and_then(|flags| flags.get("read_only")) == Some(&Value::Bool(true)),
        json: serde_json::to_string(&values).expect("a JSON object is serialisable").into(),
    }
}

/// RFC 3339, in milliseconds.
fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
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
        && Stage::named(stage).is_none()
    {
        fields.mistake("stage", format!("must be dev, staging or prod, not `{stage}`"));
    }
    fields.integer("risk_level", 0..=HIGHEST_RISK.into());
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
        assert_eq!(frame.values()["reason_trace_id"], "bootstrap-000");
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
    fn a_call_that_says_nothing_has_the_frame_of_one_that_says_an_empty_one() {
        let values = |defaults: &FrameDefaults, given: Option<&Value>| {
            let frame = defaults.frame(given).unwrap();
            let mut values = frame.values();
            assert_eq!(values["reason_trace_id"], *frame.reason_trace_id);
            assert_eq!(serde_json::to_string(&values).unwrap(), *frame.json(), "sorted, and without spaces");
            for key in ["reason_trace_id", "ts"] {
                let said = values[key].to_string();
                values.insert(key.to_owned(), Value::from(said.chars().map(|_| 'x').collect::<String>()));
            }
            (values, frame.tenant_id, frame.read_only, frame.budget, frame.deadline)
        };
        let all =
            json!({"reason_trace_id":"a\"b","tenant_id":"t","ts":"2026-01-01","budgets":{"cpu_ms":5,"deadline_ms":7}});
        let late = json!({"ts": "auto", "zz": [1, {"a": null}], "a": "first", "flags": {"read_only": true}});
        for given in [json!({}), all, late] {
            let defaults = FrameDefaults::from_map(given.as_object().unwrap()).unwrap();
            assert_eq!(values(&defaults, None), values(&defaults, Some(&json!({}))), "{given}");
        }
    }

    #[test]
    fn binding_defaults_can_be_made_stricter_and_never_laxer() {
        let strict = json!({"stage": "staging", "risk_level": 1, "flags": {"read_only": true}});
        let defaults = FrameDefaults::from_map(strict.as_object().unwrap()).unwrap();
        let lax = json!({"stage": "dev", "risk_level": 0, "flags": {"read_only": false}});
        let said = |defaults: &FrameDefaults, given: &Value| {
            let frame = defaults.frame(Some(given)).unwrap();
            let values = frame.values();
            assert_eq!(values["stage"], frame.stage.as_str());
            assert_eq!(values["risk_level"], frame.risk_level);
            assert_eq!(values["flags"]["read_only"], frame.read_only);
            (frame.stage, frame.risk_level, frame.read_only)
        };
        assert_eq!(said(&defaults, &lax), (Stage::Dev, 0, false), "without a policy they are defaults and no rule");
        let binding = defaults.binding();
        assert_eq!(said(&binding, &lax), (Stage::Staging, 1, true));
        assert_eq!(said(&binding, &json!({"stage": "prod", "risk_level": 2})), (Stage::Prod, 2, true));
        assert_eq!(said(&binding, &json!({"flags": null})), (Stage::Staging, 1, true));
    }

    #[test]
    fn each_call_without_a_trace_id_gets_its_own() {
        let frame = || FrameDefaults::built_in().frame(None).unwrap();
        assert_ne!(frame().reason_trace_id, frame().reason_trace_id);
    }
}
