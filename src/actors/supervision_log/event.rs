//! A record as an event of the bus.

use std::sync::Arc;

use serde_json::Value;

use super::Record;
use crate::events::{Class, Event};

/// How much it matters: a fault of one call is one of many; all else changes what the server is.
pub(super) fn class(record: &Record) -> Class {
    if record.event == "call_faulted" { Class::Normal } else { Class::Critical }
}

/// The event. Its data is what the record says besides what an event has anyway.
pub(super) fn of(record: &Record) -> Event {
    let mut data = serde_json::to_value(record).expect("a record is made of strings and numbers");
    if let Value::Object(data) = &mut data {
        ["event", "path", "trace_id"].into_iter().for_each(|key| drop(data.remove(key)));
    }
    let event = Event::new(record.event, Arc::clone(&record.path), class(record));
    Event { trace_id: record.trace_id.clone(), ..event }.with_data(data.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_what_its_record_says() {
        let record =
            Record { count: Some(3), trace_id: Some("t".into()), ..Record::new("call_faulted", "root".into()) };
        let event = of(&record);
        assert_eq!((event.kind, &*event.stream, event.class), ("call_faulted", "root", Class::Normal));
        assert_eq!((&*event.data, event.trace_id.as_deref()), (r#"{"count":3}"#, Some("t")));
        assert_eq!(class(&Record::new("child_exited", "root".into())), Class::Critical);
    }
}
