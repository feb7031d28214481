//! What WASI's error codes mean for the caller.

use fs_path::{Access, Cause, Fault};
use wasip2::filesystem::types::ErrorCode;

pub fn cause(code: ErrorCode) -> Cause {
    match code {
        ErrorCode::NoEntry => Cause::Missing,
        ErrorCode::Access | ErrorCode::NotPermitted | ErrorCode::ReadOnly => Cause::Denied,
        ErrorCode::Exist => Cause::Exists,
        ErrorCode::NotDirectory => Cause::NotADirectory,
        ErrorCode::IsDirectory => Cause::IsADirectory,
        ErrorCode::NameTooLong => Cause::NameTooLong,
        ErrorCode::Loop => Cause::LinkLoop,
        ErrorCode::InsufficientSpace | ErrorCode::Quota => Cause::Full,
        _ => Cause::Other,
    }
}

/// The failure as the caller sees it.
pub fn fault(code: ErrorCode, path: &str, access: Access) -> Fault {
    Fault::from_cause(cause(code), path, access, code.name())
}
