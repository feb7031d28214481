//! The host's side of `tools/wit`: what a warm tool may ask of us besides WASI.

use tracing::Level;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::p2;

use super::limits::Limits;
use super::store::{Progress, ToolState};
use crate::failpoint::points;
use crate::redact;

/// Generated from the WIT; documented there.
#[allow(missing_docs, reason = "generated code; tools/wit/tool.wit is the documentation")]
pub mod bindings {
    wasmtime::component::bindgen!({
        path: "tools/wit",
        world: "file-tool",
        imports: { default: trappable },
        exports: { default: async },
        with: { "wasi": wasmtime_wasi::p2::bindings },
    });
}

use bindings::nurones::tool::types::LogLevel;
use bindings::nurones::tool::{context, files, host, types};

/// A linker that offers WASI p2 and the `nurones:tool` imports.
///
/// # Errors
/// Never in practice: two definitions of one name would be a bug here.
pub fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<ToolState>> {
    let mut linker = Linker::new(engine);
    p2::add_to_linker_async(&mut linker)?;
    context::add_to_linker::<_, HasSelf<ToolState>>(&mut linker, |state| state)?;
    host::add_to_linker::<_, HasSelf<ToolState>>(&mut linker, |state| state)?;
    files::add_to_linker::<_, HasSelf<ToolState>>(&mut linker, |state| state)?;
    Ok(linker)
}

impl types::Host for ToolState {}

impl host::Host for ToolState {
    fn progress(&mut self, done: f64, total: Option<f64>, message: Option<String>) -> wasmtime::Result<()> {
        if let Some(progress) = &self.progress {
            // A client that cannot keep up loses reports, never the result.
            let _ = progress.try_send(Progress { done, total, message });
        }
        Ok(())
    }

    fn log(&mut self, level: LogLevel, message: String) -> wasmtime::Result<()> {
        points::GUEST_IMPORT.hit_for(&self.tool).map_err(wasmtime::Error::from)?;
        self.log_lines += 1;
        match self.log_lines.cmp(&(Limits::LOG_LINES + 1)) {
            std::cmp::Ordering::Less => log_line(self, level, &message),
            std::cmp::Ordering::Equal => {
                tracing::warn!(tool = %self.tool, trace_id = self.trace_id(), budget = Limits::LOG_LINES, "the tool logs too much; the rest of this call is dropped");
            }
            std::cmp::Ordering::Greater => {}
        }
        Ok(())
    }

    fn output_limit(&mut self) -> wasmtime::Result<u64> {
        Ok(self.output_bytes as u64)
    }
}

/// Writes one line of a guest to our log, made harmless for terminals.
fn log_line(state: &ToolState, level: LogLevel, message: &str) {
    let message = printable(message.as_bytes(), Limits::LOG_LINE_BYTES);
    let (tool, trace_id) = (&*state.tool, state.trace_id());
    let name = match level {
        LogLevel::Debug => {
            tracing::event!(target: "guest", Level::DEBUG, tool, trace_id, "{message}");
            "debug"
        }
        LogLevel::Info => {
            tracing::event!(target: "guest", Level::INFO, tool, trace_id, "{message}");
            "info"
        }
        LogLevel::Warn => {
            tracing::event!(target: "guest", Level::WARN, tool, trace_id, "{message}");
            "warn"
        }
        LogLevel::Error => {
            tracing::event!(target: "guest", Level::ERROR, tool, trace_id, "{message}");
            "error"
        }
    };
    state.said(name, &message);
}

/// Text from a guest with control characters escaped and at most `most_bytes` of it.
pub fn printable(bytes: &[u8], most_bytes: usize) -> String {
    // What is cut must be looked at before; all else is, where it is written.
    let cut = if bytes.len() > most_bytes { redact::first_bytes(bytes, most_bytes) } else { bytes.into() };
    String::from_utf8_lossy(&cut)
        .chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_guest_do_not_reach_the_terminal() {
        assert_eq!(printable(b"a\x1b[31mb\nc", 100), "a\\u{1b}[31mb\\nc");
        assert_eq!(printable(b"abcdef", 3), "abc");
    }
}
