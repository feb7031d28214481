//! The supervision log, read back: whether it keeps its rules, and what happened, as text and as a picture.
//!
//! Knows the log by its contract (`docs/supervision.md`) and none of the code that writes it, so that a mistake there
//! is found here. [`read`] finds the lines, [`entry`] is one of them, [`rules`] checks them one after the other with
//! [`life`] for each child and [`fields`] for each event, [`history`] gathers what [`timeline`] and [`svg`] show in the
//! words of [`phrase`].

pub mod entry;
pub mod fields;
pub mod history;
pub mod life;
pub mod phrase;
pub mod read;
pub mod rules;
pub mod svg;
pub mod timeline;
pub mod verdict;

#[cfg(test)]
mod tests;
