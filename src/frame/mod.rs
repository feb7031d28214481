//! The ContextFrame: what a call is bound to.
//!
//! A client sends it in `_meta["io.nurones/context"]`; what it leaves out comes from [`FrameDefaults`]. The frame is
//! checked key by key, handed to the guest whole, and comes back in the result as it was used. Keys we do not know
//! pass through.

mod allowance;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

pub use allowance::Allowance;

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
    /// Whether what the server learns from the call may change its settings.
    pub allow_autotune: bool,
    /// CPU time and memory the caller allows the call.
    pub budget: Budget,
    /// Wall-clock time the caller allows the call.
    pub deadline: Option<Duration>,
    /// What the tenant allows all of its calls together.
    pub allowance: Allowance,
}

impl ContextFrame {
    /// Whether what becomes of the call may move the tool's knobs.
    pub fn is_tunable(&self) -> bool {
        self.risk_level == 0 && self.allow_autotune
    }

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
        self.frame_in(given, None)
    }

    /// The same for a call that belongs to the trace of this id, which is then its reason unless `given` has another.
    ///
    /// # Errors
    /// Every mistake in `given`.
    pub fn frame_in(&self, given: Option<&Value>, trace: Option<&str>) -> Result<ContextFrame, Vec<Mistake>> {
        match given {
            None | Some(Value::Null) if trace.is_none() || !self.values.contains_key(TRACE_ID) => {
                Ok(self.template.frame(trace))
            }
            None | Some(Value::Null) => Ok(self.overlaid(&Map::new(), trace)),
            Some(Value::Object(map)) => {
                check(map)?;
                Ok(self.overlaid(map, trace))
            }
            Some(_) => {
                let problem = "must be an object: a ContextFrame".to_owned();
                Err(vec![Mistake { key: META_KEY.to_owned(), problem }])
            }
        }
    }
}

impl FrameDefaults {
    fn overlaid(&self, given: &Map<String, Value>, trace: Option<&str>) -> ContextFrame {
        let mut values = self.values.clone();
        if let Some(trace) = trace {
            values.insert(TRACE_ID.to_owned(), trace.into());
        }
        overlay(&mut values, given);
        if self.binding {
            self.tighten(&mut values);
        }
        complete(values)
    }

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

    fn frame(&self, trace: Option<&str>) -> ContextFrame {
        let mut frame = self.frame.clone();
        let mut json = String::with_capacity(frame.json.len());
        for (text, gap) in &self.pieces {
            json += text;
            let said = match gap {
                None => continue,
                Some(Gap::Now) => now(),
                Some(Gap::TraceId) => {
                    let id = trace.map_or_else(trace_id, str::to_owned);
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
    let flag = |key: &str| values.get("flags").and_then(|flags| flags.get(key)).and_then(Value::as_bool);
    ContextFrame {
        tenant_id: text("tenant_id"),
        reason_trace_id: text("reason_trace_id"),
        budget: Budget {
            cpu: budget("cpu_ms").map(Duration::from_millis),
            memory_bytes: budget("mem_mb").map(|megabytes| (megabytes as usize) << 20),
        },
        deadline: budget("deadline_ms").map(Duration::from_millis),
        allowance: Allowance {
            calls_per_s: budgets("rps").and_then(Value::as_f64),
            cpu_per_minute: budget("cpu_ms_per_min").map(Duration::from_millis),
        },
        stage: stage(&values),
        risk_level: risk_level(&values),
        read_only: flag("read_only") == Some(true),
        allow_autotune: flag("allow_autotune") != Some(false),
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
        Allowance::read(budgets);
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
mod tests;
