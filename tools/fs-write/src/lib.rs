//! `fs.write` as a warm tool: creates, replaces or extends a file so that no reader sees half of it.
#![deny(unsafe_code)]

mod append;
mod bindings;
mod create;
mod output;
mod replace;
mod target;

use bindings::nurones::tool::types::{Completion, Content, Description, ErrorCode, Hints, Outcome, Resume, ToolError};
use fs_path::{Fault, Kind, Report, WRITE_SCHEMA, WriteArguments, WriteMode};
use target::Target;

struct Tool;

impl bindings::Guest for Tool {
    fn describe() -> Description {
        Description {
            text: "Write a file in the allowed directories. By default it refuses a file that exists; mode \
                   \"overwrite\" replaces it as a whole and mode \"append\" adds at its end. The directory must exist. \
                   Text is written as it is, other bytes with encoding \"base64\"."
                .into(),
            input_schema: WRITE_SCHEMA.into(),
            hints: Hints::DESTRUCTIVE,
        }
    }

    fn call(arguments: String, _context: String, _resume: Option<Resume>) -> Result<Outcome, ToolError> {
        let report = write(&arguments).map_err(tool_error)?;
        Ok(Outcome::Complete(Completion {
            content: vec![Content::Text(report.sentence())],
            structured: Some(report.json()),
        }))
    }
}

fn write(arguments: &str) -> Result<Report, Fault> {
    let (WriteArguments { path, mode, .. }, bytes) = WriteArguments::parse(arguments)?;
    let target = Target::locate(path)?;
    match mode {
        WriteMode::Create => create::create(target, &bytes),
        WriteMode::Overwrite => replace::replace(target, &bytes),
        WriteMode::Append => append::append(target, &bytes),
    }
}

fn tool_error(fault: Fault) -> ToolError {
    let code = match fault.kind {
        Kind::InvalidArguments => ErrorCode::InvalidArguments,
        Kind::NotFound => ErrorCode::NotFound,
        Kind::PermissionDenied => ErrorCode::PermissionDenied,
        Kind::OutputLimit => ErrorCode::OutputLimit,
        Kind::Failed => ErrorCode::Failed,
    };
    ToolError { code, message: fault.message }
}
