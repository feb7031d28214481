//! How two JSON values differ, place by place, so that a person sees what they are asked to accept.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// One place where two values differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The dotted path, for example `inputSchema.properties.path`.
    pub place: String,
    /// What was there.
    pub old: Option<Value>,
    /// What is there now.
    pub new: Option<Value>,
}

impl Change {
    /// Every place in which `new` differs from `old`. Lists are compared as a whole.
    pub fn between(old: &Value, new: &Value) -> Vec<Self> {
        let mut changes = Vec::new();
        compare(String::new(), Some(old), Some(new), &mut changes);
        changes
    }

    /// The places of `changes`, in words; not all of them if they are many.
    pub fn places(changes: &[Self]) -> String {
        const MOST: usize = 4;
        let mut words: Vec<&str> = changes.iter().take(MOST).map(|change| change.place.as_str()).collect();
        let rest = changes.len().saturating_sub(MOST);
        let more = format!("{rest} more");
        if rest > 0 {
            words.push(&more);
        }
        words.join(", ")
    }
}

fn compare(place: String, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (old, new) {
        for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
            compare(place, old.get(key), new.get(key), changes);
        }
        return;
    }
    changes.push(Change { place, old: old.cloned(), new: new.cloned() });
}

/// On lines of its own: the place, then what was there after `-` and what is there after `+`, text as text.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        for (sign, value) in [('-', &self.old), ('+', &self.new)] {
            match value {
                None => {}
                Some(Value::String(text)) => text.split('\n').try_for_each(|line| write!(f, "\n  {sign} {line}"))?,
                Some(value) => write!(f, "\n  {sign} {value}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_is_named_with_old_and_new() {
        let old = json!({"description": "one\ntwo", "inputSchema": {"required": ["a"], "x": {"y": 1, "gone": true}}});
        let new =
            json!({"description": "one\n2", "inputSchema": {"required": ["a", "b"], "x": {"y": 1}}, "title": "T"});
        let changes = Change::between(&old, &new);
        let words: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "description\n  - one\n  - two\n  + one\n  + 2",
                "inputSchema.required\n  - [\"a\"]\n  + [\"a\",\"b\"]",
                "inputSchema.x.gone\n  - true",
                "title\n  + T"
            ]
        );
        assert_eq!(Change::places(&changes), "description, inputSchema.required, inputSchema.x.gone, title");
        let many: Vec<Change> = changes.iter().cycle().take(6).cloned().collect();
        assert!(Change::places(&many).ends_with(", title, 2 more"));
    }

    proptest! {
        #[test]
        fn only_equal_values_have_no_changes(one in "[ab]{0,2}", other in "[ab]{0,2}") {
            let (old, new) = (json!({"d": {"e": one}}), json!({"d": {"e": other}}));
            prop_assert_eq!(Change::between(&old, &new).is_empty(), one == other);
        }
    }
}
