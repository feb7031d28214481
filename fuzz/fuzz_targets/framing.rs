//! The property `framing` under libFuzzer.
#![no_main]
#![allow(dead_code, reason = "the properties can also be tried on broken stand-ins, which is for the tests")]

#[path = "../../tests/fuzz/framing.rs"]
mod framing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| framing::check(data).expect("the property holds"));
