//! Every knob of the server: what it is called, its unit, its default and the reason for it.
//!
//! Values come from flags, the environment, the config file and [`defaults`], in that order of precedence.
//! [`Config::resolve`] reads them all and reports every mistake at once, each with its file or flag and its key.
//!
//! Invariant: without `--config` (or `NURONES_CONFIG`) nothing is read from the working folder, so a cloned repository
//! cannot grant itself rights.

mod access;
pub mod allow;
pub mod defaults;
mod file;
mod pinning;
pub mod redaction;
mod resolve;
mod settings;
mod supervision;
mod tuning;

pub use access::{Access, PolicySource};
pub use pinning::{Pinning, RequireSignatures};
pub use resolve::{Config, ConfigError, Flags, VARIABLES};
pub use settings::{
    AuditMode, AuditPolicy, CodelPolicy, Compiling, Fsync, JournalPolicy, KeyPolicy, LogRotation, Performance,
    Retention, Shutdown,
};
pub use supervision::{BreakerPolicy, RestartKind, SupervisionPolicy};
