//! The server as a process: started with pipes in a process group of its own, ended by closing its input, and by force
//! if that does not help. What it says on standard error is kept for the case that it dies.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::fs::{OFlags, fcntl_setfl};

use super::error::LoadError;
use super::lines::Lines;

/// How long a server may take to end when its input is closed. Ours answers what is in flight for up to 5 s.
const END: Duration = Duration::from_secs(6);

/// How long a server that closed its pipes may take to end, and its last words to arrive.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often it is looked whether the server has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Lines of standard error that are kept, and bytes of each.
const KEPT_LINES: usize = 10;
const KEPT_BYTES: usize = 500;

/// Bytes of one line of standard error; behind one that is longer nothing is kept.
const LINE_BYTES: usize = 1 << 20;

/// A running server.
pub struct Server {
    child: Child,
    /// How it ended, once known.
    status: Option<ExitStatus>,
    stderr: Arc<Mutex<VecDeque<String>>>,
    stderr_reader: Option<JoinHandle<()>>,
    /// The end of its standard error that nobody reads.
    _unread: Option<PipeReader>,
}

impl Server {
    /// Starts `command`; returns its input and output too.
    ///
    /// # Errors
    /// When the program, or a thread to hear its standard error, cannot be started.
    pub fn start(command: &mut Command) -> Result<(Self, ChildStdin, ChildStdout), LoadError> {
        let (mut server, stdin, stdout) = Self::launch(command.stderr(Stdio::piped()), None)?;
        let from = server.child.stderr.take().expect("it is piped");
        let kept = Arc::clone(&server.stderr);
        let reader = std::thread::Builder::new().name("load-stderr".to_owned()).spawn(move || keep(from, &kept));
        // Dropped, and so ended, if it cannot be heard.
        server.stderr_reader = Some(reader.map_err(LoadError::Thread)?);
        Ok((server, stdin, stdout))
    }

    /// Starts `command` with a standard error that is full from the start and that nobody ever reads.
    ///
    /// # Errors
    /// When the pipe cannot be made or the program cannot be started.
    pub fn start_unheard(command: &mut Command) -> Result<(Self, ChildStdin, ChildStdout), LoadError> {
        let (unread, full) = full_pipe().map_err(LoadError::Thread)?;
        Self::launch(command.stderr(full), Some(unread))
    }

    fn launch(command: &mut Command, unread: Option<PipeReader>) -> Result<(Self, ChildStdin, ChildStdout), LoadError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C is for us: the server has to stay until it has answered.
        command.process_group(0);
        let mut child = command.spawn().map_err(|source| LoadError::Start {
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        })?;
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = Arc::new(Mutex::new(VecDeque::new()));
        Ok((Self { child, status: None, stderr, stderr_reader: None, _unread: unread }, stdin, stdout))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, and its last lines on standard error. For a server whose pipes are closed or broken.
    pub fn last_words(&mut self) -> String {
        self.ended_within(LAST_WORDS);
        let until = Instant::now() + LAST_WORDS;
        let is_heard = |reader: &Option<JoinHandle<()>>| reader.as_ref().is_none_or(JoinHandle::is_finished);
        while self.status.is_some() && !is_heard(&self.stderr_reader) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        let how = match self.status {
            Some(status) => status.to_string(),
            None => "the process is still running".to_owned(),
        };
        let lines: Vec<String> = self.stderr.lock().iter().map(|line| format!("\n  {line}")).collect();
        if lines.is_empty() {
            format!("{how}, nothing on standard error")
        } else {
            format!("{how}, last on standard error:{}", lines.concat())
        }
    }

    /// Ends a server whose input was closed; by force, with what it started, when `is_stuck` or when it takes too long.
    pub fn end(&mut self, is_stuck: bool) {
        if is_stuck || self.ended_within(END).is_none() {
            self.kill();
        }
    }

    /// How it ended, if it does within `patience`.
    pub fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        while self.status.is_none() {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
                Ok(status) => {
                    self.status = status;
                    break;
                }
                Err(_) => break,
            }
        }
        self.status
    }

    /// Sends `signal`, unless it is known to have ended.
    pub fn signal(&self, signal: rustix::process::Signal) {
        if self.status.is_none() {
            let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal);
        }
    }

    fn kill(&mut self) {
        // As long as it was not waited for, its id is its own, and so is the group's.
        if self.status.is_none() {
            let group = rustix::process::Pid::from_child(&self.child);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            self.status = self.child.wait().ok();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A pipe that holds as much as it can, so that whoever writes to it waits for ever.
fn full_pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (unread, mut full) = io::pipe()?;
    fcntl_setfl(&full, OFlags::NONBLOCK)?;
    while full.write(&[b'\n'; 4096]).is_ok() {}
    fcntl_setfl(&full, OFlags::empty())?;
    Ok((unread, full))
}

/// Keeps the last lines of `from` in `kept`. It is read to its end: a server must not block on its log.
fn keep(mut from: impl Read, kept: &Mutex<VecDeque<String>>) {
    let mut lines = Lines::new(&mut from, LINE_BYTES);
    while lines.fill().is_ok_and(|more| more) {
        while let Some(line) = lines.next_line() {
            let line = String::from_utf8_lossy(&line[..line.len().min(KEPT_BYTES)]).into_owned();
            let mut kept = kept.lock();
            if kept.len() == KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    }
    let _ = std::io::copy(&mut from, &mut std::io::sink());
}
