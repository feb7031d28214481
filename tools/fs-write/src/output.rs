//! Writing bytes to an open file, and the file beside the real one that is written first.

use fs_path::{Place, temporary};
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};
use wasip2::random::random::get_random_u64;

/// Writes all bytes from the start of the file.
pub fn write_all(file: &Descriptor, bytes: &[u8]) -> Result<(), ErrorCode> {
    let mut done = 0;
    while done < bytes.len() {
        let written = file.write(&bytes[done..], done as u64)?;
        if written == 0 {
            return Err(ErrorCode::Io);
        }
        done += written as usize;
    }
    Ok(())
}

/// Creates a file that must not exist.
pub fn create_exclusively(directory: &Descriptor, path: &str) -> Result<Descriptor, ErrorCode> {
    let flags = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    directory.open_at(PathFlags::empty(), path, flags, DescriptorFlags::WRITE)
}

/// A file that vanishes unless it took the place of the real one.
pub struct Temporary<'a> {
    directory: &'a Descriptor,
    path: String,
    file: Descriptor,
    kept: bool,
}

impl<'a> Temporary<'a> {
    /// Creates an empty one beside `place`.
    pub fn create(directory: &'a Descriptor, place: &Place) -> Result<Self, ErrorCode> {
        // A name that is taken is a leftover or a guess of somebody else; three of them are no accident.
        for _ in 0..3 {
            let path = temporary(place, get_random_u64()).path;
            match create_exclusively(directory, &path) {
                Ok(file) => return Ok(Self { directory, path, file, kept: false }),
                Err(ErrorCode::Exist) => {}
                Err(code) => return Err(code),
            }
        }
        Err(ErrorCode::Busy)
    }

    pub fn file(&self) -> &Descriptor {
        &self.file
    }

    /// Gives the file its real name, which must be free.
    pub fn link(&self, path: &str) -> Result<(), ErrorCode> {
        self.directory.link_at(PathFlags::empty(), &self.path, self.directory, path)
    }

    /// Takes the place of whatever has the name.
    pub fn rename(mut self, path: &str) -> Result<(), ErrorCode> {
        self.directory.rename_at(&self.path, self.directory, path)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing is left to do when this fails: the write's own failure is what the caller hears of.
            let _ = self.directory.unlink_file_at(&self.path);
        }
    }
}
