//! The world `tool`, generated from the contract. The generated code is the only unsafe code of this guest.
#![allow(unsafe_code)]

use crate::Tool;

wit_bindgen::generate!({ path: "../wit", world: "tool" });

export!(Tool with_types_in self);
