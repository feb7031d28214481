//! What must not leave the process is taken out of everything that leaves it, but for the answers to the client.
//!
//! Log lines, spans and records pass through here at their writers, after they were formatted, so that no caller can
//! forget it and third-party lines are included. [`line`](fn@line) and [`text`] take whole lines, [`json_line`] keeps JSON what it is,
//! [`first_bytes`] is for text that is cut before it reaches a writer: half a secret is found by nobody.
//!
//! [`Redactor`] is pure; [`mod@current`] holds the one of this process, and [`secrets()`] what it knows by value. A finding is
//! replaced by its kind, never by its length: `[redacted:email]`. `docs/redaction.md` says what is found and what is not.
//!
//! Invariant: a line in which the prefilter (`prefilter.rs`) sees nothing has no finding of any rule.

mod card;
mod contact;
pub mod current;
mod environment;
mod finding;
mod json;
mod name;
mod named_value;
mod prefilter;
mod random_word;
mod redactor;
pub mod registry;
mod rule;
mod shape;
mod token;

pub use current::{Secrets, configure, cut_line, first_bytes, first_of_text, json_line, line, secrets, text, value_of};
pub use environment::register_environment;
pub use finding::Kind;
pub use redactor::Redactor;
pub use shape::shape;

#[cfg(test)]
mod tests;
