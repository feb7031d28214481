//! What std's errors mean for the caller.

use std::io::{Error, ErrorKind};

use fs_path::{Access, Cause, Fault};

/// WASI's number for "capabilities insufficient", for which std has no kind.
const NOT_CAPABLE: i32 = 76;
/// WASI's number for "too many levels of symbolic links".
const LOOP: i32 = 32;
/// WASI's number for "filename too long".
const NAME_TOO_LONG: i32 = 37;

/// The failure as the caller sees it.
pub fn fault(error: &Error, path: &str, access: Access) -> Fault {
    let cause = match (error.kind(), error.raw_os_error()) {
        (_, Some(NOT_CAPABLE)) => Cause::Denied,
        (_, Some(LOOP)) => Cause::LinkLoop,
        (_, Some(NAME_TOO_LONG)) => Cause::NameTooLong,
        (ErrorKind::NotFound, _) => Cause::Missing,
        (ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem, _) => Cause::Denied,
        (ErrorKind::AlreadyExists, _) => Cause::Exists,
        (ErrorKind::NotADirectory, _) => Cause::NotADirectory,
        (ErrorKind::IsADirectory, _) => Cause::IsADirectory,
        (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _) => Cause::Full,
        _ => Cause::Other,
    };
    Fault::from_cause(cause, path, access, error.to_string().to_lowercase())
}
