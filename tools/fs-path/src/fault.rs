//! Failures in words: one sentence each, lower case, that says what to do next and quotes the path as the caller gave it.

use std::fmt;

/// What kind of failure it is; the names of the contract's `error-code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    InvalidArguments,
    NotFound,
    PermissionDenied,
    OutputLimit,
    Failed,
}

/// A failure that the tool explains itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    pub message: String,
}

/// What the caller wanted to do; decides which right is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// What WASI answered, as far as the caller can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Missing,
    Denied,
    Exists,
    NotADirectory,
    IsADirectory,
    NameTooLong,
    LinkLoop,
    Full,
    Other,
}

impl Fault {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidArguments, message)
    }

    /// No directory is granted at all.
    pub fn nothing_allowed(access: Access) -> Self {
        let message = match access {
            Access::Read => "no directory is allowed for reading; start the server with --allow DIR",
            Access::Write => "no directory is allowed for writing; start the server with --allow DIR:rw",
        };
        Self::new(Kind::PermissionDenied, message)
    }

    pub fn outside(path: &str, access: Access) -> Self {
        let right = match access {
            Access::Read => "",
            Access::Write => ":rw",
        };
        let message = format!("path {path:?} is outside the allowed directories; allow it with --allow DIR{right}");
        Self::new(Kind::PermissionDenied, message)
    }

    pub fn directory(path: &str) -> Self {
        Self::invalid(format!("{path:?} is a directory; name a file in it"))
    }

    /// A FIFO, a socket or a device: opening it could wait for ever.
    pub fn not_regular(path: &str) -> Self {
        Self::invalid(format!("{path:?} is not a regular file but a pipe, a socket or a device; name a regular file"))
    }

    pub fn exists(path: &str) -> Self {
        Self::invalid(format!(
            "{path:?} already exists; use mode \"overwrite\" to replace it or mode \"append\" to add to it"
        ))
    }

    pub fn dangling(path: &str) -> Self {
        let message = format!("{path:?} is a link to a file that does not exist; name the file itself");
        Self::new(Kind::NotFound, message)
    }

    /// WASI follows no such link and does not tell where it leads.
    pub fn absolute_link(path: &str) -> Self {
        let message = format!(
            "{path:?} is a link that leaves its allowed directory or holds an absolute path; name the file itself"
        );
        Self::new(Kind::PermissionDenied, message)
    }

    pub fn link_loop(path: &str) -> Self {
        Self::invalid(format!("{path:?} leads through too many links; name the file itself"))
    }

    /// The part asked for has `bytes` bytes as a result, more than `limit`, in a file of `size`.
    pub fn output_limit(path: &str, size: u64, bytes: u64, limit: u64) -> Self {
        let message = format!(
            "{path:?} has {size} bytes and the answer would have {bytes}, more than the limit of {limit}; use offset and length to read a part"
        );
        Self::new(Kind::OutputLimit, message)
    }

    /// WASI's answer in words; `detail` is what it said about a cause that has no words of ours.
    pub fn from_cause(cause: Cause, path: &str, access: Access, detail: impl fmt::Display) -> Self {
        match (cause, access) {
            (Cause::Missing, Access::Read) => Self::new(
                Kind::NotFound,
                format!("{path:?} does not exist; a relative path starts at the first allowed directory"),
            ),
            (Cause::Missing, Access::Write) => Self::new(
                Kind::NotFound,
                format!("the directory of {path:?} does not exist; create the directory first"),
            ),
            (Cause::Denied, Access::Read) => Self::new(
                Kind::PermissionDenied,
                format!(
                    "reading {path:?} is not permitted; name a readable file in an allowed directory (--allow DIR), links to absolute paths are not followed"
                ),
            ),
            (Cause::Denied, Access::Write) => Self::new(
                Kind::PermissionDenied,
                format!(
                    "writing {path:?} is not permitted; its directory must be allowed for writing (--allow DIR:rw)"
                ),
            ),
            (Cause::Exists, _) => Self::exists(path),
            (Cause::NotADirectory, _) => {
                Self::invalid(format!("a part of {path:?} is a file where a directory is needed; check the path"))
            }
            (Cause::IsADirectory, _) => Self::directory(path),
            (Cause::NameTooLong, _) => {
                Self::invalid(format!("{path:?} has a name that is too long for its file system; use a shorter one"))
            }
            (Cause::LinkLoop, _) => Self::link_loop(path),
            (Cause::Full, _) => {
                Self::new(Kind::Failed, format!("there is no space left for {path:?}; free some space or write less"))
            }
            (Cause::Other, Access::Read) => {
                Self::new(Kind::Failed, format!("reading {path:?} failed ({detail}); try again or read another file"))
            }
            (Cause::Other, Access::Write) => {
                Self::new(Kind::Failed, format!("writing {path:?} failed ({detail}); try again or write another file"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_quotes_the_path_on_one_line() {
        let fault = Fault::outside("a\nb", Access::Read);
        assert_eq!(fault.message, r#"path "a\nb" is outside the allowed directories; allow it with --allow DIR"#);
        assert_eq!(fault.kind, Kind::PermissionDenied);
    }

    #[test]
    fn a_missing_right_to_write_is_named() {
        assert!(Fault::nothing_allowed(Access::Write).message.contains("--allow DIR:rw"));
        assert!(Fault::outside("/x", Access::Write).message.ends_with("--allow DIR:rw"));
        let denied = Fault::from_cause(Cause::Denied, "x", Access::Write, "");
        assert!(denied.message.contains("--allow DIR:rw"), "{}", denied.message);
    }

    #[test]
    fn a_missing_directory_asks_for_it() {
        let fault = Fault::from_cause(Cause::Missing, "no/x", Access::Write, "");
        assert_eq!(fault.kind, Kind::NotFound);
        assert!(fault.message.contains("create the directory first"));
    }
}
