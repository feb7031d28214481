//! Whose signatures count: names and Ed25519 public keys, in a file of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use super::fingerprint::{Fingerprint, hex, unhex};
use super::own_file::{self, Rights};

/// The first key of the file; another number is another format.
const VERSION: u64 = 1;

/// What every public key begins with in text.
const PREFIX: &str = "ed25519:";

/// The first eight bytes of a public key's SHA-256: enough to find it, not to trust it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// An Ed25519 public key, as text `ed25519:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(pub(super) VerifyingKey);

impl PublicKey {
    /// Reads it from text.
    ///
    /// # Errors
    /// When it is no public key, or one under which anything would verify.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = text.strip_prefix(PREFIX).and_then(unhex).ok_or_else(|| {
            format!("`{text}` is no public key; it must be {PREFIX} and 64 hexadecimal digits, as `sign --new-key` prints it")
        })?;
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(key)),
            _ => Err(format!("`{text}` is no usable Ed25519 key; ask for another")),
        }
    }

    /// Its short name.
    pub fn id(&self) -> KeyId {
        let fingerprint = Fingerprint::of(self.0.as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&fingerprint.as_bytes()[..8]);
        KeyId(id)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hex(self.0.as_bytes()))
    }
}

/// See the module documentation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedKeys {
    /// Keys by the name that whoever trusts them gave them.
    pub keys: BTreeMap<String, PublicKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "trusted-keys")]
    version: u64,
    keys: BTreeMap<String, String>,
}

impl TrustedKeys {
    /// Reads the file `path`. Where there is none, nobody is trusted.
    ///
    /// # Errors
    /// Why it cannot be gone by, and what to do.
    pub fn read(path: &Path) -> Result<Self, String> {
        let Some(text) = own_file::read(path, Rights::Public)? else { return Ok(Self::default()) };
        Self::parse(&text).map_err(|problem| {
            format!("the trusted keys {} cannot be used: {problem}; correct or remove it", path.display())
        })
    }

    /// Puts them in the place of `path`.
    ///
    /// # Errors
    /// Why they cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let keys = self.keys.iter().map(|(name, key)| (name.clone(), key.to_string())).collect();
        let written = serde_json::to_string_pretty(&Written { version: VERSION, keys });
        own_file::replace(path, &(written.expect("strings and numbers are serialisable") + "\n"))
    }

    /// The keys of this short name.
    pub(super) fn of(&self, id: KeyId) -> impl Iterator<Item = (&str, &PublicKey)> {
        self.keys.iter().filter(move |(_, key)| key.id() == id).map(|(name, key)| (name.as_str(), key))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        // Asked first: another format need not look like this one.
        if let Some(newer) = value["trusted-keys"].as_u64().filter(|version| *version != VERSION) {
            return Err(format!("it has format {newer}, and this nurones-mcp knows {VERSION}"));
        }
        let written: Written = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let keys = written.keys.into_iter().map(|(name, key)| Ok((name, PublicKey::parse(&key)?)));
        Ok(Self { keys: keys.collect::<Result<_, String>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::secret_key::SecretKey;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trusted-keys.json");
        assert_eq!(TrustedKeys::read(&path), Ok(TrustedKeys::default()));
        let key = SecretKey::generate().unwrap().public();
        let keys = TrustedKeys { keys: BTreeMap::from([("me".to_owned(), key.clone())]) };
        keys.write(&path).unwrap();
        assert_eq!(TrustedKeys::read(&path), Ok(keys.clone()));
        assert_eq!(keys.of(key.id()).count(), 1);
        for wrong in [
            String::new(),
            "{}".to_owned(),
            r#"{"trusted-keys":2,"keys":{}}"#.to_owned(),
            r#"{"trusted-keys":1,"keys":{"me":"ed25519:00"}}"#.to_owned(),
            // The neutral element: everything verifies under it.
            format!(r#"{{"trusted-keys":1,"keys":{{"me":"ed25519:01{}"}}}}"#, "00".repeat(31)),
            format!(r#"{{"trusted-keys":1,"keys":{{"me":"{key}"}},"more":1}}"#),
        ] {
            std::fs::write(&path, &wrong).unwrap();
            assert!(TrustedKeys::read(&path).is_err(), "{wrong}");
        }
    }
}
