//! One event.

use std::sync::Arc;

use super::Class;

/// The most bytes of an event's data.
const DATA_BYTES: usize = 4096;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place among all events of this run of the server, without a gap; the bus gives it.
    pub offset: u64,
    /// Its name among them, from 1; known as soon as it is published.
    pub id: u64,
    /// When it was published, in microseconds since 1970.
    pub at_us: i64,
    /// Whom it happened to, for example `root/tools/fs_read`. Events of one stream are told in the order of publishing.
    pub stream: Arc<str>,
    /// What happened.
    pub kind: &'static str,
    /// How much it matters.
    pub class: Class,
    /// What it is about, if the same thing may be said twice: of events of one stream and kind with one such id, the
    /// first counts.
    pub correlation_id: Option<Arc<str>>,
    /// The event it followed from.
    pub causation_id: Option<u64>,
    /// The ContextFrame's `reason_trace_id` of the call concerned.
    pub trace_id: Option<Arc<str>>,
    /// Details, a JSON object; empty for none.
    pub data: Box<str>,
}

impl Event {
    /// An event with nothing but this.
    pub fn new(kind: &'static str, stream: Arc<str>, class: Class) -> Self {
        Self {
            offset: 0,
            id: 0,
            at_us: 0,
            stream,
            kind,
            class,
            correlation_id: None,
            causation_id: None,
            trace_id: None,
            data: Box::default(),
        }
    }

    /// With these details, a JSON object. If they are too large, only their size is kept.
    #[must_use]
    pub fn with_data(self, json: String) -> Self {
        let data = if json.len() > DATA_BYTES { format!("{{\"omitted_bytes\":{}}}", json.len()) } else { json };
        Self { data: data.into_boxed_str(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_are_too_large_are_said_to_be_left_out() {
        let event = |bytes: usize| Event::new("k", "s".into(), Class::Low).with_data("x".repeat(bytes));
        assert_eq!(event(DATA_BYTES).data.len(), DATA_BYTES);
        assert_eq!(&*event(DATA_BYTES + 1).data, r#"{"omitted_bytes":4097}"#);
    }
}
