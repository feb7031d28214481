//! Runs the compiler where it can do no harm: in a child process that is this program with the command `compile`.
//!
//! A module can be made so that compiling it takes minutes, gigabytes or a crash of the compiler. A thread could not be
//! stopped and would share its memory with every tool; a process can be killed, and its end is an error message. It
//! yields to the server's own threads, and it is gone when the server is.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::artefact::{Artefact, Encoding};
use super::engine::Engine;
use super::error::LoadError;
use crate::failpoint::points;

/// Compilers at work at once: one that is given a bomb does not hold up the others.
const AT_ONCE: usize = 4;

/// How many of them may be at work on modules that nobody waits for.
const UNASKED: usize = 2;

/// Address space of one compiler, in bytes. A module of 64 MiB, the most we take, needs about half.
const MEMORY_BYTES: u64 = 4 << 30;

/// Bytes of machine code that are accepted; compiled code is about ten times its module.
const ARTEFACT_BYTES: u64 = 1 << 30;

/// Bytes of a compiler's complaint that are kept.
const SAID_BYTES: u64 = 4096;

/// How far a compiler stands back behind the server's own threads.
const NICENESS: i32 = 10;

/// Where compiling happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompileIn {
    /// In a child process: this program (the path) with the command `compile`.
    Process(PathBuf),
    /// On a thread of this process, without a limit; for tests and tools that hold the library alone.
    Thread,
}

impl CompileIn {
    /// A child process that runs the same program as this one, even if its file has been replaced meanwhile.
    pub fn own_process() -> Self {
        let own = PathBuf::from("/proc/self/exe");
        if own.exists() { Self::Process(own) } else { std::env::current_exe().map_or(Self::Thread, Self::Process) }
    }
}

/// See the module documentation.
#[derive(Debug)]
pub struct Compiler {
    place: CompileIn,
    deadline: Duration,
    at_once: Semaphore,
    unasked: Semaphore,
}

/// The right to compile a module now; others may have to wait while it is held.
pub struct Place<'a> {
    _unasked: Option<SemaphorePermit<'a>>,
    _at_once: Option<SemaphorePermit<'a>>,
}

/// How soon a module is wanted.
#[derive(Debug, Clone)]
pub enum Turn {
    /// At once: it is one of ours, and no bomb.
    Now,
    /// When its turn comes; until the token is cancelled nobody waits for it.
    Later(CancellationToken),
}

impl Compiler {
    /// A compiler in `place` that gives a module `deadline` of wall-clock time.
    pub fn new(place: CompileIn, deadline: Duration) -> Self {
        Self { place, deadline, at_once: Semaphore::new(AT_ONCE), unasked: Semaphore::new(UNASKED) }
    }

    /// Compiles `module` in its place.
    ///
    /// # Errors
    /// What is wrong with it, or which limit it met; [`LoadError::NotNow`] if the compiler itself could not do its work.
    pub async fn compile(&self, engine: &Engine, module: Vec<u8>, _place: Place<'_>) -> Result<Artefact, LoadError> {
        let encoding = Encoding::of(&module)?;
        match &self.place {
            CompileIn::Process(program) => {
                let compiling = self.compile_in_process(program, encoding, &module);
                tokio::time::timeout(self.deadline, compiling).await.unwrap_or_else(|_| Err(self.too_slow()))
            }
            CompileIn::Thread => {
                let engine = engine.clone();
                tokio::task::spawn_blocking(move || Artefact::compile(engine.raw(), &module))
                    .await
                    .unwrap_or_else(|_| Err(LoadError::Module("compiling it was given up".to_owned())))
            }
        }
    }

    /// Waits for a place at the compiler. Whoever waits need not hold the module meanwhile.
    pub async fn place(&self, turn: &Turn) -> Place<'_> {
        let Turn::Later(wanted) = turn else { return Place { _unasked: None, _at_once: None } };
        let unasked = tokio::select! {
            biased;
            () = wanted.cancelled() => None,
            turn = self.unasked.acquire() => turn.ok(),
        };
        Place { _unasked: unasked, _at_once: self.at_once.acquire().await.ok() }
    }

    fn too_slow(&self) -> LoadError {
        LoadError::Module(format!(
            "compiling it takes longer than {} ms; make it smaller or raise cache.compileDeadlineMs",
            self.deadline.as_millis()
        ))
    }

    async fn compile_in_process(
        &self,
        program: &PathBuf,
        encoding: Encoding,
        module: &[u8],
    ) -> Result<Artefact, LoadError> {
        let failed = |error: std::io::Error| LoadError::NotNow(format!("the compiler cannot be run: {error}"));
        points::COMPILE_SPAWN.hit().map_err(|injected| failed(injected.into()))?;
        let mut child = Command::new(program)
            .arg("compile")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Dropped at the deadline or with the server; what a terminal or a service manager tells the server's group
            // is for the server, which may still have to finish this.
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let mut input = child.stdin.take().expect("it was asked for");
        let output = child.stdout.take().expect("it was asked for");
        let mut complaint = child.stderr.take().expect("it was asked for");
        let (mut compiled, mut said) = (Vec::new(), Vec::new());
        let feed = async {
            // A compiler that has died reads no further; its exit says why.
            let _ = input.write_all(module).await;
            drop(input);
            Ok(())
        };
        let mut output = output.take(ARTEFACT_BYTES + 1);
        let listen = async {
            (&mut complaint).take(SAID_BYTES).read_to_end(&mut said).await?;
            // Or a talkative compiler would wait for a reader.
            tokio::io::copy(&mut complaint, &mut tokio::io::sink()).await
        };
        let ((), _, _) = tokio::try_join!(feed, output.read_to_end(&mut compiled), listen).map_err(failed)?;
        if compiled.len() as u64 > ARTEFACT_BYTES {
            return Err(LoadError::Module(format!("its machine code exceeds {ARTEFACT_BYTES} bytes; make it smaller")));
        }
        let status = child.wait().await.map_err(failed)?;
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        match status.code() {
            Some(0) => Ok(Artefact::trusted(encoding, compiled)),
            Some(REFUSED) => Err(LoadError::Module(said)),
            _ => Err(ended(status, &said)),
        }
    }
}

/// What the end of a compiler means that neither compiled nor refused the module. A crash is the module's doing; a
/// compiler that was stopped from outside (by a person, or by a system that needed its memory) may succeed another time.
fn ended(status: ExitStatus, said: &str) -> LoadError {
    let crash = [Signal::ABORT, Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE, Signal::TRAP];
    match status.signal() {
        Some(signal) if crash.iter().any(|crash| crash.as_raw() == signal) => LoadError::Module(format!(
            "the compiler crashed on it (signal {signal}); it may need more than {} MiB of memory",
            MEMORY_BYTES >> 20
        )),
        Some(signal) => LoadError::NotNow(format!("the compiler was stopped by signal {signal}")),
        None => LoadError::NotNow(format!("the compiler failed ({status}): {said}")),
    }
}

/// Exit code of a compiler that has said what is wrong with the module.
pub const REFUSED: i32 = 1;

/// Binds this process as a compiler must be bound. Call it first thing in the child.
///
/// # Errors
/// When the system refuses.
pub fn bind_compiler_process() -> std::io::Result<()> {
    let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
    let allowed = rustix::process::getrlimit(Resource::As).maximum.unwrap_or(MEMORY_BYTES);
    rustix::process::setrlimit(Resource::As, limit(MEMORY_BYTES.min(allowed)))?;
    rustix::process::setrlimit(Resource::Core, limit(0))?;
    rustix::process::nice(NICENESS)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}
