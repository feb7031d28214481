//! A record becomes a line: one JSON object, numbered and dated.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::Record;

/// When a record was written, and as the how manieth of its process.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Names this run of the process.
    pub boot: &'a str,
    /// Counts the lines of the boot, from 0 and without a gap.
    pub seq: u64,
    /// The wall clock.
    pub at: DateTime<Utc>,
    /// Since the boot, by a clock that nobody sets.
    pub since_boot: Duration,
}

/// The line, with its newline.
pub fn render(record: &Record, stamp: &Stamp<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        v: u32,
        seq: u64,
        boot: &'a str,
        ts: String,
        mono_us: u64,
        #[serde(flatten)]
        record: &'a Record,
    }
    let line = Line {
        v: 1,
        seq: stamp.seq,
        boot: stamp.boot,
        ts: stamp.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        mono_us: stamp.since_boot.as_micros() as u64,
        record,
    };
    let mut bytes = serde_json::to_vec(&line).expect("a record is made of strings and numbers");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::supervision_log::{InFlight, Reason, Restart};

    #[test]
    fn a_line_has_what_the_record_has_and_nothing_more() {
        let stamp = Stamp { boot: "b", seq: 7, at: DateTime::UNIX_EPOCH, since_boot: Duration::from_millis(2) };
        let begin = r#"{"v":1,"seq":7,"boot":"b","ts":"1970-01-01T00:00:00.000000Z","mono_us":2000,"#;
        let rendered = |record: &Record| String::from_utf8(render(record, &stamp)).unwrap();
        let bare = rendered(&Record::new("boot", "root".into()));
        assert_eq!(bare, format!("{begin}\"event\":\"boot\",\"path\":\"root\"}}\n"));
        let full = rendered(&Record {
            level: Some("L2"),
            context: Some("child_terminated"),
            reason: Some(Reason::new("host_panic", None, "two\nlines")),
            inflight: Some(InFlight { answered: 1 }),
            restart: Some(Restart { jitter_ms: Some(-4), ..Restart::new("worker") }),
            adopted: true,
            ..Record::new("child_exited", "root/tools/t/w0".into())
        });
        let end = r#""event":"child_exited","path":"root/tools/t/w0","level":"L2","context":"child_terminated","#
            .to_owned()
            + r#""reason":{"kind":"host_panic","msg":"two\nlines"},"inflight":{"answered":1},"#
            + r#""restart":{"what":"worker","jitter_ms":-4},"adopted":true}"#;
        assert_eq!(full, format!("{begin}{end}\n"));
    }
}
