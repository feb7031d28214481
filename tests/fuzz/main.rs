//! Fuzzing without a fuzzer's toolchain: seeds from `fuzz/corpus/`, mutated, through the real entry points.
//!
//! Each target is a property: a function of bytes that says what is wrong, if anything is. The same functions are the
//! cargo-fuzz targets below `fuzz/`. `NURONES_FUZZ_CASES` is the number of cases per target and `NURONES_FUZZ_SEED`
//! where chance starts; one seed always makes the same cases. Input that breaks a property is written below `target/tmp`,
//! together with a smaller one that breaks it too; put that into the corpus, and it is tried first from then on.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests: a panic is their failure")]

mod broken;
mod campaign;
mod config;
mod envelope;
mod frame;
mod framing;
mod log;
mod manifest;
mod mutation;

use campaign::Campaign;

/// In memory; and through a file, which takes longer.
const IN_MEMORY: u64 = 100_000;
const IN_FILES: u64 = 10_000;

const FRAMING: Campaign = Campaign { name: "framing", corpus: "framing", tokens: envelope::TOKENS, cases: IN_MEMORY };
const MANIFEST: Campaign =
    Campaign { name: "manifest", corpus: "manifest", tokens: manifest::TOKENS, cases: IN_MEMORY };
const FRAME: Campaign = Campaign { name: "frame", corpus: "frame", tokens: frame::TOKENS, cases: IN_MEMORY };

#[test]
fn lines_are_found_whole_and_once_however_they_arrive() {
    FRAMING.assert_holds(framing::check);
}

#[test]
fn every_line_gets_the_verdict_of_a_naive_reader() {
    Campaign { name: "envelope", ..FRAMING }.assert_holds(envelope::check);
}

#[test]
fn a_manifest_is_read_as_it_says_or_its_mistakes_are_named() {
    MANIFEST.assert_holds(manifest::check);
}

#[test]
fn a_config_is_read_as_it_says_or_its_mistakes_are_named() {
    Campaign { name: "config", corpus: "config", tokens: config::TOKENS, cases: IN_FILES }.assert_holds(config::check);
}

#[test]
fn a_context_frame_is_read_as_it_says_or_its_mistakes_are_named() {
    FRAME.assert_holds(frame::check);
}

#[test]
fn every_record_of_a_supervision_log_is_seen_once_and_shown_harmlessly() {
    Campaign { name: "log", corpus: "log", tokens: log::TOKENS, cases: IN_FILES }.assert_holds(log::check);
}
