//! The kinds of guest, and how a compiled module becomes one.
//!
//! | kind | how it is known | life |
//! |---|---|---|
//! | [`Guest::Tool`] | a component that exports our WIT world | warm |
//! | [`Guest::Command`] | a core module with `_start` | one run per call |
//! | plain component | any other component | not yet: refused with that reason |

use std::fmt;

use wasmtime::component::Component;
use wasmtime::{InstancePre, Linker, Module};

use super::artefact::{Artefact, Compiled, Encoding, one_line};
use super::contract::{self, bindings::FileToolPre};
use super::engine::Engine;
use super::error::LoadError;
use super::store::{CommandState, ToolState};

/// Modules larger than this are refused before anything looks at them, in bytes.
pub const MODULE_BYTES: usize = 64 << 20;

/// What a module is to us, known from its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestKind {
    /// A `nurones:tool` component.
    Tool,
    /// A WASI p1 command.
    Command,
}

impl GuestKind {
    /// The kind of `module`.
    ///
    /// # Errors
    /// When the bytes are too many or no WebAssembly.
    pub fn of(module: &[u8]) -> Result<Self, LoadError> {
        if module.len() > MODULE_BYTES {
            return Err(LoadError::Module(format!("it has {} bytes, the limit is {MODULE_BYTES}", module.len())));
        }
        Ok(match Encoding::of(module)? {
            Encoding::Core => Self::Command,
            Encoding::Component => Self::Tool,
        })
    }

    /// The kind, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Tool => "tool component",
            Self::Command => "command",
        }
    }
}

impl fmt::Display for GuestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// A compiled module with its imports resolved; instantiating it costs microseconds.
#[derive(Clone)]
pub enum Guest {
    /// A warm `nurones:tool` component.
    Tool(FileToolPre<ToolState>),
    /// A WASI p1 command: JSON on standard input, JSON on standard output.
    Command(InstancePre<CommandState>),
}

impl Guest {
    /// Compiles `module`, which must be binary WebAssembly of one of the kinds we run, on this thread.
    ///
    /// # Errors
    /// A reason a person can act on: what the bytes are, or which import or export is wrong.
    pub fn compile(engine: &Engine, module: &[u8]) -> Result<Self, LoadError> {
        GuestKind::of(module)?;
        Self::revive(engine, &Artefact::compile(engine.raw(), module)?)
    }

    /// Brings compiled code into memory and resolves its imports.
    ///
    /// # Errors
    /// As [`Guest::compile`], and when the code is not for this engine.
    pub fn revive(engine: &Engine, artefact: &Artefact) -> Result<Self, LoadError> {
        match artefact.revive(engine.raw())? {
            Compiled::Core(module) => link_command(engine, &module),
            Compiled::Component(component) => link_tool(engine, &component),
        }
    }
}

/// What a component must export to be a tool.
pub(super) fn check_tool_exports(exports: &[String]) -> Result<(), LoadError> {
    if ["describe", "call"].iter().all(|name| exports.iter().any(|export| export == name)) {
        return Ok(());
    }
    Err(LoadError::Contract(format!(
        "it is a component, but does not export the world nurones:tool@0.1.0 (`describe` and `call`); it exports {}",
        if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
    )))
}

/// A core module must have a `_start` to be a command.
pub(super) fn no_start() -> LoadError {
    LoadError::Contract(
        "it is a core module without a `_start` function; build it as a WASI command or as a component".to_owned(),
    )
}

fn link_tool(engine: &Engine, component: &Component) -> Result<Guest, LoadError> {
    let component_type = component.component_type();
    let exports: Vec<String> = component_type.exports(engine.raw()).map(|(name, _)| name.to_owned()).collect();
    check_tool_exports(&exports)?;
    let linker = contract::linker(engine.raw()).map_err(contract_broken)?;
    let pre = linker.instantiate_pre(component).map_err(contract_broken)?;
    FileToolPre::new(pre).map(Guest::Tool).map_err(contract_broken)
}

/// A linker that offers WASI p1.
///
/// # Errors
/// Never in practice: two definitions of one name would be a bug of wasmtime-wasi.
pub(super) fn command_linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<CommandState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state: &mut CommandState| &mut state.wasi)?;
    Ok(linker)
}

fn link_command(engine: &Engine, module: &Module) -> Result<Guest, LoadError> {
    let Some(start) = module.get_export("_start").and_then(|export| export.func().cloned()) else {
        return Err(no_start());
    };
    // Found here, or every call would fail.
    if start.params().len() + start.results().len() > 0 {
        return Err(LoadError::Contract(
            "its `_start` takes or returns something; the one of a WASI command does neither".to_owned(),
        ));
    }
    let linker = command_linker(engine.raw()).map_err(contract_broken)?;
    linker.instantiate_pre(module).map(Guest::Command).map_err(contract_broken)
}

fn contract_broken(error: wasmtime::Error) -> LoadError {
    LoadError::Contract(one_line(&error))
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
