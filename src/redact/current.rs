//! The redactor of this process. Writers read it, secrets are added as they become known.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use parking_lot::RwLock;
use regex::bytes::Regex;

use super::Redactor;

static CURRENT: LazyLock<RwLock<Arc<Redactor>>> = LazyLock::new(RwLock::default);

/// What this process knows to be secret.
#[derive(Debug, Clone, Copy)]
pub struct Secrets(());

/// What this process knows to be secret. A value once added stays: old lines may still be on their way.
pub fn secrets() -> Secrets {
    Secrets(())
}

impl Secrets {
    /// From now on `value` leaves as `[redacted:secret NAME]`, also escaped, URL-encoded and in base64. False if it has
    /// less than 6 bytes or more than 16 KiB, or there are 1,024 already: then it is not known.
    pub fn add(self, name: &str, value: &[u8]) -> bool {
        Arc::make_mut(&mut CURRENT.write()).secrets().add(name, value)
    }
}

/// Sets what the config file says; see [`Redactor::configure`].
pub fn configure(patterns: Vec<Regex>, home: Option<&[u8]>) {
    Arc::make_mut(&mut CURRENT.write()).configure(patterns, home);
}

fn current() -> Arc<Redactor> {
    Arc::clone(&CURRENT.read())
}

/// Whole lines without what must not leave.
pub fn line(line: &[u8]) -> Cow<'_, [u8]> {
    current().line(line)
}

/// Text without what must not leave.
pub fn text(text: &str) -> Cow<'_, str> {
    current().text(text)
}

/// A value of which the name is known.
pub fn value_of<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    current().value_of(name, value)
}

/// One line of JSON, which stays JSON; see [`Redactor::json_line`].
pub fn json_line(line: &[u8]) -> Cow<'_, [u8]> {
    current().json_line(line)
}

/// The first `most_bytes` of `text`, redacted before they are cut off.
pub fn first_bytes(text: &[u8], most_bytes: usize) -> Cow<'_, [u8]> {
    current().first_bytes(text, most_bytes)
}

/// The same for text, which is cut between two characters.
pub fn first_of_text(text: &str, most_bytes: usize) -> Cow<'_, str> {
    current().first_of_text(text, most_bytes)
}

/// A line of a log, with a word about what is cut off; see [`Redactor::cut_line`].
pub fn cut_line(line: &[u8], most_bytes: usize) -> Cow<'_, [u8]> {
    current().cut_line(line, most_bytes)
}
