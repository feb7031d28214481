//! The module cache: compiled modules on disk, so that a server that has run once starts without a compiler.
//!
//! One file per module and engine: a line of JSON (whose it is, how long its parts are, their SHA-256), what the tool
//! says of itself, the machine code. A file counts only when every part is, bit for bit, what the line says; anything
//! else is removed, said once, and compiled anew.
//!
//! - **Two processes at once, kill -9:** a file is written under a name of its own and renamed when it is whole. The
//!   digests make syncing needless: what a power failure leaves half-written does not match.
//! - **Strangers:** the digests tell damage, not malice. So the folder must be ours and writable by nobody else;
//!   otherwise there is no cache, and the reason is said.
//! - **Size:** when a write takes the folder past its limit, the files not used for longest go.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::artefact::{Artefact, Encoding};
use super::cache_key::CacheKey;
use super::definition::Description;
use super::limits::Limits;
use crate::failpoint::points;
use crate::private_folder;

/// The first key of every file; another number is another format.
const FORMAT: u32 = 2;

/// Bytes of the line of JSON.
const HEADER_BYTES: u64 = 4096;

/// Sets of limits under which a description is remembered, for each module.
const MOST_SAID: usize = 16;

/// How old a file must be that was begun and never finished, to be removed.
const ABANDONED: Duration = Duration::from_secs(3600);

const EXTENSION: &str = "nurones-module";

/// See the module documentation.
#[derive(Debug)]
pub struct ModuleCache {
    /// `None`: nothing is kept.
    folder: Option<PathBuf>,
    most_bytes: u64,
}

/// One part of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    bytes: u64,
    sha256: String,
}

impl Part {
    fn of(content: &[u8]) -> Self {
        Self { bytes: content.len() as u64, sha256: hex(&Sha256::digest(content)) }
    }

    /// Reads the part, if `from` holds it unchanged.
    fn read(&self, from: &mut impl Read) -> Result<Vec<u8>, Unusable> {
        let mut content = Vec::new();
        from.take(self.bytes).read_to_end(&mut content).map_err(Unusable::Unread)?;
        let unchanged = content.len() as u64 == self.bytes && hex(&Sha256::digest(&content)) == self.sha256;
        if unchanged { Ok(content) } else { Err(Unusable::Damaged) }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    key: String,
    description: Part,
    artefact: Part,
}

/// What a tool said of itself, and under which limits it was asked.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    limits: String,
    description: Description,
}

/// A file whose first two parts are good.
struct Begun {
    rest: BufReader<File>,
    artefact: Part,
    said: Vec<Said>,
}

