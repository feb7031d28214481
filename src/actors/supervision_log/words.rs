//! A record in words: one line for a person, on standard error.
//!
//! An exit and what is done about it are two records and one line: the first is held until the second comes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::Level;

use super::Record;
use crate::wasi::contract::printable;

/// Exits whose consequence is not known yet, by path; at most one for each child of the tree.
#[derive(Default)]
pub struct Words {
    exits: BTreeMap<Arc<str>, Record>,
}

impl Words {
    /// What a person is told of `record`, if there is something to tell now.
    pub fn of(&mut self, record: &Record) -> Option<(Level, String)> {
        if record.event == "child_exited" {
            let before = self.exits.insert(Arc::clone(&record.path), record.clone());
            return before.map(|exit| (Level::WARN, ended(&exit)));
        }
        let exit = if follows_exit(record.event) { self.exits.remove(&record.path) } else { None };
        let level = level(record, exit.as_ref());
        let text = match &exit {
            Some(exit) => format!("{}, {}", ended(exit), consequence(record)),
            None => alone(record),
        };
        Some((level, text))
    }

    /// The exits whose consequence has not come, told as they are.
    pub fn rest(&mut self) -> Vec<(Level, String)> {
        let exits = std::mem::take(&mut self.exits);
        exits.into_values().map(|exit| (Level::WARN, ended(&exit))).collect()
    }
}

/// Says it in the log, under the target `supervision`.
pub fn tell(level: Level, text: &str) {
    match level {
        Level::ERROR => tracing::error!(target: "supervision", "{text}"),
        Level::WARN => tracing::warn!(target: "supervision", "{text}"),
        Level::INFO => tracing::info!(target: "supervision", "{text}"),
        _ => tracing::debug!(target: "supervision", "{text}"),
    }
}

fn follows_exit(event: &str) -> bool {
    matches!(event, "restart_scheduled" | "quarantined" | "escalated" | "child_stopped")
}

fn level(record: &Record, exit: Option<&Record>) -> Level {
    match record.event {
        "quarantined" | "escalated" | "log_dropped" => Level::ERROR,
        "restart_scheduled" | "breaker_open" | "worker_abandoned" => Level::WARN,
        "restart_ok" | "readmitted" | "breaker_half_open" | "breaker_closed" => Level::INFO,
        // What was told to end has ended; what ended otherwise stays a warning.
        "child_stopped" if exit.is_some_and(|exit| !is_orderly(exit)) => Level::WARN,
        _ => Level::DEBUG,
    }
}

fn is_orderly(exit: &Record) -> bool {
    exit.reason.as_ref().is_some_and(|reason| matches!(reason.kind, "normal" | "shutdown" | "graceful"))
}

/// `fs_read/w0` for `root/tools/fs_read/w0`, `event_bus` for `root/event_bus`.
fn who(record: &Record) -> String {
    let path = &*record.path;
    let short = path.strip_prefix("root/tools/").or_else(|| path.strip_prefix("root/")).unwrap_or(path);
    harmless(short)
}

fn ended(exit: &Record) -> String {
    let answered = exit.inflight.filter(|inflight| inflight.answered > 0);
    let answered = answered.map_or(String::new(), |inflight| format!(", {} answered with a fault", inflight.answered));
    format!("{} ended ({}{answered})", who(exit), why(exit))
}

fn why(record: &Record) -> String {
    let Some(reason) = &record.reason else { return "no reason given".to_owned() };
    let code = reason.code.as_ref().map_or(String::new(), |code| format!(" {code}"));
    let msg = if reason.msg.is_empty() { String::new() } else { format!(": {}", reason.msg) };
    harmless(&format!("{}{code}{msg}", reason.kind))
}

/// What is done about an exit.
fn consequence(record: &Record) -> String {
    match record.event {
        "restart_scheduled" => match delay(record) {
            Some(delay) if !delay.is_zero() => format!("restart in {}{}", span(delay), window(record)),
            _ => format!("restart at once{}", window(record)),
        },
        "quarantined" => {
            let next = delay(record).map_or(String::new(), |delay| format!(", next try in {}", span(delay)));
            format!("quarantined{next}{}", window(record))
        }
        "escalated" => "too often: everything in flight is answered, and the server ends".to_owned(),
        _ => "stopped".to_owned(),
    }
}

