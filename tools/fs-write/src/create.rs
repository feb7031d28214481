//! Mode `create`: the file appears whole under a name that was free until then.

use fs_path::{Entry, Fault, Report, WriteMode};
use wasip2::filesystem::types::ErrorCode;

use crate::output::{Temporary, create_exclusively, write_all};
use crate::target::Target;

pub fn create(target: Target, bytes: &[u8]) -> Result<Report, Fault> {
    match target.look()? {
        Entry::Missing => {}
        Entry::Directory => return Err(Fault::directory(&target.path)),
        Entry::Special => return Err(Fault::not_regular(&target.path)),
        Entry::File | Entry::Link(_) => return Err(Fault::exists(&target.path)),
    }
    let linked = {
        let temporary = Temporary::create(target.directory(), &target.place).map_err(|code| target.fault(code))?;
        write_all(temporary.file(), bytes).map_err(|code| target.fault(code))?;
        // A link, not a rename: a rename would replace a file that somebody else created since we looked.
        temporary.link(&target.place.path)
    };
    match linked {
        Ok(()) => Ok(target.report(WriteMode::Create, bytes)),
        Err(ErrorCode::Exist) => Err(Fault::exists(&target.path)),
        // Some file systems have no links. The name is still taken exclusively, only the content comes after it.
        Err(_) => create_in_place(target, bytes),
    }
}

fn create_in_place(target: Target, bytes: &[u8]) -> Result<Report, Fault> {
    let directory = target.directory();
    let file = create_exclusively(directory, &target.place.path).map_err(|code| target.fault(code))?;
    if let Err(code) = write_all(&file, bytes) {
        // The file is ours: half of it helps nobody.
        let _ = directory.unlink_file_at(&target.place.path);
        return Err(target.fault(code));
    }
    let note = "not atomically, the file system has no hard links".to_owned();
    Ok(Report { atomic: false, note: Some(note), ..target.report(WriteMode::Create, bytes) })
}
