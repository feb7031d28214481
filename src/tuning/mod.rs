//! The context engine: watches how tools do, and moves their knobs a little, for a trial, and never far.
//!
//! ```text
//!  observations ─► Window (10 s) ─► WindowSummary ─► Tuner ── Entry ──► History ──► knobs
//!                                                      ▲                  │
//!                                                      └──── Ledger ◄─────┘   also read and written by `context`
//! ```
//!
//! [`Tuner`](tuner::Tuner) is a pure core that takes the time as an argument. Everything it must remember is an
//! [`Entry`](entry::Entry), and folding the entries of a [`History`](history::History) gives the [`Ledger`](ledger::Ledger)
//! it decides by; so a restart forgets nothing, and a person at the keyboard changes a knob by adding an entry.
//!
//! In the server, workers fill a [`SharedWindow`](shared_window::SharedWindow) of each tool.
//!
//! Rule: an entry is written before the knob is moved, so no crash can hide a change from the cap. Only going back needs
//! no paper: a trial without an end in the history is undone by whoever reads it next.

pub mod advice;
pub mod cap;
pub mod engine;
pub mod entry;
pub mod file_history;
pub mod histogram;
pub mod history;
pub mod knob;
pub mod knob_state;
pub mod ledger;
pub mod settings;
pub mod shared_window;
pub mod slo;
#[cfg(test)]
mod tests;
pub mod tuner;
pub mod window;
