//! One read in the fewest crossings: open, read, drop.

use fs_path::{Access, Fault, Payload, Place, ReadArguments, locate};
use fs_warm::{fault, granted};
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, DescriptorType, ErrorCode, OpenFlags, PathFlags};

use crate::bindings::nurones::tool::files::{self, Opened, Unopened};

/// Reads what `arguments` ask for; `limit` asks the host how much a result may hold. Returns the path as well, whose
/// extension tells the media type.
pub fn read(arguments: &str, limit: impl Fn() -> u64) -> Result<(Payload, String), Fault> {
    let ReadArguments { path, offset, length } = ReadArguments::parse(arguments)?;
    let granted = granted();
    let place = locate(granted.names(), &path, Access::Read)?;
    let Opened { file, size } = open(granted.directory(&place), &place, &path)?;
    if offset > i64::MAX as u64 || (size > 0 && offset >= size) {
        return Ok((Payload::Text(String::new()), path));
    }

    let limit = limit();
    let wanted = wanted(size, offset, length, limit);
    if size > 0 && wanted > limit {
        return Err(Fault::output_limit(&path, size, wanted, limit));
    }
    let bytes = read_exactly(&file, offset, wanted).map_err(|code| fault(code, &path, Access::Read))?;

    let size = size.max(bytes.len() as u64);
    let payload = Payload::from_bytes(bytes);
    if payload.cost() > limit {
        return Err(Fault::output_limit(&path, size, payload.cost(), limit));
    }
    Ok((payload, path))
}

/// Opens the regular file at `place`.
fn open(directory: &Descriptor, place: &Place, path: &str) -> Result<Opened, Fault> {
    match files::open_regular(directory, &place.path) {
        Ok(opened) => Ok(opened),
        Err(Unopened::Failed(ErrorCode::IsDirectory)) => Err(Fault::directory(path)),
        Err(Unopened::Failed(code)) => Err(fault(code, path, Access::Read)),
        Err(Unopened::NotRegular) => Err(Fault::not_regular(path)),
        Err(Unopened::Unsupported) => open_by_wasi(directory, place, path),
    }
}

/// The same by WASI alone. The type is looked at before the file is opened: opening a FIFO would wait for a writer.
fn open_by_wasi(directory: &Descriptor, place: &Place, path: &str) -> Result<Opened, Fault> {
    let failed = |code| fault(code, path, Access::Read);
    let stat = directory.stat_at(PathFlags::SYMLINK_FOLLOW, &place.path).map_err(failed)?;
    match stat.type_ {
        DescriptorType::RegularFile => {}
        DescriptorType::Directory => return Err(Fault::directory(path)),
        _ => return Err(Fault::not_regular(path)),
    }
    let file = directory
        .open_at(PathFlags::SYMLINK_FOLLOW, &place.path, OpenFlags::empty(), DescriptorFlags::READ)
        .map_err(failed)?;
    Ok(Opened { file, size: stat.size })
}

/// How many bytes to read. A file that grows meanwhile is read to the size it had. A size of nothing may be a lie (files
/// made by the kernel), so such a file is read to its end, or one byte past the limit to know that it has no end in reach.
fn wanted(size: u64, offset: u64, length: Option<u64>, limit: u64) -> u64 {
    let rest = if size > 0 { size - offset } else { limit.saturating_add(1) };
    length.map_or(rest, |length| length.min(rest))
}

/// Reads `wanted` bytes from `offset`, fewer when the file ends before.
fn read_exactly(file: &Descriptor, offset: u64, wanted: u64) -> Result<Vec<u8>, ErrorCode> {
    // The host gives a small file in one piece, which is then the result as it is, without a copy.
    let (mut bytes, mut end) = file.read(wanted, offset)?;
    if end || bytes.is_empty() || bytes.len() as u64 >= wanted {
        return Ok(bytes);
    }
    loop {
        let have = bytes.len() as u64;
        let (piece, last) = file.read(wanted - have, offset + have)?;
        end |= last;
        if have < PREALLOCATED {
            bytes.reserve_exact((wanted - have).min(PREALLOCATED) as usize);
        }
        bytes.extend_from_slice(&piece);
        if end || piece.is_empty() || bytes.len() as u64 >= wanted {
            return Ok(bytes);
        }
    }
}

/// The most that is reserved before the bytes are there: the size of a file is a claim, not a promise.
const PREALLOCATED: u64 = 8 << 20;
