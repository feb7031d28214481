//! What a tool finds in its environment: variables of the server's own that it may see, and secrets by name.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::keyring;
use super::place::{Place, RuleRef};
use super::tool_rule::Surroundings;
use crate::fields::Fields;
use crate::wasi::regular_file;

/// Bytes of a file with a secret. Keys and certificates have a few thousand.
const SECRET_BYTES: usize = 64 << 10;

/// Variables as they are gathered.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// Names and values.
    pub found: Vec<(String, String)>,
    /// Which of them are secrets.
    pub secrets: Vec<String>,
    /// What is granted, in words; never a value.
    pub granted: Vec<RuleRef>,
    /// A secret that cannot be had, and why: a tool that runs without what it was promised does something else.
    pub missing: Option<(RuleRef, String)>,
}

impl Variables {
    /// Reads `env` and `secrets` of a tool.
    pub fn read(fields: &mut Fields<'_>, place: &Place, around: &Surroundings<'_>, mistakes: &mut Vec<String>) -> Self {
        let mut variables = Self::default();
        for (index, name) in fields.strings("env").unwrap_or_default().into_iter().enumerate() {
            let place = place.at("env").at(index);
            variables.check_name(name, &place, mistakes);
            let value = (around.env)(name);
            let state = if value.is_some() { "" } else { ", which is not set" };
            variables.granted.push(place.rule(format!("it sees the variable {name}{state}")));
            variables.found.extend(value.map(|value| (name.to_owned(), value)));
        }
        match fields.value("secrets") {
            None => {}
            Some(Value::Array(secrets)) => {
                for (index, secret) in secrets.iter().enumerate() {
                    let place = place.at("secrets").at(index);
                    place.read(secret, mistakes, |fields, mistakes| {
                        variables.read_secret(fields, &place, around, mistakes);
                    });
                }
            }
            Some(_) => {
                let like = r#"{"name": "TOKEN", "from": "env:TOKEN"}"#;
                fields.mistake("secrets", format!("must be a list of objects like {like}"));
            }
        }
        variables
    }

    fn check_name(&self, name: &str, place: &Place, mistakes: &mut Vec<String>) {
        let well_formed = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.starts_with(|c: char| !c.is_ascii_digit());
        if !well_formed {
            mistakes.push(place.mistake(&format!("must be a name of A-Z a-z 0-9 _ for a variable, not `{name}`")));
        } else if name.starts_with("NURONES_") {
            mistakes.push(place.mistake(&format!("must not be {name}: NURONES_… is what the server itself says")));
        } else if self.found.iter().any(|(known, _)| known == name) {
            mistakes.push(place.mistake(&format!("grants {name} a second time; keep one of them")));
        }
    }

    fn read_secret(
        &mut self,
        fields: &mut Fields<'_>,
        place: &Place,
        around: &Surroundings<'_>,
        mistakes: &mut Vec<String>,
    ) {
        let (name, from) = (fields.required_string("name"), fields.required_string("from"));
        let (Some(name), Some(from)) = (name, from) else { return };
        self.check_name(name, &place.at("name"), mistakes);
        let rule = place.rule(format!("it gets the secret {name} from {from}"));
        self.granted.push(rule.clone());
        let had = match from.split_once(':') {
            Some(("env", variable)) => (around.env)(variable)
                .ok_or_else(|| format!("the variable {variable} is not set; set it where the server is started")),
            Some(("file", path)) => {
                let path = around.root.join(path);
                if let Some(allowed) = around.allowed_above(&path) {
                    mistakes.push(place.at("from").mistake(&format!(
                        "lies in {}, where every tool that may read finds it; move it out of what is allowed",
                        allowed.display()
                    )));
                }
                read_file(&path)
            }
            Some(("keyring", key)) => keyring::read(key),
            _ => {
                fields.mistake("from", format!("must be env:NAME, file:PATH or keyring:NAME, not `{from}`"));
                return;
            }
        };
        match had {
            Ok(value) => {
                self.secrets.push(name.to_owned());
                self.found.push((name.to_owned(), value));
            }
            Err(why) => {
                let why = format!("the secret {name} cannot be had: {why}");
                self.missing = self.missing.take().or(Some((rule, why)));
            }
        }
    }
}

/// A secret's file: its owner's alone, and short. The newline at its end is the editor's.
fn read_file(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let mode = std::fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!("others than its owner may use {shown} (mode {:03o}); run chmod 600 on it", mode & 0o777));
    }
    let bytes = regular_file::read(path, SECRET_BYTES).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{shown} is not text in UTF-8"))?;
    Ok(text.strip_suffix('\n').map_or(text.as_str(), |text| text.trim_end_matches('\r')).to_owned())
}
