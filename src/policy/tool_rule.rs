//! What is written of one tool, or of those whose names begin alike.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::destination::Destination;
use super::place::{Place, RuleRef};
use super::tool_glob::ToolGlob;
use super::variables::Variables;
use crate::fields::Fields;
use crate::wasi::environment::Environment;
use crate::wasi::sandbox::{Grant, Policy};

/// What rules are read against.
pub(super) struct Surroundings<'a> {
    /// Where relative paths start.
    pub root: &'a Path,
    /// The allowed directories, of which rules can only take some away.
    pub allowed: &'a Policy,
    /// The server's environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl Surroundings<'_> {
    /// The allowed directory that `path` lies in, by its name or in truth.
    pub fn allowed_above(&self, path: &Path) -> Option<&Path> {
        above(self.allowed, path).next().map(|grant| grant.canonical.as_path())
    }
}

/// The grants of `allowed` that `path` lies in, by its name or in truth.
pub fn above<'a>(allowed: &'a Policy, path: &Path) -> impl Iterator<Item = &'a Grant> {
    let canonical = path.canonicalize();
    // Whoever can replace a link, or the folder it lies in, need not touch what it leads to.
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    let named = folder.zip(path.file_name()).map(|(folder, name)| folder.join(name));
    let places: Vec<PathBuf> = canonical.ok().into_iter().chain(named).collect();
    allowed.grants().iter().filter(move |grant| places.iter().any(|place| place.starts_with(&grant.canonical)))
}

/// See the module documentation.
#[derive(Debug)]
pub struct ToolRule {
    pub(super) glob: ToolGlob,
    /// The whole of it.
    pub rule: RuleRef,
    /// The only directories that its sandbox has; absent means the allowed ones.
    pub directories: Option<(Arc<Policy>, RuleRef)>,
    /// Where on the network it may go, once a guest can.
    pub network: Vec<(Destination, RuleRef)>,
    /// What its sandbox has in its environment.
    pub environment: Environment,
    /// Which of that are secrets.
    secrets: Vec<String>,
    /// The same in words.
    pub variables: Vec<RuleRef>,
    /// A secret that cannot be had.
    pub(super) missing: Option<(RuleRef, String)>,
    /// Whether it counts as destructive, if that is said.
    pub(super) destructive: Option<(bool, RuleRef)>,
}

impl ToolRule {
    /// Why the tools it means cannot be called, if a secret of theirs cannot be had.
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_ref().map(|(_, why)| why.as_str())
    }

    /// The secrets in its environment, by name.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.environment.variables().iter();
        variables.filter(|(name, _)| self.secrets.contains(name)).map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Reads what stands at `place` of the tools that `name` means.
    pub(super) fn read(
        name: &str,
        value: &Value,
        place: &Place,
        around: &Surroundings<'_>,
        mistakes: &mut Vec<String>,
    ) -> Option<Self> {
        let glob = match ToolGlob::parse(name) {
            Ok(glob) => glob,
            Err(problem) => {
                mistakes.push(place.mistake(&problem));
                return None;
            }
        };
        place.read(value, mistakes, |fields, mistakes| {
            let variables = Variables::read(fields, place, around, mistakes);
            let destructive = fields.boolean("destructive").map(|destructive| {
                let words = if destructive { "counts as destructive" } else { "does not count as destructive" };
                (destructive, place.at("destructive").rule(format!("{name} {words}")))
            });
            Self {
                glob,
                rule: place.rule(format!("what is said of {name}")),
                directories: read_filesystem(name, fields, place, around, mistakes),
                network: read_network(name, fields, place, mistakes),
                environment: Environment::new(variables.found),
                secrets: variables.secrets,
                variables: variables.granted,
                missing: variables.missing,
                destructive,
            }
        })
    }
}

/// The objects of the list under `key`, each with its place.
fn objects<'a>(
    fields: &mut Fields<'a>,
    place: &Place,
    key: &'static str,
    like: &str,
) -> Option<Vec<(Place, &'a Value)>> {
    let Value::Array(list) = fields.value(key)? else {
        fields.mistake(key, format!("must be a list of objects like {like}"));
        return None;
    };
    Some(list.iter().enumerate().map(|(index, value)| (place.at(key).at(index), value)).collect())
}

fn read_filesystem(
    name: &str,
    fields: &mut Fields<'_>,
    place: &Place,
    around: &Surroundings<'_>,
    mistakes: &mut Vec<String>,
) -> Option<(Arc<Policy>, RuleRef)> {
    let mut grants = Vec::new();
    for (place, entry) in objects(fields, place, "filesystem", r#"{"dir": "docs", "access": "ro"}"#)? {
        place.read(entry, mistakes, |fields, mistakes| {
            let writable = match fields.string("access") {
                None | Some("ro") => false,
                Some("rw") => true,
                Some(other) => {
                    fields.mistake("access", format!(r#"must be "ro" or "rw", not "{other}""#));
                    return;
                }
            };
            if let Some(dir) = fields.required_string("dir") {
                match narrowed(dir, writable, around) {
                    Ok(grant) => grants.push(grant),
                    Err(problem) => mistakes.push(place.at("dir").mistake(&problem)),
                }
            }
        });
    }
    let words = match grants.as_slice() {
        [] => "no directory".to_owned(),
        grants => grants.iter().map(Grant::to_string).collect::<Vec<_>>().join(", "),
    };
    let rule = place.at("filesystem").rule(format!("of all that is allowed, {name} sees {words}"));
    Some((Arc::new(Policy::new(grants)), rule))
}

/// A directory of those that are allowed, or below one.
fn narrowed(dir: &str, writable: bool, around: &Surroundings<'_>) -> Result<Grant, String> {
    let opened = Grant::open(Path::new(dir), around.root, writable);
    let mut grant = opened.map_err(|error| {
        format!(
            "is {}, which cannot be opened: {error}; create it or correct the path",
            around.root.join(dir).display()
        )
    })?;
    let allowed: Vec<&Grant> =
        around.allowed.grants().iter().filter(|allowed| grant.canonical.starts_with(&allowed.canonical)).collect();
    let shown = grant.canonical.display();
    if allowed.is_empty() {
        return Err(format!("is {shown}, which the server does not allow; a rule only narrows: --allow {shown} first"));
    }
    if writable && !allowed.iter().any(|allowed| allowed.writable) {
        return Err(format!(
            "is {shown}, which the server allows for reading only; a rule only narrows: say ro, or --allow {shown}:rw \
             first"
        ));
    }
    // Also by the names under which guests see it where nothing is narrowed.
    for above in allowed {
        let Ok(below) = grant.canonical.strip_prefix(&above.canonical) else { continue };
        for name in &above.guest_names {
            let name = Path::new(name).join(below);
            let name = name.to_string_lossy().trim_end_matches('/').to_owned();
            if !name.is_empty() && !grant.guest_names.contains(&name) {
                grant.guest_names.push(name);
            }
        }
    }
    Ok(grant)
}

fn read_network(
    name: &str,
    fields: &mut Fields<'_>,
    place: &Place,
    mistakes: &mut Vec<String>,
) -> Vec<(Destination, RuleRef)> {
    let entries = objects(fields, place, "network", r#"{"host": "example.com", "port": 443, "scheme": "https"}"#);
    let mut granted = Vec::new();
    for (place, entry) in entries.unwrap_or_default() {
        if let Some(Some(to)) = place.read(entry, mistakes, |fields, _| Destination::read(fields)) {
            let rule = place.rule(format!("{name} may go to {to}, once a guest can"));
            granted.push((to, rule));
        }
    }
    granted
}
