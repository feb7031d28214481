//! Files and stdout through std, as a tool written without care for us would use them.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Write, stdout};

use crate::bindings::nurones::tool::types::{ErrorCode, ToolError};
use crate::failure;

pub fn read(path: &str) -> Result<String, ToolError> {
    fs::read_to_string(path).map_err(|error| explain("reading", path, &error))
}

pub fn write(path: &str, content: &str) -> Result<String, ToolError> {
    fs::write(path, content).map_err(|error| explain("writing", path, &error))?;
    Ok(format!("wrote {} bytes", content.len()))
}

/// Opens the same file `n` times and closes nothing before the end.
pub fn open_many(path: &str, n: usize) -> Result<String, ToolError> {
    let mut open = Vec::new();
    for _ in 0..n {
        match File::open(path) {
            Ok(file) => open.push(file),
            Err(error) => return Err(explain(&format!("after {} of {n}, opening", open.len()), path, &error)),
        }
    }
    Ok(format!("held {} descriptors open", open.len()))
}

pub fn print_many(bytes: u64) -> Result<String, ToolError> {
    let block = [b'p'; 4096];
    let mut left = bytes;
    let mut out = stdout();
    while left > 0 {
        let part = left.min(block.len() as u64);
        out.write_all(&block[..part as usize]).map_err(|error| explain("writing", "stdout", &error))?;
        left -= part;
    }
    out.flush().map_err(|error| explain("writing", "stdout", &error))?;
    Ok(format!("printed {bytes} bytes"))
}

fn explain(doing: &str, path: &str, error: &Error) -> ToolError {
    let code = match error.kind() {
        ErrorKind::NotFound => ErrorCode::NotFound,
        ErrorKind::PermissionDenied => ErrorCode::PermissionDenied,
        _ => ErrorCode::Failed,
    };
    failure(code, format!("{doing} {path:?} failed: {}", error.to_string().to_lowercase()))
}
