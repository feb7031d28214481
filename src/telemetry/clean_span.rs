//! A span without what must not leave the process: its name, attributes, events, and what its error says.

use std::borrow::Cow;

use opentelemetry::trace::{SpanContext, Status, TraceState};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;

use crate::redact;

/// Takes out of `span` what must not leave.
pub fn clean(span: &mut SpanData) {
    if let Cow::Owned(name) = redact::text(&span.name) {
        span.name = name.into();
    }
    span.attributes.iter_mut().for_each(clean_attribute);
    for event in &mut span.events.events {
        if let Cow::Owned(name) = redact::text(&event.name) {
            event.name = name.into();
        }
        event.attributes.iter_mut().for_each(clean_attribute);
    }
    span.links.links.iter_mut().flat_map(|link| &mut link.attributes).for_each(clean_attribute);
    if let Status::Error { description } = &mut span.status
        && let Cow::Owned(clean) = redact::text(description)
    {
        *description = clean.into();
    }
    // The caller's own words, handed on: all of them or none, as they cannot be changed.
    if let Cow::Owned(_) = redact::text(&span.span_context.trace_state().header()) {
        let context = &span.span_context;
        let (trace, id) = (context.trace_id(), context.span_id());
        span.span_context = SpanContext::new(trace, id, context.trace_flags(), context.is_remote(), TraceState::NONE);
    }
}

/// `resource` without what must not leave.
pub fn clean_resource(resource: &Resource) -> Resource {
    let attributes = resource.iter().map(|(key, value)| {
        let mut attribute = KeyValue::new(key.clone(), value.clone());
        clean_attribute(&mut attribute);
        attribute
    });
    Resource::builder_empty().with_attributes(attributes).build()
}

fn clean_attribute(attribute: &mut KeyValue) {
    let key = attribute.key.as_str();
    match &mut attribute.value {
        Value::String(text) => clean_text(key, text),
        Value::Array(Array::String(texts)) => texts.iter_mut().for_each(|text| clean_text(key, text)),
        _ => {}
    }
}

fn clean_text(key: &str, text: &mut StringValue) {
    if let Cow::Owned(clean) = redact::value_of(key, text.as_str()) {
        *text = clean.into();
    }
}
