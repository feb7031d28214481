//! Exit codes, in the numbers of `sysexits.h` where it has one, and messages to the person at the keyboard.

use std::process::ExitCode;

use rustix::process::Signal;
use tokio::signal::unix::SignalKind;

use crate::redact;
use crate::wasi::contract::printable;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: the tool failed (`call`), a manifest was refused (`tools`, `validate`), a rule is broken (`log check`), a drill
    /// failed (`drill`), a call is denied (`policy explain`), a tool lacks something (`policy check`), tools are not what
    /// the lock says (`lock`), the client sent a
    /// line without end, or calls were lost (`nurones-load`).
    Failed,
    /// 2: what was asserted of a measurement does not hold (`nurones-load --assert`).
    NotAsAsserted,
    /// 64: the command line or the configuration is wrong.
    Usage,
    /// 69: the call was refused, try again later; or there is nothing that `nurones-load` could measure.
    Unavailable,
    /// 70: an internal failure; the supervision tree gave up.
    Internal,
    /// 74: the client closed its end while answers were owed to it.
    ClientGone,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::NotAsAsserted => 2,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::ClientGone => 74,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Tells the person at the keyboard what is wrong.
pub fn complain(message: &str) {
    let message = redact::text(message);
    let message = harmless(&message);
    // Standard error may be closed; then there is nobody to tell.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr().lock(), format_args!("nurones-mcp: {message}\n"));
}

/// Says what is wrong with the command line, or what help was asked for.
pub fn usage(error: &clap::Error) -> Exit {
    use std::io::{IsTerminal, Write};
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Done;
    }
    let rendered = error.render();
    let text = if std::io::stderr().is_terminal() { rendered.ansi().to_string() } else { rendered.to_string() };
    // It quotes the command line, where a password may stand.
    let _ = std::io::stderr().write_all(redact::text(&text).as_bytes());
    Exit::Usage
}

/// `text` with control characters escaped: names and words of a module or a tool may be made to take over a terminal, or
/// to look like lines of ours.
pub fn harmless(text: &str) -> String {
    printable(text.as_bytes(), text.len())
}

/// Writes `bytes` to standard output.
pub fn print(bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Runs a command on the runtime of the control plane: one thread, as nothing on it ever blocks.
pub fn run_on_control_plane(command: impl Future<Output = Exit>) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::Internal;
        }
    };
    let exit = runtime.block_on(async {
        // A file past the system's size limit then is an error like a full disk, and not the end of the process. The
        // handler stays when the listener goes.
        let _ = tokio::signal::unix::signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
        command.await
    });
    // A thread may be stuck in the system; the process does not wait for it.
    runtime.shutdown_background();
    exit
}
