//! A client that keeps a number of calls in flight and costs as little as it can: it shares two cores with the server.
//!
//! One thread writes and reads in turn. It never blocks on writing, because all the requests in flight fit into the
//! pipe to the server.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixture;

/// What a pipe holds on Linux.
const PIPE_BYTES: usize = 64 << 10;

/// A server and the pipes to it.
pub struct Client {
    server: Child,
    /// `None` only while it is being dropped.
    requests: Option<ChildStdin>,
    answers: ChildStdout,
    buffer: Vec<u8>,
    last_id: u64,
}

impl Client {
    /// Starts `server`, opens a session and checks that it reads the file.
    pub fn start(server: &mut Command) -> Self {
        // Nothing in the environment may change what is measured.
        server.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = server.spawn().expect("the server can be started");
        let requests = server.stdin.take();
        let answers = server.stdout.take().expect("it is piped");
        let mut client = Self { server, requests, answers, buffer: vec![0; PIPE_BYTES], last_id: 0 };
        client.open_session();
        client.check();
        client
    }

    /// Makes `calls` calls, at most `in_flight` at once; returns how long they took.
    pub fn call(&mut self, calls: u64, in_flight: u64) -> Duration {
        let began = Instant::now();
        let (mut sent, mut answered, mut bytes) = (0, 0, 0);
        while answered < calls {
            let more = calls.min(answered + in_flight) - sent;
            self.send(more);
            sent += more;
            let read = self.read();
            bytes += read.len();
            answered += memchr::memchr_iter(b'\n', read).count() as u64;
        }
        let took = began.elapsed();
        assert!(bytes as u64 > calls * 1024, "the answers are too short to hold the file");
        took
    }

    fn send(&mut self, calls: u64) {
        let mut lines = Vec::new();
        for _ in 0..calls {
            self.last_id += 1;
            let (id, arguments) = (self.last_id, fixture::ARGUMENTS);
            writeln!(
                lines,
                r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"fs_read","arguments":{arguments}}}}}"#
            )
            .expect("a Vec takes what is written");
        }
        assert!(lines.len() < PIPE_BYTES, "so many requests could block both sides");
        self.write(&lines);
    }

    fn open_session(&mut self) {
        self.write(
            br#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#,
        );
        self.write(b"\n");
        self.answer();
        self.write(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n");
    }

    fn check(&mut self) {
        self.send(1);
        let answer = self.answer();
        assert_eq!(answer["result"]["content"][0]["text"], fixture::text(), "not the file: {answer}");
    }

    /// The one answer that is owed.
    fn answer(&mut self) -> Value {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.extend_from_slice(self.read());
        }
        serde_json::from_slice(&line).expect("an answer is JSON")
    }

    fn write(&mut self, bytes: &[u8]) {
        self.requests.as_mut().expect("it is open").write_all(bytes).expect("the server reads");
    }

    fn read(&mut self) -> &[u8] {
        let length = self.answers.read(&mut self.buffer).expect("the answers can be read");
        assert!(length > 0, "the server ended; see above for what it said");
        &self.buffer[..length]
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.requests = None;
        // The end of its input is the end of a server.
        let _ = self.server.wait();
    }
}
