//! The drill's end of the pipes by which the server arms failpoints.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;
use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::{Value, json};

use super::findings::Broken;
use crate::failpoint::control::{Command, Doing};

/// How long the server may take to obey.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers that may wait; there is one per command.
const QUEUE: usize = 4;

/// The ends that the server inherits. Dropped once it has.
pub struct Inherited([OwnedFd; 2]);

impl Inherited {
    /// The number it reads commands from, and that it writes answers to.
    pub fn numbers(&self) -> [RawFd; 2] {
        [self.0[0].as_raw_fd(), self.0[1].as_raw_fd()]
    }
}

/// See the module documentation.
pub struct Console {
    /// Commands, one at a time, and the answers.
    pipes: Mutex<(PipeWriter, Receiver<String>)>,
}

impl Console {
    /// Both ends. What is started before the second is dropped inherits it.
    ///
    /// # Errors
    /// When the system has no descriptor or thread left.
    pub fn open() -> std::io::Result<(Self, Inherited)> {
        let ((their_commands, commands), (answers, their_answers)) = (std::io::pipe()?, std::io::pipe()?);
        let theirs = [OwnedFd::from(their_commands), OwnedFd::from(their_answers)];
        for fd in &theirs {
            fcntl_setfd(fd, FdFlags::empty())?;
        }
        let (sender, receiver) = bounded(QUEUE);
        let listen = move |answers: PipeReader| {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("drill-console".to_owned()).spawn(move || listen(answers))?;
        Ok((Self { pipes: Mutex::new((commands, receiver)) }, Inherited(theirs)))
    }

    /// Has the server do `command`; returns what it answers.
    ///
    /// # Errors
    /// When it does not obey, or does not answer.
    pub fn obey(&self, command: &Command) -> Result<Value, Broken> {
        let mut pipes = self.pipes.lock();
        let failed = |what: String| Broken::new("console", what);
        let line = json!(command).to_string();
        // An answer that came too late for its command is none to this one.
        while pipes.1.try_recv().is_ok() {}
        writeln!(pipes.0, "{line}").map_err(|error| failed(format!("the server takes no commands: {error}")))?;
        let answer = pipes.1.recv_timeout(PATIENCE);
        let answer = answer.map_err(|_| failed(format!("the server does not answer {line}")))?;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        if answer["ok"] == true { Ok(answer) } else { Err(failed(format!("{line} is answered {answer}"))) }
    }

    /// Arms `point` for all hits.
    ///
    /// # Errors
    /// As [`Console::obey`].
    pub fn arm(&self, point: &str, action: Doing) -> Result<(), Broken> {
        self.obey(&arming(point, action)).map(drop)
    }

    /// Makes `point` dormant.
    ///
    /// # Errors
    /// As [`Console::obey`].
    pub fn disarm(&self, point: &str) -> Result<(), Broken> {
        self.obey(&Command::Disarm { disarm: point.to_owned() }).map(drop)
    }

    /// How often `point` has acted.
    ///
    /// # Errors
    /// As [`Console::obey`].
    pub fn acted(&self, point: &str) -> Result<u64, Broken> {
        let answer = self.obey(&Command::Acted { acted: point.to_owned() })?;
        Ok(answer["acted"].as_u64().unwrap_or(0))
    }

    /// Kills the actor at `path` of the supervision tree.
    ///
    /// # Errors
    /// As [`Console::obey`].
    pub fn kill(&self, path: &str) -> Result<(), Broken> {
        self.obey(&Command::Kill { kill: path.to_owned() }).map(drop)
    }

    /// What is waiting and running.
    ///
    /// # Errors
    /// As [`Console::obey`].
    pub fn stats(&self) -> Result<Value, Broken> {
        self.obey(&Command::Stats { stats: true }).map(|mut answer| answer["stats"].take())
    }
}

/// The command that arms `point` for all hits; its other keys narrow it.
pub fn arming(point: &str, action: Doing) -> Command {
    Command::Arm { arm: point.to_owned(), action, only: None, skip: 0, times: None }
}
