pub mod config;
pub mod fields;
pub mod frame;
pub mod wasi;
pub mod actors;
