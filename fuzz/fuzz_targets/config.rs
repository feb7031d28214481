//! The property `config` under libFuzzer.
#![no_main]
#![allow(dead_code, reason = "the properties can also be tried on broken stand-ins, which is for the tests")]

#[path = "../../tests/fuzz/config.rs"]
mod config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| config::check(data).expect("the property holds"));
