//! `drilled`: the server as `drill` starts it, with a way in for failpoints.
//!
//! The way in is a pair of pipes that `drill` has opened and this process has inherited. Opening a descriptor's number
//! anew works for a pipe only, so no file that happens to be open can be taken for one.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::RawFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::actors::shared::Shared;
use crate::actors::supervision_log::{Reason, Record};
use crate::failpoint::Action;
use crate::failpoint::control::{Drilled, obey};

/// What `drilled` is told.
#[derive(Debug, Args)]
pub struct DrilledArgs {
    /// The number of the descriptor commands are read from.
    #[arg(long, value_name = "FD")]
    commands: RawFd,
    /// The number of the descriptor answers are written to.
    #[arg(long, value_name = "FD")]
    answers: RawFd,
}

/// Both pipes.
#[derive(Debug)]
pub struct Channel {
    commands: File,
    answers: File,
}

impl Channel {
    /// Opens what was inherited.
    ///
    /// # Errors
    /// When one of the two is no open pipe.
    pub fn open(args: &DrilledArgs) -> io::Result<Self> {
        let open = |fd: RawFd, options: &mut OpenOptions| {
            let file = options.open(format!("/dev/fd/{fd}"))?;
            if file.metadata()?.file_type().is_fifo() { Ok(file) } else { Err(io::Error::other("it is no pipe")) }
        };
        Ok(Self {
            commands: open(args.commands, OpenOptions::new().read(true))?,
            answers: open(args.answers, OpenOptions::new().write(true))?,
        })
    }

    /// Obeys on a thread of its own, until the other side is gone. A thread: the control plane is what is drilled.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn serve(mut self, shared: Arc<Shared>) -> io::Result<()> {
        std::thread::Builder::new().name("drill".to_owned()).spawn(move || {
            let mut commands = BufReader::new(self.commands);
            let mut line = String::new();
            while commands.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                let answer = obey(&line, &*shared);
                if writeln!(self.answers, "{answer}").is_err() {
                    return;
                }
                line.clear();
            }
        })?;
        Ok(())
    }
}

impl Drilled for Shared {
    fn kill(&self, path: &str) -> bool {
        self.census.actor(path).inspect(ractor::ActorCell::kill).is_some()
    }

    fn stats(&self) -> Value {
        let tools: Map<String, Value> = self
            .table
            .iter()
            .map(|tool| {
                let gauges = json!({ "queue_depth": tool.waiting(), "zombies": tool.zombies.count() });
                (tool.published.clone(), gauges)
            })
            .collect();
        json!({ "tools": tools, "live_workers": self.table.live_workers() })
    }

    fn armed(&self, name: &'static str, action: Action) {
        let reason = Reason::new(name, None, &format!("{action:?}"));
        self.log.record(Record { reason: Some(reason), ..Record::new("failpoint", "root".into()) });
    }
}
