//! `fs.read` as a warm tool: a file, or a part of it, as one block of text or bytes.
#![deny(unsafe_code)]

mod bindings;
mod read;

use bindings::nurones::tool::host;
use bindings::nurones::tool::types::{
    Blob, Completion, Content, Description, ErrorCode, Hints, Outcome, Resume, ToolError,
};
use fs_path::{Fault, Kind, Payload, READ_SCHEMA, media_type};

struct Tool;

impl bindings::Guest for Tool {
    fn describe() -> Description {
        Description {
            text:
                "Read a file, or a part of it, from the allowed directories. Text comes back exactly as it is, other \
                   content as base64 with its media type. Use offset and length for a part of a large file."
                    .into(),
            input_schema: READ_SCHEMA.into(),
            hints: Hints::READ_ONLY | Hints::IDEMPOTENT,
        }
    }

    fn call(arguments: String, _context: String, _resume: Option<Resume>) -> Result<Outcome, ToolError> {
        let (payload, path) = read::read(&arguments, host::output_limit).map_err(tool_error)?;
        let content = match payload {
            Payload::Text(text) => Content::Text(text),
            Payload::Blob(data) => Content::Blob(Blob { data, mime_type: media_type(&path).into() }),
        };
        Ok(Outcome::Complete(Completion { content: vec![content], structured: None }))
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
