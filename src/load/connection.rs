//! A connection: a server of its own, the two threads that speak with it, and what they share.

use std::ops::ControlFlow;
use std::process::{ChildStdin, ChildStdout, Command};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::deal::Deal;
use super::error::LoadError;
use super::exchange::{Ended, Exchange, OPEN_CALLS};
use super::ledger::Ledger;
use super::plan::Plan;
use super::requests::Requests;
use super::schedule::Share;
use super::server::Server;
use super::session::{self, Failure};
use super::{reader, writer};

/// How long the writer may take to let go of the server's input before the server counts as stuck.
const LET_GO: Duration = Duration::from_millis(500);

/// A started server and what belongs to it. Dropping it ends the server.
pub(super) struct Connection {
    /// The server.
    pub(super) server: Server,
    /// What is asked and answered.
    pub(super) exchange: Arc<Exchange>,
    /// Which of all connections it is.
    pub(super) share: Share,
    /// The version of MCP that the server agreed to, once it has and if it named one.
    pub(super) protocol: Option<String>,
    writer: Option<JoinHandle<()>>,
}

impl Connection {
    /// Starts a server and the threads.
    pub(super) fn start(plan: &Plan, share: Share, server: &mut Command, epoch: Instant) -> Result<Self, LoadError> {
        let ledger = Ledger::new(Deal::new(&plan.calls, share), plan.calls.len(), plan.parts());
        let (server, stdin, stdout) = Server::start(server)?;
        let exchange = Arc::new(Exchange::new(epoch, ledger));
        let mut connection = Self { server, exchange, share, protocol: None, writer: None };
        connection.start_threads(Requests::new(plan, share), stdin, stdout).map_err(LoadError::Thread)?;
        Ok(connection)
    }

    fn start_threads(&mut self, requests: Requests, stdin: ChildStdin, stdout: ChildStdout) -> std::io::Result<()> {
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let exchange = Arc::clone(&self.exchange);
        self.writer = Some(thread("load-writer").spawn(move || writer::write(&exchange, stdin, requests))?);
        let exchange = Arc::clone(&self.exchange);
        thread("load-reader").spawn(move || reader::read(&exchange, stdout))?;
        Ok(())
    }

    /// Shakes hands and makes each call once.
    pub(super) fn open(&mut self, plan: &Plan, observe: &mut dyn FnMut() -> ControlFlow<()>) -> Result<(), LoadError> {
        let opened = session::open(&self.exchange, plan, self.share, observe);
        self.protocol = opened.map_err(|failure| match failure {
            Failure::Known(error) => error,
            Failure::Silent { step, ended: Some(ended) } => LoadError::Silent { step, what: self.say(ended) },
            Failure::Silent { step, ended: None } => {
                let what = format!("no answer within a minute; {}", self.server.last_words());
                LoadError::Silent { step, what }
            }
        })?;
        Ok(())
    }

    /// Why it ended before its time, if it did.
    pub(super) fn ended_early(&mut self) -> Option<String> {
        let ended = self.exchange.lock().ended?;
        let what = self.say(ended);
        Some(if self.share.of > 1 { format!("connection {}: {what}", self.share.index + 1) } else { what })
    }

    fn say(&mut self, ended: Ended) -> String {
        match ended {
            Ended::Output => format!("the server closed its output: {}", self.server.last_words()),
            Ended::Input => format!("the server closed its input: {}", self.server.last_words()),
            Ended::EndlessLine => "the server wrote a line of more than 64 MiB".to_owned(),
            Ended::Full => {
                format!("{OPEN_CALLS} calls are open, more than are kept; the server is too slow for this rate")
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.exchange.close();
        let until = Instant::now() + LET_GO;
        let is_writing = || self.writer.as_ref().is_some_and(|writer| !writer.is_finished());
        while is_writing() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.server.end(is_writing());
    }
}
