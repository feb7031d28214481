//! Who the user is, and where it is written what users and tools may do. What that says is for the policy to read.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::allow::AllowedDir;
use super::file::{ConfigFile, read_allowlist, read_object};
use crate::fields::Fields;

/// See the module documentation.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Who calls, as whoever starts the server says. A client can never say who it is.
    pub user: Option<String>,
    /// `rbac.defaultRole`: the role of whoever is not named, and the file that says so.
    pub default_role: Option<(String, PathBuf)>,
    /// What is written, at most in two places.
    pub sources: Vec<PolicySource>,
    /// Where relative paths in it start.
    pub root: PathBuf,
    /// The files and folders that decide what is allowed. Whoever can write to them can allow itself everything.
    pub decisive: Vec<PathBuf>,
}

/// An object of rules.
#[derive(Debug, Clone)]
pub struct PolicySource {
    /// The file.
    pub path: PathBuf,
    /// The key in it under which the object stands, if it is not the whole file.
    pub key: Option<&'static str>,
    /// The object.
    pub values: Map<String, Value>,
}

/// A list of allowed directories says nothing of users or tools.
const ALLOWLIST: &str = "fs_allowlist";

impl Access {
    /// Whether anything is written but which directories are allowed.
    pub fn has_rules(&self) -> bool {
        let says_more = |(key, value): (&String, &Value)| key != ALLOWLIST && !value.is_null();
        self.sources.iter().any(|source| source.values.iter().any(says_more))
    }

    /// Takes what the config file says, and reads the `policies.json` beside it. Adds what is wrong to `mistakes`, and
    /// the directories that are allowed there to `file`.
    pub(super) fn read(config: &Path, file: &mut ConfigFile, root: &Path, mistakes: &mut Vec<String>) -> Self {
        let folder = config.parent().unwrap_or(Path::new("."));
        let beside = folder.join("policies.json");
        let mut access = Self {
            user: file.user.take(),
            default_role: file.default_role.take().map(|role| (role, config.to_owned())),
            sources: Vec::new(),
            root: root.to_owned(),
            decisive: vec![config.to_owned(), folder.join("context-default.json"), beside.clone()],
        };
        if let Some(values) = file.policies.take() {
            access.sources.push(PolicySource { path: config.to_owned(), key: Some("policies"), values });
        }
        // Not `exists`: a policy that cannot be looked at must not count as none.
        if !std::fs::symlink_metadata(&beside).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            access.read_beside(beside, file, mistakes);
        }
        access
    }

    fn read_beside(&mut self, path: PathBuf, file: &mut ConfigFile, mistakes: &mut Vec<String>) {
        let read = read_object(&path).and_then(|value| {
            let values = value.as_object().expect("read_object returns objects");
            let mut fields = Fields::new("", values);
            let allowed: Option<Vec<AllowedDir>> = read_allowlist(&mut fields);
            let mistakes = fields.finish();
            if mistakes.is_empty() { Ok((values.clone(), allowed)) } else { Err(mistakes) }
        });
        match read {
            Ok((values, allowed)) => {
                if allowed.is_some() && file.allow.is_some() {
                    mistakes.push(format!(
                        "{}: `{ALLOWLIST}` is in the config file too; keep it in one of them",
                        path.display()
                    ));
                }
                file.allow = file.allow.take().or(allowed);
                self.sources.push(PolicySource { path, key: None, values });
            }
            Err(found) => {
                mistakes.extend(found.into_iter().map(|mistake| format!("{}: {mistake}", path.display())));
            }
        }
    }
}