fn alone(record: &Record) -> String {
    let who = who(record);
    let count = record.count.unwrap_or(0);
    match record.event {
        "restart_scheduled" | "quarantined" | "escalated" | "child_stopped" => {
            format!("{who}: {}", consequence(record))
        }
        "restart_ok" => {
            let down = record.downtime_us.map(Duration::from_micros);
            let down = down.map_or(String::new(), |down| format!(" after {}", span(down)));
            format!("{who} is back{down}{}", life(record))
        }
        "readmitted" => format!("{who} is out of quarantine"),
        "child_started" => format!("{who} started"),
        "probe" => format!("{who} is tried once"),
        "call_faulted" => format!("{who}: a call failed ({}), counted {count}", why(record)),
        "breaker_open" => {
            let next = delay(record).map_or(String::new(), |delay| format!(", next try in {}", span(delay)));
            format!("{who} fails too often ({}): its calls are refused{next}", why(record))
        }
        "breaker_half_open" => format!("{who} is tried again"),
        "breaker_closed" => format!("{who} works again"),
        "worker_abandoned" => format!("{who} is stuck in the system and left behind; {count} such threads of its tool"),
        "tool_refused" => format!("{who} is not served ({})", why(record)),
        "log_dropped" => format!("{count} records of the supervision log were lost; is its disk full?"),
        "shutdown_phase" => format!("the end: {}", record.phase.unwrap_or("begins")),
        "stopped" => format!("the end; {count} threads left behind"),
        event => match &record.reason {
            Some(_) => format!("{who}: {event} ({})", why(record)),
            None => format!("{who}: {event}"),
        },
    }
}

fn delay(record: &Record) -> Option<Duration> {
    record.restart.as_ref()?.backoff_ms.map(Duration::from_millis)
}

fn window(record: &Record) -> String {
    let window = record.restart.as_ref().and_then(|restart| restart.window.as_ref());
    window.map_or(String::new(), |window| format!(" [{window}]"))
}

fn life(record: &Record) -> String {
    record.incarnation.map_or(String::new(), |incarnation| format!(" (incarnation {incarnation})"))
}

/// `840 µs`, `50 ms`, `1.5 s`.
fn span(duration: Duration) -> String {
    match duration.as_micros() {
        micros if micros < 1000 => format!("{micros} µs"),
        micros if micros < 1_000_000 => format!("{} ms", micros / 1000),
        micros => format!("{} s", (micros / 100_000) as f64 / 10.0),
    }
}

/// A guest may have chosen some of the words.
fn harmless(text: &str) -> String {
    printable(text.as_bytes(), text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::supervision_log::{InFlight, Reason, Restart};

    fn record(event: &'static str) -> Record {
        Record::new(event, "root/tools/fs_read/w0".into())
    }

    fn exit(kind: &'static str) -> Record {
        Record { reason: Some(Reason::new(kind, None, "boom\x1b[2J")), ..record("child_exited") }
    }

    fn in_ms(backoff_ms: u64) -> Option<Restart> {
        Some(Restart { backoff_ms: Some(backoff_ms), window: Some("2/5@10s".to_owned()), ..Restart::new("worker") })
    }

    #[test]
    fn an_exit_and_its_consequence_are_one_line() {
        let mut words = Words::default();
        let mut told = |records: &[Record]| {
            let told: Vec<_> = records.iter().filter_map(|record| words.of(record)).collect();
            assert_eq!(told.len(), 1, "{told:?}");
            told.into_iter().next().unwrap()
        };
        let restart = |ms| Record { restart: in_ms(ms), ..record("restart_scheduled") };
        let (level, text) = told(&[exit("host_panic"), restart(50)]);
        assert_eq!(text, "fs_read/w0 ended (host_panic: boom\\u{1b}[2J), restart in 50 ms [2/5@10s]");
        assert_eq!(level, Level::WARN);
        let answered = Record { inflight: Some(InFlight { answered: 1 }), ..exit("wedged") };
        let text = told(&[answered, restart(0)]).1;
        assert!(text.ends_with(", 1 answered with a fault), restart at once [2/5@10s]"), "{text}");
        let quarantined = Record { restart: in_ms(30_000), ..record("quarantined") };
        let (level, text) = told(&[exit("host_panic"), quarantined]);
        assert!(level == Level::ERROR && text.ends_with("quarantined, next try in 30 s [2/5@10s]"), "{text}");
        assert_eq!(told(&[exit("killed"), record("escalated")]).0, Level::ERROR);
        assert_eq!(told(&[exit("killed"), record("child_stopped")]).0, Level::WARN);
        assert_eq!(told(&[exit("normal"), record("child_stopped")]).0, Level::DEBUG);
    }

    #[test]
    fn an_exit_without_a_consequence_is_told_at_the_end() {
        let mut words = Words::default();
        assert_eq!(words.of(&exit("wedged")), None);
        assert_eq!(words.rest().len(), 1);
        assert!(words.rest().is_empty());
    }

    #[test]
    fn every_event_has_its_words() {
        let mut words = Words::default();
        let mut of = |record: &Record| words.of(record).unwrap();
        let back = Record { downtime_us: Some(1_500_000), incarnation: Some(1), ..record("restart_ok") };
        assert_eq!(of(&back), (Level::INFO, "fs_read/w0 is back after 1.5 s (incarnation 1)".to_owned()));
        let dropped = Record { count: Some(3), ..Record::new("log_dropped", "root".into()) };
        assert_eq!(of(&dropped).0, Level::ERROR);
        assert_eq!(of(&record("child_started")), (Level::DEBUG, "fs_read/w0 started".to_owned()));
        assert_eq!(of(&record("one of a later version")).1, "fs_read/w0: one of a later version");
    }
}
