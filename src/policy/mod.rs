//! Who may call which tool, and what a tool may reach.
//!
//! What is written in `policies.json` and in the config's `policies` becomes [`Rules`] once, at the start, with every
//! mistake said at once. [`Rules::decide`] is pure and total: every [`Decision`] names the rule that made it. A tool's
//! [`Rights`] keep its decisions, so that a call pays one look into a small table.
//!
//! Invariant: rules only take away. Directories are granted by `--allow` or `fs_allowlist`; nothing in here adds one.
//!
//! | file | noun |
//! |---|---|
//! | `place.rs` | where a rule stands, and how it is shown |
//! | `tool_glob.rs`, `role.rs`, `tool_rule.rs` | what is written of tools and roles |
//! | `destination.rs`, `variables.rs` | grants that are no directories |
//! | `rules.rs`, `decision.rs`, `rights.rs` | all of it together, what it decides, and one tool's part of it |
//! | `reach.rs` | where a path leads to in a sandbox |

mod decision;
mod destination;
mod keyring;
mod place;
mod reach;
mod rights;
mod role;
mod rules;
mod tool_glob;
mod tool_rule;
mod variables;

pub use decision::{Decision, Request};
pub use destination::Destination;
pub use place::RuleRef;
pub use reach::Reach;
pub use rights::Rights;
pub use rules::Rules;
pub use tool_rule::{ToolRule, above};

#[cfg(test)]
mod tests;
