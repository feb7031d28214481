//! `fs.read` as a command: the same arguments and rules as the warm tool, through std and WASI preview 1.
#![forbid(unsafe_code)]

use std::fs::{File, metadata};
use std::io::{Error, Read, Seek, SeekFrom};

use fs_command::{Answer, Granted, OUTPUT_LIMIT, fault, run};
use fs_path::{Access, Fault, Payload, ReadArguments, encode_base64};

fn main() {
    run(read);
}

fn read(arguments: &str) -> Result<Answer, Fault> {
    let ReadArguments { path, offset, length } = ReadArguments::parse(arguments)?;
    let granted = Granted::new();
    let full = granted.full(&granted.locate(&path, Access::Read)?);
    let explain = |error: Error| fault(&error, &path, Access::Read);

    // The type is looked at before the file is opened: opening a FIFO would wait for a writer.
    let stat = metadata(&full).map_err(explain)?;
    if stat.is_dir() {
        return Err(Fault::directory(&path));
    }
    if !stat.is_file() {
        return Err(Fault::not_regular(&path));
    }
    let size = stat.len();
    if offset > i64::MAX as u64 || (size > 0 && offset >= size) {
        return Ok(Answer::text(String::new(), 0));
    }
    // A size of nothing may be a lie (files made by the kernel): read to the end, or past the limit.
    let rest = if size > 0 { size - offset } else { OUTPUT_LIMIT + 1 };
    let wanted = length.map_or(rest, |length| length.min(rest));
    if size > 0 && wanted > OUTPUT_LIMIT {
        return Err(Fault::output_limit(&path, size, wanted, OUTPUT_LIMIT));
    }
    let bytes = read_part(&full, offset, wanted, size > 0).map_err(explain)?;

    let count = bytes.len() as u64;
    let payload = Payload::from_bytes(bytes);
    if payload.cost() > OUTPUT_LIMIT {
        return Err(Fault::output_limit(&path, size.max(count), payload.cost(), OUTPUT_LIMIT));
    }
    Ok(match payload {
        Payload::Text(text) => Answer::text(text, count),
        Payload::Blob(bytes) => Answer::base64(encode_base64(&bytes), count),
    })
}

fn read_part(full: &str, offset: u64, wanted: u64, reserve: bool) -> Result<Vec<u8>, Error> {
    let mut file = File::open(full)?;
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))?;
    }
    let mut bytes = Vec::with_capacity(if reserve { wanted as usize } else { 0 });
    file.take(wanted).read_to_end(&mut bytes)?;
    Ok(bytes)
}
