//! What was measured as one HTML file that needs nothing else: no script, no picture, no font from anywhere.
//!
//! `document` is the page, `pictures` says what is drawn of a measurement, `chart` draws lines over axes, `axis` places
//! values on them, `grid` is tables, `text` makes text of others harmless.

mod axis;
mod chart;
mod document;
mod grid;
mod pictures;
mod text;

pub use document::{Sheet, Subject, page};
