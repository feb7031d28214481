//! What was accepted of every tool: `nurones.lock`, one line for each, so that a change to one reads as one line.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::canonical;
use super::change::Change;
use super::face::Face;
use super::fingerprint::Fingerprint;
use super::own_file::{self, Rights};
use crate::fields::{Fields, Mistake};

/// The first key of every lock; another number is another format.
const VERSION: u64 = 1;

/// What was accepted of one tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// SHA-256 of its module.
    pub module: Fingerprint,
    /// What its manifest lets it do, in words.
    pub permissions: String,
    /// What clients see of it.
    pub face: Face,
}

/// See the module documentation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    /// Pins by published name.
    pub tools: BTreeMap<String, Pin>,
}

impl Pin {
    /// How `new` differs from this one.
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        Change::between(&self.comparable(), &new.comparable())
    }

    /// All of it, as changes from nothing.
    pub fn all(&self) -> Vec<Change> {
        Change::between(&json!({}), &self.comparable())
    }

    /// What a person is shown: the face first, member by member.
    fn comparable(&self) -> Value {
        let mut value = self.face.to_value();
        value["module sha256"] = self.module.to_string().into();
        value["permissions"] = self.permissions.as_str().into();
        value
    }

    fn to_value(&self) -> Value {
        json!({
            "sha256": self.module.to_string(),
            "permissions": self.permissions,
            "face_sha256": self.face.fingerprint().to_string(),
            "face": self.face.to_value(),
        })
    }

    fn read(name: &str, fields: &mut Fields<'_>) -> Option<Self> {
        let module = read_fingerprint(fields, "sha256");
        let permissions = fields.required_string("permissions").map(str::to_owned);
        let said = read_fingerprint(fields, "face_sha256");
        let face = match fields.value("face").map(|value| serde_json::from_value::<Face>(value.clone())) {
            Some(Ok(face)) if face.name == name => Some(face),
            Some(Ok(_)) => {
                fields.mistake("face.name", format!("must be `{name}`"));
                None
            }
            Some(Err(error)) => {
                fields.mistake("face", format!("is not what a tool looks like: {error}"));
                None
            }
            None => {
                fields.mistake("face", "is missing; it must be what clients were shown");
                None
            }
        };
        fields.refuse_unknown();
        let (module, permissions, said, face) = (module?, permissions?, said?, face?);
        if face.fingerprint() != said {
            fields.mistake("face_sha256", "is not the SHA-256 of `face`: one of them was changed by hand");
        }
        Some(Self { module, permissions, face })
    }
}

fn read_fingerprint(fields: &mut Fields<'_>, key: &'static str) -> Option<Fingerprint> {
    let text = fields.required_string(key)?;
    let fingerprint = Fingerprint::parse(text);
    if fingerprint.is_none() {
        fields.mistake(key, "must have 64 hexadecimal digits");
    }
    fingerprint
}

