//! What tools were accepted as and whose modules are trusted, as the configuration says.

use std::path::Path;
use std::sync::Arc;

use crate::config::{AuditMode, Config, RequireSignatures};
use crate::pins::{Lock, Pins, Signatures, TrustedKeys};
use crate::policy;
use crate::wasi::catalogue::Catalogue;
use crate::wasi::loader::Loader;

/// Every tool, those that were not accepted as refused ones.
///
/// # Errors
/// As [`pins`].
pub fn catalogue(config: &Config, loader: &Arc<Loader>) -> Result<Catalogue, Vec<String>> {
    Ok(Catalogue::read_pinned(loader, &config.manifest_folders, &pins(config)?))
}

/// What the server goes by.
///
/// # Errors
/// Why it cannot: a lock or a file of keys that is not there, cannot be read or trusted, or could be rewritten by tools.
pub fn pins(config: &Config) -> Result<Pins, Vec<String>> {
    let (lock, signatures) = (lock(config), signatures(config));
    let mut mistakes = guard(config);
    match (lock, signatures) {
        (Ok(lock), Ok(signatures)) if mistakes.is_empty() => Ok(Pins { lock, signatures }),
        (lock, signatures) => {
            mistakes.extend(lock.err().into_iter().chain(signatures.err()));
            Err(mistakes)
        }
    }
}

/// The same without the lock, for whoever is about to write one.
///
/// # Errors
/// As [`pins`].
pub fn pins_but_the_lock(config: &Config) -> Result<Pins, Vec<String>> {
    let mistakes = guard(config);
    match signatures(config) {
        Ok(signatures) if mistakes.is_empty() => Ok(Pins { lock: None, signatures }),
        signatures => Err(mistakes.into_iter().chain(signatures.err()).collect()),
    }
}

fn lock(config: &Config) -> Result<Option<(std::path::PathBuf, Lock)>, String> {
    let Some(path) = config.pinning.lock.as_ref().filter(|_| config.pinning.is_locked) else { return Ok(None) };
    match Lock::read(path)? {
        Some(lock) => Ok(Some((path.clone(), lock))),
        None => {
            Err(format!("there is no lock {}; write it with `nurones-mcp lock`, or do not name it", path.display()))
        }
    }
}

fn signatures(config: &Config) -> Result<Option<Signatures>, String> {
    let refuse = match config.pinning.require {
        RequireSignatures::Off => return Ok(None),
        RequireSignatures::Warn => false,
        RequireSignatures::All => true,
    };
    let Some(path) = &config.pinning.keys else {
        return Err("there is no place for trusted keys; name one with `signatures.keys` or --state-dir".to_owned());
    };
    Ok(Some(Signatures { keys: TrustedKeys::read(path)?, refuse }))
}

/// A tool that could write what it is measured by could be whatever it likes, at the latest at the next start.
fn guard(config: &Config) -> Vec<String> {
    let pinning = &config.pinning;
    let signs = pinning.require != RequireSignatures::Off;
    let lock = pinning.lock.as_deref().filter(|_| pinning.is_locked);
    let keys = pinning.keys.as_deref().filter(|_| signs);
    let says_so = pinning.config.as_deref().filter(|_| lock.is_some() || signs);
    [lock, keys, says_so].into_iter().flatten().filter_map(|path| rewritable(config, path)).collect()
}

/// Why calls cannot be audited, if tools may write where the trail is to be.
pub fn trail_within_reach(config: &Config) -> Option<String> {
    let folder = config.state.as_ref().filter(|_| config.audit.mode != AuditMode::Off)?;
    // What is not there yet will be made where its nearest ancestor is.
    let there = folder.ancestors().find(|path| path.exists())?;
    let writable = policy::above(&config.policy, there).find(|grant| grant.writable)?;
    Some(format!(
        "{}: the audit trail would lie in {}, which tools may write: they could write it anew; choose another folder with \
         --state-dir",
        folder.display(),
        writable.canonical.display()
    ))
}

/// Why `path` cannot be gone by, if tools may write where it lies.
pub fn rewritable(config: &Config, path: &Path) -> Option<String> {
    let writable = policy::above(&config.policy, path).find(|grant| grant.writable)?;
    Some(format!(
        "{}: lies in {}, which tools may write: they could accept themselves; allow that for reading only, or allow only \
         the folders that tools have to write",
        path.display(),
        writable.canonical.display()
    ))
}