/// Why a file is not used.
enum Unusable {
    /// It is not here, or the system does not let us read it; what is in it is not known.
    Unread(io::Error),
    /// It is not what was written.
    Damaged,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ModuleCache {
    /// No cache.
    pub fn off() -> Self {
        Self { folder: None, most_bytes: 0 }
    }

    /// The cache in `folder`, which is created if need be, holding at most `most_bytes`.
    ///
    /// # Errors
    /// Why this folder cannot be used; [`ModuleCache::off`] does without.
    pub fn open(folder: &Path, most_bytes: u64) -> Result<Self, String> {
        private_folder::prepare(folder, "module cache", "NURONES_CACHE_DIR")?;
        Ok(Self { folder: Some(folder.to_owned()), most_bytes })
    }

    /// Whether there is a file for `key`, whatever is in it.
    pub fn has(&self, key: &CacheKey) -> bool {
        let is_file = |path: PathBuf| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
        self.path(key).is_some_and(is_file)
    }

    /// What the tool said of itself when it was asked under these limits; the machine code is not read.
    pub fn description(&self, key: &CacheKey, limits: &Limits) -> Option<Description> {
        let begun = self.begin(&self.path(key)?, key).ok()?;
        let limits = fingerprint(limits);
        begun.said.into_iter().find(|said| said.limits == limits).map(|said| said.description)
    }

    /// The compiled module, if it is here and whole. One that is not is removed and said.
    pub fn artefact(&self, key: &CacheKey, encoding: Encoding) -> Option<Artefact> {
        let path = self.path(key)?;
        let read = self.begin(&path, key).and_then(|mut begun| {
            let bytes = begun.artefact.read(&mut begun.rest)?;
            // The oldest go first; a file in use is not old. Not being able to say so costs a compilation at most.
            let _ = begun.rest.get_ref().set_modified(SystemTime::now());
            Ok(bytes)
        });
        match read {
            Ok(bytes) => return Some(Artefact::trusted(encoding, bytes)),
            Err(Unusable::Damaged) => self.discard(key, "it is damaged or not what its name says"),
            Err(Unusable::Unread(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(Unusable::Unread(error)) => {
                tracing::warn!(file = %path.display(), %error, "a cached module cannot be read; it is compiled anew");
            }
        }
        None
    }

    /// Removes the file for `key`, if there is one, and says so.
    pub fn discard(&self, key: &CacheKey, reason: &str) {
        let Some(path) = self.path(key) else { return };
        if points::KEEP_DAMAGED.hit().is_err() {
            return;
        }
        let file = path.display();
        match fs::remove_file(&path) {
            Ok(()) => tracing::warn!(%file, "a cached module is not used, {reason}; it is compiled anew"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%file, %error, "a cached module is not used, {reason}; remove it by hand");
            }
        }
    }

    /// Keeps `artefact`, with what the tool has said of itself under these limits and others. Failing to is said, and costs
    /// nothing but the next start's time.
    pub fn put(&self, key: &CacheKey, artefact: &Artefact, limits: &Limits, description: Option<&Description>) {
        let Some((folder, path)) = self.folder.as_deref().zip(self.path(key)) else { return };
        if points::KEEP_DAMAGED.hit().is_err() && path.exists() {
            return;
        }
        let said = self.said_in_all(&path, key, limits, description);
        let said = serde_json::to_vec(&said).expect("strings, numbers and JSON values are serialisable");
        let header = Header {
            format: FORMAT,
            key: key.to_string(),
            description: Part::of(&said),
            artefact: Part::of(artefact.as_bytes()),
        };
        let mut header = serde_json::to_vec(&header).expect("strings and numbers are serialisable");
        header.push(b'\n');
        if (header.len() + said.len() + artefact.as_bytes().len()) as u64 > self.most_bytes {
            return;
        }
        let unfinished = folder.join(format!("{}.unfinished", uuid::Uuid::now_v7()));
        let written = write_new(&unfinished, [&header, &said, artefact.as_bytes()]).and_then(|()| {
            points::CACHE_RENAME.hit()?;
            fs::rename(&unfinished, &path)
        });
        if let Err(error) = written {
            let _ = fs::remove_file(&unfinished);
            tracing::warn!(file = %path.display(), %error, "a compiled module cannot be kept; the next start compiles it again");
        }
        if let Err(error) = self.shrink(folder) {
            tracing::warn!(folder = %folder.display(), %error, "the module cache cannot be kept small");
        }
    }

    /// What is to be kept of what the tool says: the newest, and what was known before.
    fn said_in_all(
        &self,
        path: &Path,
        key: &CacheKey,
        limits: &Limits,
        description: Option<&Description>,
    ) -> Vec<Said> {
        let mut said = self.begin(path, key).map_or_else(|_| Vec::new(), |begun| begun.said);
        if let Some(description) = description {
            let limits = fingerprint(limits);
            said.retain(|known| known.limits != limits);
            said.insert(0, Said { limits, description: description.clone() });
            said.truncate(MOST_SAID);
        }
        said
    }

    fn path(&self, key: &CacheKey) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{key}.{EXTENSION}")))
    }

    /// Reads a file up to its machine code.
    fn begin(&self, path: &Path, key: &CacheKey) -> Result<Begun, Unusable> {
        points::CACHE_READ.hit().map_err(|injected| Unusable::Unread(injected.into()))?;
        let mut rest = BufReader::new(open_regular(path)?);
        let mut line = Vec::new();
        (&mut rest).take(HEADER_BYTES).read_until(b'\n', &mut line).map_err(Unusable::Unread)?;
        let header: Header = serde_json::from_slice(&line).map_err(|_| Unusable::Damaged)?;
        if header.format != FORMAT || header.key != key.to_string() {
            return Err(Unusable::Damaged);
        }
        let said = header.description.read(&mut rest)?;
        let said = serde_json::from_slice(&said).map_err(|_| Unusable::Damaged)?;
        Ok(Begun { rest, artefact: header.artefact, said })
    }

    /// Removes what was never finished, and the files not used for longest until the rest fits.
    fn shrink(&self, folder: &Path) -> io::Result<()> {
        let now = SystemTime::now();
        let mut kept = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            // Another process may have removed it meanwhile.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let used = metadata.modified()?;
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(EXTENSION) => kept.push((used, metadata.len(), path)),
                Some("unfinished") if now.duration_since(used).is_ok_and(|age| age > ABANDONED) => {
                    let _ = fs::remove_file(path);
                }
                _ => {}
            }
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in kept {
            if total <= self.most_bytes {
                break;
            }
            let _ = fs::remove_file(path);
            total -= bytes;
        }
        Ok(())
    }
}

fn fingerprint(limits: &Limits) -> String {
    format!("{limits:?}")
}

/// Opens `path` for reading, if a regular file is there: not what a link leads to, and no pipe, which would be waited for.
fn open_regular(path: &Path) -> Result<File, Unusable> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::LOOP.raw_os_error() => Unusable::Damaged,
        _ => Unusable::Unread(error),
    })?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(Unusable::Damaged),
        Err(error) => Err(Unusable::Unread(error)),
    }
}

fn write_new<const N: usize>(path: &Path, parts: [&[u8]; N]) -> io::Result<()> {
    points::CACHE_WRITE.hit()?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    parts.into_iter().try_for_each(|part| file.write_all(part))
}

#[cfg(test)]
mod tests;
