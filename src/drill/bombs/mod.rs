//! Guests for faults that the test guest, which goes through a standard library, cannot make. Each is a command; its
//! text lies beside it.

/// Opens a directory 300 times; crashes where that is refused.
pub static FD: &[u8] = include_bytes!("fd.wasm");

/// Grows a table until that is refused, and crashes.
pub static TABLE: &[u8] = include_bytes!("table.wasm");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bomb_is_what_its_text_says() {
        for (bytes, text) in [(FD, include_str!("fd.wat")), (TABLE, include_str!("table.wat"))] {
            assert_eq!(bytes, wat::parse_str(text).unwrap());
        }
    }
}
