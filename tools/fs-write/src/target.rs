//! The file that a call means, and what lies there.

use fs_path::{Access, Entry, Fault, Place, Report, Resolved, WriteMode, locate, resolve};
use fs_warm::{fault, granted};
use wasip2::filesystem::types::{Descriptor, DescriptorType, ErrorCode, PathFlags};

/// A path of the caller and its place.
pub struct Target {
    /// As the caller gave it: the only spelling that messages use.
    pub path: String,
    pub place: Place,
}

impl Target {
    pub fn locate(path: String) -> Result<Self, Fault> {
        let place = locate(granted().names(), &path, Access::Write)?;
        Ok(Self { path, place })
    }

    pub fn directory(&self) -> &'static Descriptor {
        granted().directory(&self.place)
    }

    /// What lies here, a link not followed.
    pub fn look(&self) -> Result<Entry, Fault> {
        look(&self.place, &self.path)
    }

    /// The file at the end of all links, and whether there is one.
    pub fn resolve(self) -> Result<(Self, bool), Fault> {
        let Self { path, place } = self;
        let Resolved { place, exists } = resolve(place, &path, |place| look(place, &path))?;
        Ok((Self { path, place }, exists))
    }

    pub fn fault(&self, code: ErrorCode) -> Fault {
        fault(code, &self.path, Access::Write)
    }

    pub fn report(self, mode: WriteMode, bytes: &[u8]) -> Report {
        Report { bytes: bytes.len() as u64, path: self.path, mode, replaced: false, atomic: true, note: None }
    }
}

fn look(place: &Place, path: &str) -> Result<Entry, Fault> {
    let directory = granted().directory(place);
    let stat = match directory.stat_at(PathFlags::empty(), &place.path) {
        Ok(stat) => stat,
        Err(ErrorCode::NoEntry) => return Ok(Entry::Missing),
        Err(code) => return Err(fault(code, path, Access::Write)),
    };
    Ok(match stat.type_ {
        DescriptorType::RegularFile => Entry::File,
        DescriptorType::Directory => Entry::Directory,
        DescriptorType::SymbolicLink => match directory.readlink_at(&place.path) {
            Ok(target) => Entry::Link(target),
            Err(ErrorCode::NotPermitted) => return Err(Fault::absolute_link(path)),
            Err(code) => return Err(fault(code, path, Access::Write)),
        },
        _ => Entry::Special,
    })
}
