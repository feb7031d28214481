//! `trust`: whose signatures count.

use std::path::Path;

use clap::{Args, Subcommand};

use super::exit::{Exit, complain, harmless, print};
use crate::config::Config;
use crate::pins::{PublicKey, TrustedKeys};
use crate::{private_folder, runtime};

/// Arguments of `trust`.
#[derive(Debug, Args)]
pub struct TrustArgs {
    #[command(subcommand)]
    command: TrustCommand,
}

#[derive(Debug, Subcommand)]
enum TrustCommand {
    /// Let the signatures of a key count.
    Add {
        /// What to call its owner.
        name: String,
        /// The public key, as `sign --new-key` has printed it.
        public_key: String,
    },
    /// Show whose signatures count.
    List,
    /// Let those of a key count no longer.
    Remove {
        /// What its owner is called.
        name: String,
    },
}

/// Runs the command.
pub fn run(config: &Config, args: &TrustArgs) -> Exit {
    let Some(path) = &config.pinning.keys else {
        complain("there is no place for trusted keys; name one with `signatures.keys` in the config, or --state-dir");
        return Exit::Usage;
    };
    match change(config, path, &args.command) {
        Ok(text) if print(text.as_bytes()).is_ok() => Exit::Done,
        Ok(_) => Exit::ClientGone,
        Err(problem) => {
            complain(&problem);
            Exit::Usage
        }
    }
}

fn change(config: &Config, path: &Path, command: &TrustCommand) -> Result<String, String> {
    let mut trusted = TrustedKeys::read(path)?;
    match command {
        TrustCommand::List => {
            let lines = trusted.keys.iter().map(|(name, key)| format!("{name}  {key}  (key {})", key.id()));
            let lines: String = lines.map(|line| harmless(&line) + "\n").collect();
            return Ok(if lines.is_empty() { format!("nobody is trusted; see {}\n", path.display()) } else { lines });
        }
        TrustCommand::Add { name, public_key } => {
            let key = PublicKey::parse(public_key)?;
            if trusted.keys.get(name).is_some_and(|known| *known != key) {
                return Err(format!("{name} has another key already; remove it first, or choose another name"));
            }
            trusted.keys.insert(name.clone(), key);
        }
        TrustCommand::Remove { name } => {
            let known: Vec<&str> = trusted.keys.keys().map(String::as_str).collect();
            let unknown = || format!("{name} is not trusted anyway; those who are: {}", known.join(", "));
            if !trusted.keys.contains_key(name) {
                return Err(unknown());
            }
            trusted.keys.remove(name);
        }
    }
    if let Some(problem) = runtime::rewritable(config, path) {
        return Err(problem);
    }
    if let (Some(folder), true) = (path.parent(), config.state.as_deref() == path.parent()) {
        private_folder::prepare(folder, "state folder", "--state-dir")?;
    }
    trusted.write(path)?;
    Ok(format!("{} trusted key(s) in {}\n", trusted.keys.len(), path.display()))
}
