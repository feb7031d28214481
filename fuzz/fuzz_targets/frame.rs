//! The property `frame` under libFuzzer.
#![no_main]
#![allow(dead_code, reason = "the properties can also be tried on broken stand-ins, which is for the tests")]

#[path = "../../tests/fuzz/frame.rs"]
mod frame;

libfuzzer_sys::fuzz_target!(|data: &[u8]| frame::check(data).expect("the property holds"));
