//! What those who have a role may call.

use serde_json::Value;

use super::place::{Place, RuleRef};
use super::tool_glob::ToolGlob;
use crate::fields::Fields;
use crate::frame::HIGHEST_RISK;

/// A role: `["fs.*"]` in the seed's form, or `{"tools": [...], "deny": [...], "max_risk": N}`.
#[derive(Debug)]
pub(super) struct Role {
    pub name: String,
    pub rule: RuleRef,
    pub tools: Vec<(ToolGlob, RuleRef)>,
    pub deny: Vec<(ToolGlob, RuleRef)>,
    pub max_risk: Option<(u8, RuleRef)>,
}

impl Role {
    /// Reads the role `name`, which stands at `place`.
    pub fn read(name: &str, value: &Value, place: &Place, mistakes: &mut Vec<String>) -> Option<Self> {
        let rule = place.rule(format!("the role {name} may call the tools it names, and no other"));
        let mut role = Self { name: name.to_owned(), rule, tools: Vec::new(), deny: Vec::new(), max_risk: None };
        if let Some(list) = value.as_array() {
            let names = list.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
            match names {
                Some(names) => role.tools = globs(&names, place, &format!("the role {name} may call"), mistakes),
                None => {
                    mistakes.push(place.mistake("must be a list of tools, or an object with one as `tools`"));
                }
            }
            return Some(role);
        }
        place.read(value, mistakes, |fields, mistakes| role.read_fields(fields, place, mistakes))?;
        Some(role)
    }

    fn read_fields(&mut self, fields: &mut Fields<'_>, place: &Place, mistakes: &mut Vec<String>) {
        let name = &self.name;
        match fields.strings("tools") {
            Some(list) => self.tools = globs(&list, &place.at("tools"), &format!("the role {name} may call"), mistakes),
            None if fields.value("tools").is_none() => {
                fields.mistake("tools", "is missing; it must be a list of tools, [] for none");
            }
            None => {}
        }
        if let Some(list) = fields.strings("deny") {
            self.deny = globs(&list, &place.at("deny"), &format!("the role {name} may not call"), mistakes);
        }
        self.max_risk = fields.integer("max_risk", 0..=HIGHEST_RISK.into()).map(|level| {
            let words = format!("the role {name} makes no call whose risk_level is above {level}");
            (level as u8, place.at("max_risk").rule(words))
        });
    }
}

fn globs(list: &[&str], place: &Place, says: &str, mistakes: &mut Vec<String>) -> Vec<(ToolGlob, RuleRef)> {
    let mut globs = Vec::new();
    for (index, text) in list.iter().enumerate() {
        let place = place.at(index);
        match ToolGlob::parse(text) {
            Ok(glob) => globs.push((glob, place.rule(format!("{says} {text}")))),
            Err(problem) => mistakes.push(place.mistake(&problem)),
        }
    }
    globs
}
