//! The pipe over which a drill arms failpoints: one JSON object per line there, one back.
//!
//! ```text
//! {"arm":"worker.recv","action":"panic","only":"probe","skip":0,"times":1}     {"ok":true}
//! {"arm":"guest.enter","action":{"delay_ms":100}}                              {"ok":true}
//! {"disarm":"worker.recv"}                                                     {"ok":true}
//! {"acted":"worker.recv"}                                                      {"ok":true,"acted":1}
//! {"kill":"root/event_bus"}                                                    {"ok":true}
//! {"stats":true}                                                               {"ok":true,"stats":{…}}
//! ```
//!
//! What is not about failpoints (`kill`, `stats`) is handed to whoever serves.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::point::{Action, Plan};
use super::points;

/// What a drill asks of the server it has started.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Command {
    /// Arms a failpoint.
    Arm {
        /// The point's name.
        arm: String,
        /// What it does.
        action: Doing,
        /// Only for this tool.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<String>,
        /// Hits that pass first.
        #[serde(default)]
        skip: u64,
        /// Hits that act; all of them when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        times: Option<u64>,
    },
    /// Makes a failpoint dormant.
    Disarm {
        /// The point's name.
        disarm: String,
    },
    /// Asks how often a failpoint has acted.
    Acted {
        /// The point's name.
        acted: String,
    },
    /// Kills an actor, by its place in the supervision tree.
    Kill {
        /// For example `root/event_bus`.
        kill: String,
    },
    /// Asks for the gauges.
    Stats {
        /// True.
        stats: bool,
    },
}

/// An [`Action`] as it is written.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Panics.
    Panic,
    /// Fails.
    Fail,
    /// Blocks for so many milliseconds.
    DelayMs(u64),
    /// Loses so many bytes.
    LeakBytes(usize),
    /// Ends the process there and then.
    Kill,
}

impl From<Doing> for Action {
    fn from(doing: Doing) -> Self {
        match doing {
            Doing::Panic => Self::Panic,
            Doing::Fail => Self::Fail,
            Doing::DelayMs(ms) => Self::Delay(Duration::from_millis(ms)),
            Doing::LeakBytes(bytes) => Self::Leak(bytes),
            Doing::Kill => Self::Kill,
        }
    }
}

/// Whoever serves, as far as a drill may reach into it.
pub trait Drilled {
    /// Kills the actor at this place of the tree; says whether there was one.
    fn kill(&self, path: &str) -> bool;
    /// What is waiting and running.
    fn stats(&self) -> Value;
    /// A failpoint was armed; for the supervision log.
    fn armed(&self, name: &'static str, action: Action);
}

/// Does what one line asks; returns the line to answer with.
pub fn obey(line: &str, server: &impl Drilled) -> String {
    let answer = match serde_json::from_str(line) {
        Ok(command) => carry_out(command, server),
        Err(error) => Err(format!("not a command: {error}")),
    };
    answer.unwrap_or_else(|problem| json!({ "ok": false, "problem": problem })).to_string()
}

fn carry_out(command: Command, server: &impl Drilled) -> Result<Value, String> {
    let named = |name: &str| points::named(name).ok_or_else(|| format!("there is no failpoint {name}"));
    match command {
        Command::Arm { arm, action, only, skip, times } => {
            let point = named(&arm)?;
            let plan = Plan { action: action.into(), only, skip, times: times.unwrap_or(u64::MAX) };
            // Before it is armed: it may be the log's own.
            server.armed(point.name, plan.action);
            point.arm(plan);
        }
        Command::Disarm { disarm } => named(&disarm)?.disarm(),
        Command::Acted { acted } => return Ok(json!({ "ok": true, "acted": named(&acted)?.acted() })),
        Command::Kill { kill } if server.kill(&kill) => {}
        Command::Kill { kill } => return Err(format!("no actor lives at {kill}")),
        Command::Stats { .. } => return Ok(json!({ "ok": true, "stats": server.stats() })),
    }
    Ok(json!({ "ok": true }))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Drilled for Nobody {
        fn kill(&self, path: &str) -> bool {
            path == "root/event_bus"
        }
        fn stats(&self) -> Value {
            json!({ "tools": {} })
        }
        fn armed(&self, _: &'static str, _: Action) {}
    }

    fn ask(line: &str) -> Value {
        serde_json::from_str(&obey(line, &Nobody)).unwrap()
    }

    #[test]
    fn each_command_is_obeyed_and_each_mistake_is_said() {
        // A point that no other test of this process passes.
        let arm = r#"{"arm":"mutant.trust_modules","action":{"delay_ms":0},"times":1}"#;
        assert_eq!(ask(arm), json!({"ok": true}));
        assert_eq!(points::TRUST_MODULES.hit(), Ok(()));
        assert_eq!(ask(r#"{"acted":"mutant.trust_modules"}"#), json!({"ok": true, "acted": 1}));
        assert_eq!(ask(r#"{"disarm":"mutant.trust_modules"}"#), json!({"ok": true}));
        assert_eq!(ask(r#"{"kill":"root/event_bus"}"#), json!({"ok": true}));
        assert_eq!(ask(r#"{"stats":true}"#), json!({"ok": true, "stats": {"tools": {}}}));
        for wrong in [r#"{"arm":"no.such","action":"panic"}"#, r#"{"kill":"root/nobody"}"#, "{}", "garbage"] {
            assert_eq!(ask(wrong)["ok"], false, "{wrong}");
        }
    }
}
