//! What a module says of itself, read without compiling it: milliseconds where the compiler takes a second.
//!
//! A server refuses here, at its start, what would otherwise fail at the first call. What only the compiler can see,
//! the types of a component's functions, is left for later.

use wasmparser::{Parser, Payload};

use super::artefact::one_line;
use super::engine::Engine;
use super::error::LoadError;
use super::guest::{self, GuestKind};

/// Names a module imports and exports, at its top level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anatomy {
    /// What it is to us.
    pub kind: GuestKind,
    /// `module.name` for a core module, the interface for a component.
    pub imports: Vec<String>,
    /// The names others can use.
    pub exports: Vec<String>,
}

impl Anatomy {
    /// Reads `module`.
    ///
    /// # Errors
    /// When it is no WebAssembly, or ends too early.
    pub fn read(module: &[u8]) -> Result<Self, LoadError> {
        let mut anatomy = Self { kind: GuestKind::of(module)?, imports: Vec::new(), exports: Vec::new() };
        let unreadable = |error: wasmparser::BinaryReaderError| LoadError::Module(error.to_string());
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(module) {
            match payload.map_err(unreadable)? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.map_err(unreadable)?;
                        anatomy.imports.push(format!("{}.{}", import.module, import.name));
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        anatomy.exports.push(export.map_err(unreadable)?.name.to_owned());
                    }
                }
                Payload::ComponentImportSection(section) => {
                    for import in section {
                        anatomy.imports.push(import.map_err(unreadable)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) => {
                    for export in section {
                        anatomy.exports.push(export.map_err(unreadable)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(anatomy)
    }

    /// Whether `module`, whose anatomy this is, can become a guest, as far as can be seen without compiling it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn screen(&self, engine: &Engine, module: &[u8]) -> Result<(), LoadError> {
        match self.kind {
            GuestKind::Tool => guest::check_tool_exports(&self.exports),
            GuestKind::Command => {
                wasmtime::Module::validate(engine.raw(), module)
                    .map_err(|error| LoadError::Module(one_line(&error)))?;
                if self.exports.iter().any(|name| name == "_start") { Ok(()) } else { Err(guest::no_start()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_command_are_read() {
        let module = wat::parse_str(
            r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
                (func (export "_start")) (memory (export "memory") 1))"#,
        )
        .unwrap();
        let anatomy = Anatomy::read(&module).unwrap();
        assert_eq!(anatomy.kind, GuestKind::Command);
        assert_eq!(anatomy.imports, ["wasi_snapshot_preview1.fd_write"]);
        assert_eq!(anatomy.exports, ["_start", "memory"]);
    }

    #[test]
    fn only_the_top_level_of_a_component_counts() {
        let module = wat::parse_str(
            r#"(component
                (core module (func (export "inner")))
                (component (import "deep" (func)))
                (import "host" (func))
                (export "out" (func 0)))"#,
        )
        .unwrap();
        let anatomy = Anatomy::read(&module).unwrap();
        assert_eq!((anatomy.kind, &anatomy.imports[..]), (GuestKind::Tool, &["host".to_owned()][..]));
        assert_eq!(anatomy.exports, ["out"]);
    }

    #[test]
    fn a_module_cut_short_is_not_readable() {
        let module = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap();
        for length in 8..module.len() - 1 {
            let anatomy = Anatomy::read(&module[..length]);
            let screened = anatomy.and_then(|it| it.screen(&Engine::new().unwrap(), &module[..length]));
            assert!(screened.is_err(), "{length} of {} bytes", module.len());
        }
    }
}
