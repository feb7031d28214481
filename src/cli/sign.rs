//! `sign`: says in a file who made a module.

use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{Exit, complain, print};
use super::validate::root_of;
use crate::pins::{Fingerprint, SecretKey, Signature, beside};
use crate::wasi::guest::MODULE_BYTES;
use crate::wasi::manifest::{Entry, Manifest};
use crate::wasi::{regular_file, vetting};

/// Arguments of `sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// A module, or a manifest (`*.json`): then its name, description, schema and permissions are signed with the module
    /// it names. The signature is written to FILE.sig.
    #[arg(required_unless_present = "new_key", requires = "key", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The secret key to sign with.
    #[arg(long, value_name = "KEYFILE")]
    key: Option<PathBuf>,
    /// Make a new secret key, and print its public key.
    #[arg(long, conflicts_with_all = ["file", "key"], value_name = "KEYFILE")]
    new_key: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &SignArgs) -> Exit {
    let done = match (&args.new_key, &args.file, &args.key) {
        (Some(path), ..) => new_key(path),
        (None, Some(file), Some(key)) => sign(file, key),
        _ => Err("say what to sign, and with which --key".to_owned()),
    };
    match done {
        Ok(text) if print(text.as_bytes()).is_ok() => Exit::Done,
        Ok(_) => Exit::ClientGone,
        Err(problem) => {
            complain(&problem);
            Exit::Usage
        }
    }
}

fn new_key(path: &Path) -> Result<String, String> {
    let key = SecretKey::generate().map_err(|error| format!("the system has no randomness: {error}"))?;
    key.create(path)?;
    Ok(format!("{}\n", key.public()))
}

fn sign(file: &Path, key: &Path) -> Result<String, String> {
    let key = SecretKey::read(key)?;
    let file = std::path::absolute(file).map_err(|error| format!("{} cannot be found: {error}", file.display()))?;
    let (module, manifest) = match file.extension().is_some_and(|extension| extension == "json") {
        false => (file.clone(), None),
        true => {
            let manifest = Manifest::read(&file, &root_of(&file)).map_err(|error| error.to_string())?;
            let Entry::File(module) = &manifest.entry else { return Err("it names no module".to_owned()) };
            (module.clone(), Some(vetting::signed_part(&manifest)))
        }
    };
    let bytes = regular_file::read(&module, MODULE_BYTES).map_err(|error| error.to_string())?;
    let place = beside(&file);
    Signature::new(&key, Fingerprint::of(&bytes), manifest).write(&place)?;
    Ok(format!("{} (key {})\n", place.display(), key.public().id()))
}
