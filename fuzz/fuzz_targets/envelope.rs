//! The property `envelope` under libFuzzer.
#![no_main]
#![allow(dead_code, reason = "the properties can also be tried on broken stand-ins, which is for the tests")]

#[path = "../../tests/fuzz/envelope.rs"]
mod envelope;

libfuzzer_sys::fuzz_target!(|data: &[u8]| envelope::check(data).expect("the property holds"));
