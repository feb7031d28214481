//! Whether a module and its manifest are what was accepted, and from whom.
//!
//! All of it is known before anything is compiled: the fingerprint is that of the bytes that the module's key was made of, and
//! nothing but bytes with that key is loaded later. What the tool says of itself is compared here if it is known; if not, clients
//! see what was accepted, and it is compared once the tool has been asked, before its first call.

use std::path::Path;

use serde_json::json;

use super::definition::Definition;
use super::error::LoadError;
use super::manifest::{Entry, Manifest};
use super::sightings::Sighting;
use crate::pins::{Change, Face, Fingerprint, Pin, Pins, Signature, Signatures, beside};

/// The face that a tool was accepted with, if there is a lock.
///
/// # Errors
/// What differs from what was accepted, and what to do.
pub fn vet(manifest: &Manifest, sighting: &Sighting, pins: &Pins) -> Result<Option<Face>, LoadError> {
    // Absent only if nobody asks for it.
    let Some(module) = sighting.fingerprint else { return Ok(None) };
    as_wanted(manifest, &module)?;
    if let (Some(signatures), Entry::File(path)) = (&pins.signatures, &manifest.entry) {
        signed(manifest, path, &module, signatures)?;
    }
    match &pins.lock {
        Some((path, lock)) => match lock.tools.get(&manifest.published_name()) {
            Some(pin) => locked(manifest, sighting, module, pin).map(Some),
            None => Err(not_accepted(&manifest.name, &format!("is not in the lock {}", path.display()))),
        },
        None => Ok(None),
    }
}

/// Whether the module is the one that the manifest wants, if it wants one.
///
/// # Errors
/// Both digests, and what to do.
pub fn as_wanted(manifest: &Manifest, module: &Fingerprint) -> Result<(), LoadError> {
    match &manifest.sha256 {
        Some(wanted) if wanted != module => Err(LoadError::Pinned(format!(
            "its module has sha256 {module}, and the manifest wants {wanted}; restore the module, or correct `sha256` in {}",
            manifest.source.display()
        ))),
        _ => Ok(()),
    }
}

/// What a signature of a manifest is a signature of: what clients are told of its tool, and what that may do.
pub fn signed_part(manifest: &Manifest) -> Fingerprint {
    Fingerprint::of_value(&json!({
        "name": manifest.name,
        "description": manifest.description,
        "inputSchema": manifest.input_schema,
        "permissions": manifest.permissions.words(),
    }))
}

/// Compares what clients would see of a tool with what they saw when it was accepted.
///
/// # Errors
/// Where they differ, and what to do.
pub fn same_face(accepted: &Face, now: &Face) -> Result<(), LoadError> {
    let changes = Change::between(&accepted.to_value(), &now.to_value());
    if changes.is_empty() { Ok(()) } else { Err(changed(&now.name, &changes)) }
}

fn locked(manifest: &Manifest, sighting: &Sighting, module: Fingerprint, pin: &Pin) -> Result<Face, LoadError> {
    let mut now = Pin { module, permissions: manifest.permissions.words().to_owned(), face: pin.face.clone() };
    if sighting.is_described() {
        now.face = Definition::new(manifest, sighting.said.clone()).face(manifest.published_name());
    } else {
        // What the manifest says itself can be compared already.
        now.face.description = manifest.description.clone().unwrap_or(now.face.description);
        now.face.input_schema = manifest.input_schema.clone().unwrap_or(now.face.input_schema);
    }
    let changes = pin.changes(&now);
    if changes.is_empty() { Ok(now.face) } else { Err(changed(&manifest.name, &changes)) }
}

fn changed(name: &str, changes: &[Change]) -> LoadError {
    not_accepted(name, &format!("has changed since it was accepted ({})", Change::places(changes)))
}

fn not_accepted(name: &str, what: &str) -> LoadError {
    LoadError::Pinned(format!("{name} {what}; look at it and accept it with: nurones-mcp lock accept {name}"))
}

/// The signature of the manifest counts, if there is one; otherwise that of the module, which then says nothing of the
/// manifest.
fn signed(manifest: &Manifest, path: &Path, module: &Fingerprint, by: &Signatures) -> Result<(), LoadError> {
    let module_file = beside(path);
    let verified = [beside(&manifest.source), module_file.clone()].into_iter().find_map(|file| {
        let words = |problem: String| format!("its signature {} {problem}", file.display());
        Some(match Signature::read(&file).transpose()? {
            Ok(signature) => signature.verify(module, &signed_part(manifest), &by.keys).map(drop).map_err(words),
            Err(problem) => Err(problem),
        })
    });
    let problem = match verified {
        Some(Ok(())) => return Ok(()),
        Some(Err(problem)) => problem,
        None => format!("its module is not signed: there is no {}", module_file.display()),
    };
    let what_to_do = "have it signed (`nurones-mcp sign`), and trust the key (`nurones-mcp trust add`)";
    if by.refuse {
        return Err(LoadError::Pinned(format!("{problem}; {what_to_do}")));
    }
    tracing::warn!(tool = manifest.name, "{problem}; it is served, as signatures.require is \"warn\"; {what_to_do}");
    Ok(())
}
