//! The redactor: what it knows, and how a line goes through it.

use std::borrow::Cow;

use memchr::memmem;
use regex::bytes::Regex;
use serde_json::Value;

use super::finding::{Finding, Kind, joined, replaced};
use super::registry::Registry;
use super::{card, contact, json, name, named_value, prefilter, random_word, token};

/// Past the end of a line that is cut, so much is looked at, so that no finding is cut in two.
const BEYOND_BYTES: usize = 1024;

/// What is looked for besides the rules that always hold.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    registry: Registry,
    patterns: Vec<Regex>,
    home: Option<Vec<u8>>,
}

impl Redactor {
    /// The values that are secret.
    pub fn secrets(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Sets what the config file says: what else is found, and the folder that becomes `~`.
    pub fn configure(&mut self, patterns: Vec<Regex>, home: Option<&[u8]>) {
        self.patterns = patterns;
        // `/` or `/root` alone would say little and stand everywhere.
        let home = home.map(|home| home.strip_suffix(b"/").unwrap_or(home));
        self.home = home.filter(|home| home.len() > 1 && home.starts_with(b"/")).map(<[u8]>::to_vec);
    }

    /// `line`, or any number of whole lines, without what must not leave.
    pub fn line<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.findings(line)[..] {
            [] => Cow::Borrowed(line),
            findings => Cow::Owned(replaced(line, findings)),
        }
    }

    /// The same for text.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.line(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // A pattern from the config may have split a character.
            Cow::Owned(clean) => Cow::Owned(String::from_utf8_lossy(&clean).into_owned()),
        }
    }

    /// The same for a value of which the name is known.
    pub fn value_of<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        match name::is_secret(name.as_bytes()) && !value.is_empty() {
            true => Cow::Owned(Kind::Secret.replacement().into_owned()),
            false => self.text(value),
        }
    }

    /// The same for one line of JSON, which stays JSON. If something was found, the keys come in alphabetical order.
    pub fn json_line<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        // A pattern from the config may find in a string what its escaped form does not show.
        if self.patterns.is_empty() && !self.is_suspicious(line) {
            return Cow::Borrowed(line);
        }
        let Ok(mut value) = serde_json::from_slice::<Value>(line) else { return self.line(line) };
        if !json::redact(self, &mut value) {
            return Cow::Borrowed(line);
        }
        let mut clean = value.to_string().into_bytes();
        clean.extend(line.ends_with(b"\n").then_some(b'\n'));
        Cow::Owned(clean)
    }

    /// The first `most_bytes` of `text`, redacted before they are cut off.
    pub fn first_bytes<'a>(&self, text: &'a [u8], most_bytes: usize) -> Cow<'a, [u8]> {
        if text.len() <= most_bytes {
            return self.line(text);
        }
        let seen = &text[..text.len().min(most_bytes.saturating_add(BEYOND_BYTES))];
        let mut findings = self.findings(seen);
        findings.retain(|finding| finding.at.start < most_bytes);
        let end = findings.last().map_or(most_bytes, |last| last.at.end.max(most_bytes));
        match findings.is_empty() {
            true => Cow::Borrowed(&text[..end]),
            false => Cow::Owned(replaced(&text[..end], &findings)),
        }
    }

    /// The same for text, which is cut between two characters.
    pub fn first_of_text<'a>(&self, text: &'a str, most_bytes: usize) -> Cow<'a, str> {
        match self.first_bytes(text.as_bytes(), text.floor_char_boundary(most_bytes)) {
            Cow::Borrowed(first) => Cow::Borrowed(&text[..first.len()]),
            Cow::Owned(clean) => Cow::Owned(String::from_utf8_lossy(&clean).into_owned()),
        }
    }

    /// A line of a log: at most `most_bytes` of it, and a word about the rest.
    pub fn cut_line<'a>(&self, line: &'a [u8], most_bytes: usize) -> Cow<'a, [u8]> {
        let clean = self.first_bytes(line, most_bytes);
        if line.len() <= most_bytes {
            return clean;
        }
        let mut cut = clean.into_owned();
        cut.extend_from_slice(b" [cut: the line is longer than a line of the log may be]");
        cut.extend(line.ends_with(b"\n").then_some(b'\n'));
        Cow::Owned(cut)
    }

    fn is_suspicious(&self, line: &[u8]) -> bool {
        prefilter::is_suspicious(line)
            || self.registry.is_in(line)
            || self.home.as_ref().is_some_and(|home| memmem::find(line, home).is_some())
            || self.patterns.iter().any(|pattern| pattern.is_match(line))
    }

    fn findings(&self, line: &[u8]) -> Vec<Finding> {
        if !self.is_suspicious(line) {
            return Vec::new();
        }
        let mut findings = Vec::new();
        // Where two rules find the same, the first says what it is.
        self.registry.find(line, &mut findings);
        token::find(line, &mut findings);
        named_value::find(line, &mut findings);
        contact::find(line, &mut findings);
        card::find(line, &mut findings);
        random_word::find(line, &mut findings);
        for pattern in &self.patterns {
            let matches = pattern.find_iter(line).filter(|found| !found.is_empty());
            findings.extend(matches.map(|found| Finding { at: found.range(), kind: Kind::Pattern }));
        }
        self.find_home(line, &mut findings);
        joined(findings)
    }

    fn find_home(&self, line: &[u8], findings: &mut Vec<Finding>) {
        let Some(home) = &self.home else { return };
        for start in memmem::find_iter(line, home) {
            let end = start + home.len();
            // `/home/ann` is not the home of `/home/anna`.
            if !line.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte)) {
                findings.push(Finding { at: start..end, kind: Kind::Home });
            }
        }
    }
}
