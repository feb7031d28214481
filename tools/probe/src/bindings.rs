//! The world `tool`, generated from the contract.

use crate::Tool;

wit_bindgen::generate!({ path: "../wit", world: "tool" });

export!(Tool with_types_in self);
