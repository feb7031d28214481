//! The kinds of guest, and how bytes become one.
//!
//! | kind | how it is known | life |
//! |---|---|---|
//! | [`Guest::Tool`] | a component that exports our WIT world | warm |
//! | [`Guest::Command`] | a core module with `_start` | one run per call |
//! | plain component | any other component | not yet: refused with that reason |
//!
//! Compilation runs under `catch_unwind`: some components make the compiler panic, and that must cost one module, not
//! the process.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::component::Component;
use wasmtime::{InstancePre, Linker, Module};

use super::contract::{self, bindings::FileToolPre};
use super::engine::Engine;
use super::error::LoadError;
use super::store::{CommandState, ToolState};

/// Modules larger than this are refused before they are compiled.
pub const MODULE_BYTES: usize = 64 << 20;

/// A compiled module with its imports resolved; instantiating it costs microseconds.
#[derive(Clone)]
pub enum Guest {
    /// A warm `nurones:tool` component.
    Tool(FileToolPre<ToolState>),
    /// A WASI p1 command: JSON on standard input, JSON on standard output.
    Command(InstancePre<CommandState>),
}

impl Guest {
    /// Compiles `bytes`, which must be binary WebAssembly of one of the kinds we run.
    ///
    /// # Errors
    /// A reason a person can act on: what the bytes are, or which import or export is wrong.
    pub fn compile(engine: &Engine, bytes: &[u8]) -> Result<Self, LoadError> {
        if bytes.len() > MODULE_BYTES {
            return Err(LoadError::Module(format!("it has {} bytes, the limit is {MODULE_BYTES}", bytes.len())));
        }
        let compile = match Encoding::of(bytes)? {
            Encoding::Component => compile_tool,
            Encoding::Core => compile_command,
        };
        catch_unwind(AssertUnwindSafe(|| compile(engine, bytes)))
            .unwrap_or_else(|_| Err(LoadError::Module("the compiler gave up on it".to_owned())))
    }

    /// The kind, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tool(_) => "tool component",
            Self::Command(_) => "command",
        }
    }
}

/// What the first eight bytes say.
enum Encoding {
    Core,
    Component,
}

impl Encoding {
    fn of(bytes: &[u8]) -> Result<Self, LoadError> {
        match bytes {
            [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(Self::Core),
            [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(Self::Component),
            [0, b'a', b's', b'm', ..] => Err(LoadError::Module("its WebAssembly version is unknown".to_owned())),
            [] => Err(LoadError::Module("the file is empty".to_owned())),
            _ => Err(LoadError::Module("the file does not start like WebAssembly; build it to .wasm first".to_owned())),
        }
    }
}

fn compile_tool(engine: &Engine, bytes: &[u8]) -> Result<Guest, LoadError> {
    let component = Component::from_binary(engine.raw(), bytes).map_err(unusable)?;
    let component_type = component.component_type();
    let exports: Vec<String> = component_type.exports(engine.raw()).map(|(name, _)| name.to_owned()).collect();
    if !["describe", "call"].iter().all(|name| exports.iter().any(|export| export == name)) {
        return Err(LoadError::Contract(format!(
            "it is a component, but does not export the world nurones:tool@0.1.0 (`describe` and `call`); \
             it exports {}",
            if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
        )));
    }
    let linker = contract::linker(engine.raw()).map_err(unusable)?;
    let pre = linker.instantiate_pre(&component).map_err(contract_broken)?;
    FileToolPre::new(pre).map(Guest::Tool).map_err(contract_broken)
}

fn compile_command(engine: &Engine, bytes: &[u8]) -> Result<Guest, LoadError> {
    let module = Module::from_binary(engine.raw(), bytes).map_err(unusable)?;
    let Some(start) = module.get_export("_start").and_then(|export| export.func().cloned()) else {
        return Err(LoadError::Contract(
            "it is a core module without a `_start` function; build it as a WASI command or as a component".to_owned(),
        ));
    };
    // Found here, or every call would fail.
    if start.params().len() + start.results().len() > 0 {
        return Err(LoadError::Contract(
            "its `_start` takes or returns something; the one of a WASI command does neither".to_owned(),
        ));
    }
    let mut linker = Linker::new(engine.raw());
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state: &mut CommandState| &mut state.wasi)
        .map_err(unusable)?;
    linker.instantiate_pre(&module).map(Guest::Command).map_err(contract_broken)
}

fn unusable(error: wasmtime::Error) -> LoadError {
    LoadError::Module(first_lines(&error))
}

fn contract_broken(error: wasmtime::Error) -> LoadError {
    LoadError::Contract(first_lines(&error))
}

/// An error of wasmtime on one line, causes included, without its multi-line hints.
fn first_lines(error: &wasmtime::Error) -> String {
    error
        .chain()
        .map(|cause| cause.to_string().lines().next().unwrap_or_default().to_owned())
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        Guest::compile(&Engine::new().unwrap(), bytes).err().expect("a refusal").to_string()
    }

    #[test]
    fn whatever_is_no_module_is_refused_with_its_reason() {
        assert!(refusal(b"").contains("empty"));
        assert!(refusal(b"(module)").contains("does not start like WebAssembly"));
        assert!(refusal(b"\0asm\x63\0\0\0").contains("version is unknown"));
        assert!(refusal(b"\0asm\x01\0\0\0\xff").contains("not a usable WebAssembly module"));
        assert!(refusal(b"\0asm\x01\0\0\0").contains("_start"));
        assert!(refusal(&wat::parse_str("(component)").unwrap()).contains("does not export the world"));
        let wants_gpu = wat::parse_str(r#"(module (import "gpu" "draw" (func)) (func (export "_start")))"#).unwrap();
        assert!(refusal(&wants_gpu).contains("gpu"));
    }

    #[test]
    fn switched_off_proposals_are_refused() {
        let memory64 = wat::parse_str(r#"(module (memory i64 1) (func (export "_start")))"#).unwrap();
        assert!(refusal(&memory64).contains("not a usable"));
    }
}
