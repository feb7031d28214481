//! Secrets that are known by their value, and every form in which a value is found in text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::bytes::{Regex, RegexBuilder};

use super::finding::{Finding, Kind};

/// Bytes of the shortest secret: anything shorter stands in half of all lines by chance.
pub const SHORTEST: usize = 6;

/// Bytes of the longest secret; a key of RSA has a few thousand.
pub const LONGEST: usize = 16 << 10;

/// Secrets in all; each costs memory, and time in every line.
const MOST: usize = 1024;

/// By so many bytes a form is found; the rest is compared. Half a secret at the end of a cut line is found, too.
const BEGINNING: usize = 64;

/// The values.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// The form, and what the secret is called.
    forms: BTreeMap<Vec<u8>, Arc<str>>,
    values: usize,
    matcher: OnceLock<Option<Regex>>,
}

impl Registry {
    /// Adds a value; false if it is too short, too long, or one too many.
    pub fn add(&mut self, name: &str, value: &[u8]) -> bool {
        let value = value.trim_ascii();
        if !(SHORTEST..=LONGEST).contains(&value.len()) || self.values == MOST {
            return false;
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
        let name: Arc<str> = name.chars().take(64).map(plain).collect::<String>().into();
        for form in forms(value) {
            self.forms.entry(form).or_insert_with(|| Arc::clone(&name));
        }
        self.values += 1;
        self.matcher = OnceLock::new();
        true
    }

    /// Whether `line` contains one of them.
    pub fn is_in(&self, line: &[u8]) -> bool {
        self.matcher().is_some_and(|matcher| matcher.is_match(line))
    }

    /// Adds what is found in `line`.
    pub fn find(&self, line: &[u8], findings: &mut Vec<Finding>) {
        let Some(matcher) = self.matcher() else { return };
        let mut from = 0;
        while let Some(found) = matcher.find_at(line, from) {
            let same = |form: &[u8]| form.iter().zip(&line[found.start()..]).take_while(|(a, b)| a == b).count();
            let candidates = self.forms.range(found.as_bytes().to_vec()..);
            let candidates = candidates.take_while(|(form, _)| form.starts_with(found.as_bytes()));
            // As far as it goes on like the value: the line may have been cut in the middle of it.
            let longest = candidates.map(|(form, name)| (same(form), name)).max_by_key(|(length, _)| *length);
            let Some((length, name)) = longest else { return };
            let at = found.start()..found.start() + length.max(found.len());
            from = at.end;
            findings.push(Finding { at, kind: Kind::Registered(Arc::clone(name)) });
        }
    }

    fn matcher(&self) -> Option<&Regex> {
        self.matcher.get_or_init(|| self.compiled()).as_ref()
    }

    fn compiled(&self) -> Option<Regex> {
        let mut beginnings: Vec<&[u8]> = self.forms.keys().map(|form| &form[..form.len().min(BEGINNING)]).collect();
        // The longest first, as the first that matches wins.
        beginnings.sort_by_key(|beginning| std::cmp::Reverse(beginning.len()));
        beginnings.dedup();
        let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!(r"\x{byte:02x}")).collect::<String>();
        let pattern = beginnings.into_iter().map(escaped).collect::<Vec<_>>().join("|");
        if pattern.is_empty() {
            return None;
        }
        let built = RegexBuilder::new(&pattern).unicode(false).size_limit(1 << 30).build();
        Some(built.expect("escaped bytes are a pattern, and their number is bounded"))
    }
}

/// The forms of `value`, each at least [`SHORTEST`] bytes long.
fn forms(value: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::from([value.to_vec(), url_encoded(value, false), url_encoded(value, true)]);
    // What is not UTF-8 is shown with replacement characters.
    let text = String::from_utf8_lossy(value).into_owned();
    let json = in_json(&text);
    forms.extend([in_json(&json), json, in_debug(&text), in_debug(&in_debug(&text)), text].map(String::into_bytes));
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        // Inside something longer it begins at one of three places in a group, and shares its first and last characters.
        for before in 0..3 {
            let encoded = engine.encode([&vec![0; before][..], value].concat());
            let whole = (before + value.len()) * 8 / 6;
            let first = (before * 8).div_ceil(6);
            forms.insert(encoded.as_bytes()[first..whole].to_vec());
        }
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms
}

fn in_json(text: &str) -> String {
    without_quotes(&serde_json::to_string(text).expect("text is JSON"))
}

fn in_debug(text: &str) -> String {
    without_quotes(&format!("{text:?}"))
}

fn without_quotes(quoted: &str) -> String {
    quoted[1..quoted.len() - 1].to_owned()
}

fn url_encoded(value: &[u8], upper: bool) -> Vec<u8> {
    let encode = |byte: &u8| match (byte.is_ascii_alphanumeric() || b"-._~".contains(byte), upper) {
        (true, _) => vec![*byte],
        (false, true) => format!("%{byte:02X}").into_bytes(),
        (false, false) => format!("%{byte:02x}").into_bytes(),
    };
    value.iter().flat_map(encode).collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::redact::Redactor;

    #[test]
    fn a_value_is_found_in_every_form() {
        let value = "pä\"ss/w?\n rd\\1";
        let mut redactor = Redactor::default();
        assert!(redactor.secrets().add("MY", value.as_bytes()));
        let json = serde_json::to_string(value).unwrap();
        let twice = serde_json::to_string(&json).unwrap();
        let encoded = |text: String| STANDARD.encode(text);
        for line in [
            value.to_owned(),
            json,
            twice,
            format!("{value:?}"),
            "p%C3%A4%22ss%2Fw%3F%0A%20rd%5C1".to_owned(),
            "p%c3%a4%22ss%2fw%3f%0a%20rd%5c1".to_owned(),
            encoded(value.to_owned()),
            encoded(format!("a{value}b")),
            encoded(format!("ab{value}")),
        ] {
            let clean = redactor.line(line.as_bytes()).into_owned();
            assert!(String::from_utf8(clean).unwrap().contains("[redacted:secret MY]"), "{line}");
        }
    }

    #[test]
    fn short_and_endless_values_are_refused_and_long_ones_found_from_their_beginning() {
        let mut redactor = Redactor::default();
        assert!(!redactor.secrets().add("A", b"12345 \n"));
        assert!(!redactor.secrets().add("A", &vec![b'x'; LONGEST + 1]));
        let long: String = (0..999).map(|n| format!("{n} ")).collect();
        assert!(redactor.secrets().add("not a/name", long.as_bytes()));
        let cut = format!("a {} z", &long[..200].trim_end());
        assert_eq!(&*redactor.line(cut.as_bytes()), b"a [redacted:secret not_a_name]z");
        assert_eq!(&*redactor.line(format!("a {long}z").as_bytes()), b"a [redacted:secret not_a_name] z");
    }
}
