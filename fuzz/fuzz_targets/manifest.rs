//! The property `manifest` under libFuzzer.
#![no_main]
#![allow(dead_code, reason = "the properties can also be tried on broken stand-ins, which is for the tests")]

#[path = "../../tests/fuzz/manifest.rs"]
mod manifest;

libfuzzer_sys::fuzz_target!(|data: &[u8]| manifest::check(data).expect("the property holds"));
