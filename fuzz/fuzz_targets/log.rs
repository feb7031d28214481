//! The property `log` under libFuzzer.
#![no_main]

#[path = "../../tests/fuzz/log.rs"]
mod log;

libfuzzer_sys::fuzz_target!(|data: &[u8]| log::check(data).expect("the property holds"));
