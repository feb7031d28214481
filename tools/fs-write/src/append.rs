//! Mode `append`: adds at the end of the file, wherever that is at the moment of writing.

use fs_path::{Fault, Kind, Report, WriteMode};
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags, filesystem_error_code};
use wasip2::io::streams::{OutputStream, StreamError};

use crate::target::Target;

pub fn append(target: Target, bytes: &[u8]) -> Result<Report, Fault> {
    let (target, exists) = target.resolve()?;
    let flags = if exists { OpenFlags::empty() } else { OpenFlags::CREATE };
    let file = target
        .directory()
        .open_at(PathFlags::empty(), &target.place.path, flags, DescriptorFlags::WRITE)
        .map_err(|code| target.fault(code))?;
    let mut done = 0;
    if let Err(code) = extend(&file, bytes, &mut done) {
        if done == 0 {
            return Err(target.fault(code));
        }
        let message = format!(
            "appending to {:?} failed ({}) after {done} of {} bytes; read its end before you try again",
            target.path,
            code.name(),
            bytes.len()
        );
        return Err(Fault::new(Kind::Failed, message));
    }
    let note = (!exists).then(|| "the file is new".to_owned());
    Ok(Report { atomic: false, note, ..target.report(WriteMode::Append, bytes) })
}

/// Writes at the end, `done` counts the bytes that are there. The host finds the end anew for every piece, so that
/// several writers do not overwrite each other.
fn extend(file: &Descriptor, bytes: &[u8], done: &mut usize) -> Result<(), ErrorCode> {
    if bytes.is_empty() {
        return Ok(());
    }
    let stream = file.append_via_stream()?;
    while *done < bytes.len() {
        let room = ready(&stream)?;
        let piece = &bytes[*done..bytes.len().min(done.saturating_add(room))];
        stream.write(piece).and_then(|()| stream.blocking_flush()).map_err(|error| code_of(&error))?;
        *done += piece.len();
    }
    Ok(())
}

/// How many bytes the stream takes now; waits until it takes some.
fn ready(stream: &OutputStream) -> Result<usize, ErrorCode> {
    loop {
        match stream.check_write() {
            Ok(0) => stream.subscribe().block(),
            Ok(room) => return Ok(usize::try_from(room).unwrap_or(usize::MAX)),
            Err(error) => return Err(code_of(&error)),
        }
    }
}

fn code_of(error: &StreamError) -> ErrorCode {
    match error {
        StreamError::LastOperationFailed(error) => filesystem_error_code(error).unwrap_or(ErrorCode::Io),
        StreamError::Closed => ErrorCode::Io,
    }
}
