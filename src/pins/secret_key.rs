//! The key that signs, in a file that its owner alone can read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ed25519_dalek::SigningKey;

use super::fingerprint::{hex, unhex};
use super::own_file::{self, Rights};
use super::trusted_keys::PublicKey;

/// What every key file begins with.
const FIRST: &str = "nurones-mcp secret key 1";

/// See the module documentation. It is overwritten in memory when it goes.
pub struct SecretKey(pub(super) SigningKey);

impl SecretKey {
    /// A new key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> io::Result<Self> {
        let mut seed = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut seed)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The key that verifies what this one has signed.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Writes it to `path`, which must not be there yet.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn create(&self, path: &Path) -> Result<(), String> {
        let text = format!("{FIRST}\n{}\n", hex(&self.0.to_bytes()));
        own_file::create(path, &text).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{} is already there; a key is not overwritten, choose another name", path.display())
            }
            _ => format!("{} cannot be written: {error}", path.display()),
        })
    }

    /// Reads it from `path`.
    ///
    /// # Errors
    /// When it is not there, others may read it, or it is no key.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let Some(text) = own_file::read(path, Rights::Secret)? else {
            return Err(format!("there is no {shown}; make a key with `nurones-mcp sign --new-key {shown}`"));
        };
        let seed = text.strip_prefix(FIRST).and_then(|rest| unhex(rest.trim()));
        let seed =
            seed.ok_or_else(|| format!("{shown} is no secret key of nurones-mcp; see `nurones-mcp sign --help`"))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_for_its_owner_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(SecretKey::read(&path).err().unwrap().contains("--new-key"));
        let key = SecretKey::generate().unwrap();
        key.create(&path).unwrap();
        assert_eq!(SecretKey::read(&path).ok().unwrap().public(), key.public());
        let other = SecretKey::generate().unwrap();
        assert_ne!(other.public(), key.public());
        assert!(other.create(&path).unwrap_err().contains("already there"));
        std::fs::write(&path, "ssh-ed25519 …").unwrap();
        assert!(SecretKey::read(&path).err().unwrap().contains("no secret key"));
    }
}
