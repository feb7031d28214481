//! A call as a drill makes it, and its answer.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::history::{Class, Outcome};
use super::stage::DEADLINE_MS;
use crate::load::{Call as Sample, Template};

/// A call of a tool.
#[derive(Debug, Clone)]
pub struct Call {
    /// The tool's name.
    pub tool: Arc<str>,
    /// Its arguments.
    pub arguments: Value,
    /// The request's `_meta`, if it has one.
    pub meta: Value,
    /// Why it is made.
    pub class: Class,
    /// The deadline it is judged by.
    pub deadline_ms: u32,
}

impl Call {
    /// A call that is part of the fault, judged by the default deadline.
    pub fn new(tool: &str, arguments: Value) -> Self {
        Self { tool: tool.into(), arguments, meta: Value::Null, class: Class::Fault, deadline_ms: DEADLINE_MS }
    }

    /// It must be answered within so many milliseconds, and 250 ms of grace.
    pub fn within_ms(self, deadline_ms: u32) -> Self {
        Self { deadline_ms, ..self }
    }

    /// The request's `_meta`.
    pub fn meta(self, meta: Value) -> Self {
        Self { meta, ..self }
    }

    /// It is there to look, and no part of the fault.
    pub fn control(self) -> Self {
        Self { class: Class::Control, ..self }
    }

    /// The request's parameters.
    pub fn params(&self) -> Value {
        let mut params = json!({ "name": *self.tool, "arguments": self.arguments });
        if !self.meta.is_null() {
            params["_meta"] = self.meta.clone();
        }
        params
    }

    /// What makes requests of it, again and again. They have no `_meta`.
    pub fn template(&self) -> Template {
        let arguments = self.arguments.as_object().cloned().unwrap_or_default();
        Template::new(&Sample::new(&self.tool, &arguments))
    }
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// How it ended.
    pub outcome: Outcome,
    /// From the request to the answer.
    pub took: Duration,
    /// The whole message, when it was asked for with [`super::session::Session::ask`].
    pub message: Value,
}

impl Answer {
    /// The text of the result's first block, or the error's message.
    pub fn text(&self) -> &str {
        let text = self.message["result"]["content"][0]["text"].as_str();
        text.or_else(|| self.message["error"]["message"].as_str()).unwrap_or_default()
    }
}
