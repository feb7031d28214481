//! The world `file-tool`, generated from the contract. The generated code is the only unsafe code of this guest.
#![allow(unsafe_code)]

use crate::Tool;

// The descriptors of `files` are those of the WASI crate, which the granted directories are made of.
wit_bindgen::generate!({
    path: "../wit",
    world: "file-tool",
    with: {
        "wasi:clocks/wall-clock@0.2.4": wasip2::clocks::wall_clock,
        "wasi:filesystem/types@0.2.4": wasip2::filesystem::types,
        "wasi:io/error@0.2.4": wasip2::io::error,
        "wasi:io/poll@0.2.4": wasip2::io::poll,
        "wasi:io/streams@0.2.4": wasip2::io::streams,
    },
});

export!(Tool with_types_in self);
