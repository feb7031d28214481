//! Machine code made from a module: what the compiler puts out and the cache keeps.
//!
//! Reading machine code back cannot be checked by anyone: whoever can choose the bytes can run what they like. So an
//! [`Artefact`] is only ever made of bytes that this program's own compiler has just put out, here or in its child
//! process, or that the cache has found to be, bit for bit, what was once put in.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::Module;
use wasmtime::component::Component;

use super::error::LoadError;

/// What the first eight bytes of a module say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A core module.
    Core,
    /// A component.
    Component,
}

impl Encoding {
    /// The encoding of `module`.
    ///
    /// # Errors
    /// When the bytes do not begin like WebAssembly we know.
    pub fn of(module: &[u8]) -> Result<Self, LoadError> {
        match module {
            [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(Self::Core),
            [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(Self::Component),
            [0, b'a', b's', b'm', ..] => Err(LoadError::Module("its WebAssembly version is unknown".to_owned())),
            [] => Err(LoadError::Module("the file is empty".to_owned())),
            _ => Err(LoadError::Module("the file does not start like WebAssembly; build it to .wasm first".to_owned())),
        }
    }
}

/// See the module documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact {
    encoding: Encoding,
    bytes: Vec<u8>,
}

/// A module in memory, ready to be linked.
pub enum Compiled {
    /// A core module.
    Core(Module),
    /// A component.
    Component(Component),
}

impl Artefact {
    /// Compiles `module` on this thread and its helpers, however long that takes.
    ///
    /// # Errors
    /// What is wrong with the module, on one line.
    pub fn compile(engine: &wasmtime::Engine, module: &[u8]) -> Result<Self, LoadError> {
        let encoding = Encoding::of(module)?;
        let compiled = guarded(|| match encoding {
            Encoding::Core => engine.precompile_module(module),
            Encoding::Component => engine.precompile_component(module),
        })?;
        Ok(Self { encoding, bytes: compiled.map_err(|error| LoadError::Module(one_line(&error)))? })
    }

    /// An artefact from bytes that came out of [`Artefact::as_bytes`] unchanged; the caller answers for that.
    pub(super) fn trusted(encoding: Encoding, bytes: Vec<u8>) -> Self {
        Self { encoding, bytes }
    }

    /// The machine code, in wasmtime's format.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Brings the machine code into memory.
    ///
    /// # Errors
    /// When it was made by another wasmtime, with other settings, or for another machine.
    #[expect(unsafe_code, reason = "see the module documentation for who makes artefacts")]
    pub fn revive(&self, engine: &wasmtime::Engine) -> Result<Compiled, LoadError> {
        let revived = guarded(|| match self.encoding {
            // SAFETY: the bytes are what our own compiler put out; see the module documentation.
            Encoding::Core => unsafe { Module::deserialize(engine, &self.bytes) }.map(Compiled::Core),
            // SAFETY: likewise.
            Encoding::Component => unsafe { Component::deserialize(engine, &self.bytes) }.map(Compiled::Component),
        })?;
        revived.map_err(|error| LoadError::Module(one_line(&error)))
    }
}

/// Some components make the compiler panic, and that must cost one module, not the process.
fn guarded<T>(compile: impl FnOnce() -> T) -> Result<T, LoadError> {
    catch_unwind(AssertUnwindSafe(compile)).map_err(|_| LoadError::Module("the compiler gave up on it".to_owned()))
}

/// An error of wasmtime on one line, causes included, without its multi-line hints.
pub(super) fn one_line(error: &wasmtime::Error) -> String {
    error
        .chain()
        .map(|cause| cause.to_string().lines().next().unwrap_or_default().to_owned())
        .collect::<Vec<_>>()
        .join(": ")
}
