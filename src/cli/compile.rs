//! `compile`, hidden: the child process of `wasi::compiler`. A module on standard input, machine code on standard
//! output, or what is wrong with the module on standard error.

use std::io::Read;

use super::exit::{Exit, complain, print};
use crate::wasi::artefact::Artefact;
use crate::wasi::compiler::bind_compiler_process;
use crate::wasi::engine;
use crate::wasi::error::LoadError;
use crate::wasi::guest::MODULE_BYTES;

/// Bytes of a reason.
const REASON_BYTES: usize = 2048;

/// Compiles standard input.
pub fn run() -> Exit {
    if let Err(error) = bind_compiler_process() {
        complain(&format!("the compiler cannot be bounded: {error}"));
        return Exit::Internal;
    }
    // Its place and backtrace are of no use to whoever wrote the module; that there was one is said.
    std::panic::set_hook(Box::new(|_| ()));
    let mut module = Vec::new();
    let input = std::io::stdin().lock().take(MODULE_BYTES as u64 + 1).read_to_end(&mut module);
    let engine = match (input, engine::for_compiling()) {
        (Ok(_), Ok(engine)) => engine,
        (Err(error), _) => {
            complain(&format!("the module cannot be read: {error}"));
            return Exit::Internal;
        }
        (_, Err(error)) => {
            complain(&format!("the compiler cannot start: {error:#}"));
            return Exit::Internal;
        }
    };
    match Artefact::compile(&engine, &module) {
        Ok(artefact) => print(artefact.as_bytes()).map_or(Exit::ClientGone, |()| Exit::Done),
        Err(LoadError::Module(reason)) => refuse(&reason),
        Err(other) => refuse(&other.to_string()),
    }
}

fn refuse(reason: &str) -> Exit {
    // A module may choose names of any length.
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES)];
    let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), reason.as_bytes());
    Exit::Failed
}
