//! Where a rule stands, and how a decision names it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::fields::{Fields, Mistake};

/// A value in a file of rules.
#[derive(Debug, Clone)]
pub(super) struct Place {
    file: Arc<Path>,
    keys: Vec<String>,
}

impl Place {
    /// The whole of `file`, or its value under `key`.
    pub fn new(file: &Path, key: Option<&str>) -> Self {
        Self { file: file.into(), keys: key.into_iter().map(str::to_owned).collect() }
    }

    /// The value under `key` of this one.
    pub fn at(&self, key: impl fmt::Display) -> Self {
        let mut keys = self.keys.clone();
        keys.push(key.to_string());
        Self { file: Arc::clone(&self.file), keys }
    }

    /// What stands here, as a rule that says `words`.
    pub fn rule(&self, words: impl Into<String>) -> RuleRef {
        let pointer = self.keys.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect();
        RuleRef { file: Some(Arc::clone(&self.file)), pointer, words: words.into() }
    }

    /// A mistake in what stands here.
    pub fn mistake(&self, problem: &str) -> String {
        format!("{}: `{}` {problem}", self.file.display(), self.keys.join("."))
    }

    /// Reads `value` as an object, key by key.
    pub fn read<T>(
        &self,
        value: &Value,
        mistakes: &mut Vec<String>,
        read: impl FnOnce(&mut Fields<'_>, &mut Vec<String>) -> T,
    ) -> Option<T> {
        let Some(map) = value.as_object() else {
            mistakes.push(self.mistake("must be an object"));
            return None;
        };
        Some(self.read_map(map, mistakes, read))
    }

    /// Reads an object, key by key; keys that nobody asked for are mistakes.
    pub fn read_map<T>(
        &self,
        map: &Map<String, Value>,
        mistakes: &mut Vec<String>,
        read: impl FnOnce(&mut Fields<'_>, &mut Vec<String>) -> T,
    ) -> T {
        let mut fields = Fields::new(&self.keys.join("."), map);
        let done = read(&mut fields, mistakes);
        fields.refuse_unknown();
        let said = |mistake: Mistake| format!("{}: {mistake}", self.file.display());
        mistakes.extend(fields.finish().into_iter().map(said));
        done
    }
}

/// A rule as a decision names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRef {
    /// The file it stands in; none for the rules that are built in.
    pub file: Option<Arc<Path>>,
    /// Where in the file: a JSON pointer.
    pub pointer: String,
    /// What it says.
    pub words: String,
}

impl RuleRef {
    /// A rule that nobody has to write.
    pub fn built_in(words: impl Into<String>) -> Self {
        Self { file: None, pointer: String::new(), words: words.into() }
    }

    /// The rule for a client: without the folders of this machine.
    pub fn brief(&self) -> String {
        let name = self.file.as_ref().and_then(|file| file.file_name()).map(|name| name.to_string_lossy());
        name.map_or_else(|| "built in".to_owned(), |name| format!("{name}#{}", self.pointer))
    }
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}#{}: {}", file.display(), self.pointer, self.words),
            None => write!(f, "built in: {}", self.words),
        }
    }
}