impl Lock {
    /// Reads the lock at `path`; `None` if there is nothing of that name.
    ///
    /// # Errors
    /// Why it cannot be gone by, and what to do.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        let Some(text) = own_file::read(path, Rights::Public)? else { return Ok(None) };
        Self::parse(&text).map(Some).map_err(|problem| {
            format!(
                "the lock {} cannot be used: {problem}; restore it, or remove it and write it anew with `nurones-mcp lock`",
                path.display()
            )
        })
    }

    /// Puts it in the place of `path`.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        own_file::replace(path, &self.to_text())
    }

    fn to_text(&self) -> String {
        let lines: Vec<String> = self
            .tools
            .iter()
            .map(|(name, pin)| format!("{}: {}", Value::from(name.as_str()), canonical::text(&pin.to_value())))
            .collect();
        format!("{{\n\"lock\": {VERSION},\n\"tools\": {{\n{}\n}}\n}}\n", lines.join(",\n"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let map: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| format!("it is not a JSON object: {error}"))?;
        let mut fields = Fields::new("", &map);
        match fields.value("lock").map(Value::as_u64) {
            Some(Some(VERSION)) => {}
            Some(Some(newer)) if newer > VERSION => {
                return Err(format!("it has format {newer}, of a newer nurones-mcp; update this one"));
            }
            _ => return Err(format!("`lock` must be its format, {VERSION}")),
        }
        let Some(listed) = fields.object("tools") else { return Err("`tools` must be an object".to_owned()) };
        let (mut tools, mut mistakes) = (BTreeMap::new(), Vec::new());
        for (name, value) in listed {
            let Some(pin) = value.as_object() else {
                fields.mistake("tools", format!("must have an object under `{name}`"));
                continue;
            };
            let mut inner = Fields::new(&format!("tools.{name}"), pin);
            if let Some(pin) = Pin::read(name, &mut inner) {
                tools.insert(name.clone(), pin);
            }
            mistakes.extend(inner.finish());
        }
        fields.refuse_unknown();
        mistakes.extend(fields.finish());
        let words: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
        if words.is_empty() { Ok(Self { tools }) } else { Err(words.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::face::Annotations;
    use super::*;

    fn pin(name: &str, description: &str) -> Pin {
        let annotations = Annotations {
            read_only_hint: true,
            destructive_hint: false,
            idempotent_hint: true,
            open_world_hint: false,
        };
        let input_schema = json!({"type": "object", "properties": {"path": {"type": "string"}}});
        let input_schema = input_schema.as_object().unwrap().clone();
        let face = Face { name: name.to_owned(), description: description.to_owned(), input_schema, annotations };
        Pin { module: Fingerprint::of(name.as_bytes()), permissions: "read".to_owned(), face }
    }

    fn lock(names: &[&str]) -> Lock {
        Lock { tools: names.iter().map(|name| ((*name).to_owned(), pin(name, "says\n\"this\""))).collect() }
    }

    #[test]
    fn what_is_written_is_read_one_tool_a_line() {
        for names in [&[][..], &["one"], &["one", "two", "three"]] {
            let lock = lock(names);
            let text = lock.to_text();
            assert_eq!(Lock::parse(&text), Ok(lock), "{text}");
            let lines: Vec<&str> = text.lines().filter(|line| line.contains("face_sha256")).collect();
            assert_eq!(lines.len(), names.len(), "{text}");
            assert!(lines.is_sorted(), "{text}");
        }
    }

    #[test]
    fn what_is_not_quite_a_lock_is_none() {
        let text = lock(&["one"]).to_text();
        for (from, to, part) in [
            ("\"lock\": 1", "\"lock\": 2", "newer nurones-mcp"),
            ("\"lock\": 1", "\"lock\": \"1\"", "`lock` must be"),
            ("\"lock\": 1,", "", "`lock` must be"),
            ("\"tools\"", "\"tool\"", "`tools` must be"),
            ("says", "said", "`tools.one.face_sha256` is not the SHA-256"),
            ("\"name\":\"one\"", "\"name\":\"two\"", "`tools.one.face.name` must be `one`"),
            ("\"permissions\":\"read\",", "", "`tools.one.permissions` is missing"),
            ("\"permissions\"", "\"permission\"", "is not a known key"),
            ("\"name\":\"one\"", "\"name\":\"one\",\"title\":\"x\"", "unknown field `title`"),
            ("\"sha256\":\"", "\"sha256\":\"0", "64 hexadecimal digits"),
            ("}\n}\n", "}\n", "not a JSON object"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let problem = Lock::parse(&changed).unwrap_err();
            assert!(problem.contains(part), "{part}: {problem}");
        }
        for end in 0..text.len() - 1 {
            assert!(Lock::parse(&text[..end]).is_err(), "torn after {end} bytes");
        }
    }

    #[test]
    fn changes_of_a_pin_are_named() {
        let (old, mut new) = (pin("one", "old words"), pin("one", "new words"));
        new.module = Fingerprint::of(b"other");
        new.permissions = "read, write".to_owned();
        assert_eq!(Change::places(&old.changes(&new)), "description, module sha256, permissions");
        assert!(old.changes(&old).is_empty());
    }
}
