//! Mode `overwrite`: readers see the old content or the new one, and the file keeps its permission bits.

use fs_path::{Fault, Kind, Report, WriteMode};
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

use crate::bindings::nurones::tool::files::copy_mode;
use crate::output::{Temporary, write_all};
use crate::target::Target;

pub fn replace(target: Target, bytes: &[u8]) -> Result<Report, Fault> {
    // A link stays a link: the file it leads to is replaced, in that file's own directory.
    let (target, exists) = target.resolve()?;
    if !exists {
        let temporary = Temporary::create(target.directory(), &target.place).map_err(|code| target.fault(code))?;
        write_all(temporary.file(), bytes).map_err(|code| target.fault(code))?;
        temporary.rename(&target.place.path).map_err(|code| target.fault(code))?;
        return Ok(target.report(WriteMode::Overwrite, bytes));
    }
    // Opened for writing, so that a file which its owner made read-only is not replaced behind the owner's back.
    let old = target
        .directory()
        .open_at(PathFlags::empty(), &target.place.path, OpenFlags::empty(), DescriptorFlags::WRITE)
        .map_err(|code| target.fault(code))?;
    match prepare(&target, &old)? {
        Ok(temporary) => {
            write_all(temporary.file(), bytes).map_err(|code| target.fault(code))?;
            // The old content is given up only when the new one is on disk.
            temporary.file().sync_data().map_err(|code| target.fault(code))?;
            temporary.rename(&target.place.path).map_err(|code| target.fault(code))?;
            Ok(Report { replaced: true, ..target.report(WriteMode::Overwrite, bytes) })
        }
        Err(reason) => replace_in_place(target, &old, bytes, reason),
    }
}

/// An empty file with the permission bits of the old one, or the reason why there can be none.
fn prepare<'a>(target: &Target, old: &Descriptor) -> Result<Result<Temporary<'a>, &'static str>, Fault> {
    let temporary = match Temporary::create(target.directory(), &target.place) {
        Ok(temporary) => temporary,
        Err(ErrorCode::Access | ErrorCode::NotPermitted) => return Ok(Err("its directory takes no new file")),
        Err(code) => return Err(target.fault(code)),
    };
    // Before a byte is in it: content that only the owner may read is never there for others.
    Ok(match copy_mode(old, temporary.file()) {
        Ok(()) => Ok(temporary),
        Err(_) => Err("its permission bits could not be copied to a new file"),
    })
}

fn replace_in_place(target: Target, old: &Descriptor, bytes: &[u8], reason: &str) -> Result<Report, Fault> {
    let written = old.set_size(0).and_then(|()| write_all(old, bytes)).and_then(|()| old.sync());
    if let Err(code) = written {
        let message = format!(
            "overwriting {:?} in place failed half-way ({}), so its content is incomplete; write it again",
            target.path,
            code.name()
        );
        return Err(Fault::new(Kind::Failed, message));
    }
    let note = format!("in place and not atomically, {reason}");
    Ok(Report { replaced: true, atomic: false, note: Some(note), ..target.report(WriteMode::Overwrite, bytes) })
}
