//! A signature over a module, and over the words of its manifest if that was signed: a small text file beside what was signed.

use std::fmt;
use std::path::{Path, PathBuf};

use ed25519_dalek::Signer;

use super::fingerprint::{Fingerprint, hex, unhex};
use super::own_file::{self, Rights};
use super::secret_key::SecretKey;
use super::trusted_keys::{KeyId, TrustedKeys};

/// What every signature begins with.
const FIRST: &str = "nurones-mcp signature 1";

/// What is signed begins with this, so that nothing that was signed for another purpose counts.
const DOMAIN: &[u8] = b"nurones-mcp module signature 1\0";

/// The file in which a signature of `signed` is looked for.
pub fn beside(signed: &Path) -> PathBuf {
    let mut name = signed.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

/// See the module documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    key: KeyId,
    module: Fingerprint,
    manifest: Option<Fingerprint>,
    bytes: [u8; 64],
}

fn message(module: &Fingerprint, manifest: Option<&Fingerprint>) -> Vec<u8> {
    let mut message = DOMAIN.to_vec();
    message.extend_from_slice(module.as_bytes());
    message.extend(manifest.iter().flat_map(|manifest| manifest.as_bytes()));
    message
}

impl Signature {
    /// Signs a module, and the words of a manifest if they are given.
    pub fn new(key: &SecretKey, module: Fingerprint, manifest: Option<Fingerprint>) -> Self {
        let bytes = key.0.sign(&message(&module, manifest.as_ref())).to_bytes();
        Self { key: key.public().id(), module, manifest, bytes }
    }

    /// Reads the file `path`; `None` if there is nothing of that name.
    ///
    /// # Errors
    /// When it cannot be read, or is no signature.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        let Some(text) = own_file::read(path, Rights::Public)? else { return Ok(None) };
        let parsed = Self::parse(&text).map_err(|problem| format!("{} is no signature: {problem}", path.display()));
        parsed.map(Some)
    }

    /// Puts it in the place of `path`.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        own_file::replace(path, &self.to_string())
    }

    /// The name of the trusted key that has signed exactly this module and, if it signs one, this manifest.
    ///
    /// # Errors
    /// Why nobody who is trusted has.
    pub fn verify<'a>(
        &self,
        module: &Fingerprint,
        manifest: &Fingerprint,
        keys: &'a TrustedKeys,
    ) -> Result<&'a str, String> {
        if self.module != *module {
            return Err(format!("signs a module with sha256 {}, and this one has {module}", self.module));
        }
        if self.manifest.is_some_and(|signed| signed != *manifest) {
            return Err("signs another name, description, schema or other permissions than the manifest has".to_owned());
        }
        let mut known = keys.of(self.key).peekable();
        if known.peek().is_none() {
            return Err(format!("is of the key {}, which is not trusted", self.key));
        }
        let signature = ed25519_dalek::Signature::from_bytes(&self.bytes);
        let message = message(&self.module, self.manifest.as_ref());
        known
            .find(|(_, key)| key.0.verify_strict(&message, &signature).is_ok())
            .map(|(name, _)| name)
            .ok_or_else(|| format!("does not verify with the key {}: it is damaged or forged", self.key))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        match lines.next() {
            Some(FIRST) => {}
            Some(line) if line.starts_with("nurones-mcp signature ") => {
                return Err("it has another format; update nurones-mcp".to_owned());
            }
            _ => return Err(format!("it does not begin with `{FIRST}`")),
        }
        let (mut key, mut module, mut manifest, mut bytes) = (None, None, None, None);
        for line in lines {
            let known = match line.split_once(' ') {
                Some(("key", value)) if key.is_none() => unhex(value).map(|id| key = Some(KeyId(id))),
                Some(("module", value)) if module.is_none() => Fingerprint::parse(value).map(|it| module = Some(it)),
                Some(("manifest", value)) if manifest.is_none() => {
                    Fingerprint::parse(value).map(|it| manifest = Some(it))
                }
                Some(("signature", value)) if bytes.is_none() => unhex(value).map(|it| bytes = Some(it)),
                _ => None,
            };
            known.ok_or_else(|| format!("the line `{line}` is wrong, unknown or there twice"))?;
        }
        match (key, module, bytes) {
            (Some(key), Some(module), Some(bytes)) => Ok(Self { key, module, manifest, bytes }),
            _ => Err("it lacks one of the lines key, module and signature".to_owned()),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}\nkey {}\nmodule {}", self.key, self.module)?;
        if let Some(manifest) = &self.manifest {
            writeln!(f, "manifest {manifest}")?;
        }
        writeln!(f, "signature {}", hex(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn trusting(keys: &[(&str, &SecretKey)]) -> TrustedKeys {
        TrustedKeys {
            keys: keys.iter().map(|(name, key)| ((*name).to_owned(), key.public())).collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn a_signature_holds_for_what_was_signed_by_whom_one_trusts_and_nothing_else() {
        let (mine, theirs) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        let [module, other, manifest] = [b"module", b"other!", b"manife"].map(|bytes| Fingerprint::of(bytes));
        let keys = trusting(&[("me", &mine)]);
        let signature = Signature::new(&mine, module, None);
        assert_eq!(signature.verify(&module, &manifest, &keys), Ok("me"));
        assert!(signature.verify(&other, &manifest, &keys).unwrap_err().contains("this one has"));
        let whole = Signature::new(&mine, module, Some(manifest));
        assert_eq!(whole.verify(&module, &manifest, &keys), Ok("me"));
        assert!(whole.verify(&module, &other, &keys).unwrap_err().contains("permissions"));
        let stripped = Signature { manifest: None, ..whole };
        assert!(
            stripped.verify(&module, &other, &keys).unwrap_err().contains("forged"),
            "it cannot be made to hold for less"
        );
        let untrusted = Signature::new(&theirs, module, None);
        assert!(untrusted.verify(&module, &manifest, &keys).unwrap_err().contains("not trusted"));
        let pretended = Signature { key: mine.public().id(), ..untrusted };
        assert!(pretended.verify(&module, &manifest, &keys).unwrap_err().contains("forged"));
    }

    #[test]
    fn what_is_written_is_read_and_every_flipped_digit_is_noticed() {
        let key = SecretKey::generate().unwrap();
        let [module, manifest] = [b"module", b"manife"].map(|bytes| Fingerprint::of(bytes));
        let keys = trusting(&[("me", &key)]);
        for signs in [None, Some(manifest)] {
            let signature = Signature::new(&key, module, signs);
            let text = signature.to_string();
            assert_eq!(Signature::parse(&text), Ok(signature));
            for at in text.len() - 200..text.len() {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
                let changed = String::from_utf8(bytes).unwrap();
                let verified = Signature::parse(&changed).and_then(|it| it.verify(&module, &manifest, &keys).map(drop));
                assert!(verified.is_err() || changed.trim_end() == text.trim_end(), "byte {at}");
            }
            let newer = text.replace("signature 1", "signature 2");
            assert!(Signature::parse(&newer).unwrap_err().contains("update"));
            assert!(Signature::parse(&format!("{text}more 1\n")).is_err());
            assert!(Signature::parse("").is_err());
        }
    }
}
