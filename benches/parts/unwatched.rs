//! The server with all that watches it switched off, and one with all of it on, spans to a collector included.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};

/// A server that has yet to be told that nobody watches.
pub struct Unwatched {
    /// Starts it.
    pub server: Command,
    commands: PipeWriter,
    answers: BufReader<PipeReader>,
    /// The server's ends, open until it has them.
    _inherited: (PipeReader, PipeWriter),
}

impl Unwatched {
    /// The same executable, with the way in that fault drills use.
    pub fn new(executable: &Path, folder: &Path) -> Self {
        let (commands, our_commands) = pipe().expect("the system has pipes");
        let (our_answers, answers) = pipe().expect("the system has pipes");
        let mut server = Command::new(executable);
        server.arg("drilled").args(["--commands", &inherited(&commands)]).args(["--answers", &inherited(&answers)]);
        server.arg("--allow").arg(folder);
        let answers = (BufReader::new(our_answers), (commands, answers));
        Self { server, commands: our_commands, answers: answers.0, _inherited: answers.1 }
    }

    /// Supervisors, gate and event bus no longer hear of anything.
    pub fn switch_off(&mut self) {
        let mut said = String::new();
        self.commands.write_all(b"{\"arm\":\"mutant.unwatched\",\"action\":\"fail\"}\n").expect("it reads commands");
        self.answers.read_line(&mut said).expect("it answers");
        assert!(said.contains("true"), "{said}");
    }
}

fn inherited(end: &(impl AsRawFd + std::os::fd::AsFd)) -> String {
    fcntl_setfd(end, FdFlags::empty()).expect("an open descriptor has flags");
    end.as_raw_fd().to_string()
}

/// A server that records its supervision and sends one span in a hundred to a collector that takes and forgets them.
pub fn watched(executable: &Path, folder: &Path) -> Command {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let serve = move || listener.incoming().flatten().for_each(take);
    std::thread::Builder::new().name("collector".to_owned()).spawn(serve).expect("a thread can be started");
    // `env`, because the client clears what it starts a server with.
    let mut server = Command::new("/usr/bin/env");
    server
        .arg(format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{address}"))
        .args(["OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01"])
        .arg(executable)
        .arg("--allow")
        .arg(folder)
        .arg("--supervision-log")
        .arg(folder.join("supervision.log"));
    server
}

/// Answers each request as soon as its body is there.
fn take(stream: std::net::TcpStream) {
    let mut requests = BufReader::new(stream);
    loop {
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            if !matches!(requests.read_line(&mut line), Ok(1..)) {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let body = requests.by_ref().take(length);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        if std::io::copy(&mut { body }, &mut std::io::sink()).is_err() || requests.get_mut().write_all(answer).is_err()
        {
            return;
        }
    }
}
