//! The host's side of `files` in `tools/wit`: what tools for files need and WASI lacks.
//!
//! Invariant: nothing is reached in here that WASI would not reach. A path is looked up below the granted directory by the
//! kernel, with the flags that wasmtime-wasi uses; a descriptor that comes out is one of WASI's.

use std::fs::File;
use std::io;

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::OpenMode;
use wasmtime_wasi::filesystem::{self, Descriptor, Dir};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::contract::bindings::nurones::tool::files::{Host, Opened, Unopened};
use super::store::ToolState;

impl Host for ToolState {
    fn open_regular(
        &mut self,
        directory: Resource<Descriptor>,
        path: String,
    ) -> wasmtime::Result<Result<Opened, Unopened>> {
        // A slow disk would hold up the deadline of a tool that is not trusted with that.
        if !self.blocking_io {
            return Ok(Err(Unopened::Unsupported));
        }
        open_below(&mut self.table, &directory, &path)
    }

    fn copy_mode(
        &mut self,
        source: Resource<Descriptor>,
        target: Resource<Descriptor>,
    ) -> wasmtime::Result<Result<(), String>> {
        let (source, target) = (self.table.get(&source)?, self.table.get(&target)?);
        Ok(match (source, target) {
            (Descriptor::File(source), Descriptor::File(target)) if target.open_mode.contains(OpenMode::WRITE) => {
                copy_permission_bits(&source.file, &target.file).map_err(|error| error.to_string())
            }
            _ => Err("both must be regular files, and the target open for writing".to_owned()),
        })
    }
}

/// Opens the regular file at `path` below `directory`, and enters it in `table`.
///
/// # Errors
/// A trap: `directory` is no descriptor, or the table is full.
pub fn open_below(
    table: &mut ResourceTable,
    directory: &Resource<Descriptor>,
    path: &str,
) -> wasmtime::Result<Result<Opened, Unopened>> {
    let Descriptor::Dir(directory) = table.get(directory)? else {
        return Ok(Err(Unopened::Failed(ErrorCode::NotDirectory)));
    };
    let (file, size) = match open_regular(directory, path) {
        Ok(opened) => opened,
        Err(unopened) => return Ok(Err(unopened)),
    };
    let file = filesystem::File::new(file, directory.perms, OpenMode::READ, true);
    let file = table.push(Descriptor::File(file))?;
    Ok(Ok(Opened { file, size }))
}

/// Opens and looks; without waiting, whatever it is.
#[cfg(target_os = "linux")]
fn open_regular(directory: &Dir, path: &str) -> Result<(File, u64), Unopened> {
    use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
    use rustix::io::Errno;
    /// The kernel says `EAGAIN` when something on the way was renamed meanwhile.
    const TRIES: usize = 4;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        let file = match openat2(&*directory.dir, path, flags, Mode::empty(), beneath) {
            Ok(file) => file,
            Err(Errno::AGAIN) => continue,
            // A kernel or a container without `openat2`.
            Err(Errno::NOSYS | Errno::PERM) => return Err(Unopened::Unsupported),
            // The way leads out of the directory.
            Err(Errno::XDEV) => return Err(Unopened::Failed(ErrorCode::NotPermitted)),
            // A socket, or a device without a driver.
            Err(Errno::NXIO) => return Err(Unopened::NotRegular),
            Err(errno) => return Err(failed(errno)),
        };
        let stat = fstat(&file).map_err(failed)?;
        return match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((File::from(file), stat.st_size.try_into().unwrap_or(0))),
            FileType::Directory => Err(Unopened::Failed(ErrorCode::IsDirectory)),
            _ => Err(Unopened::NotRegular),
        };
    }
    Err(Unopened::Unsupported)
}

#[cfg(target_os = "linux")]
fn failed(errno: rustix::io::Errno) -> Unopened {
    Unopened::Failed(io::Error::from(errno).into())
}

/// WASI has to do.
#[cfg(not(target_os = "linux"))]
fn open_regular(_: &Dir, _: &str) -> Result<(File, u64), Unopened> {
    Err(Unopened::Unsupported)
}

/// Only rwx for user, group and others: a guest must not be able to make a set-user-id file.
fn copy_permission_bits(source: &std::fs::File, target: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = source.metadata()?.permissions().mode() & 0o777;
    target.set_permissions(std::fs::Permissions::from_mode(mode))
}
