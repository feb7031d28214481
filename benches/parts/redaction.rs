//! Lines of a log as they go through the redactor, beside the same lines copied.

use std::hint::black_box;

use nurones_mcp::redact::Redactor;

use crate::compare::{Compare, timed};

/// Nothing in it makes the redactor look closer.
const PLAIN: &[u8] =
    b"2026-11-23T00:17:54.123456Z  INFO supervision: fs_read/w0 ended (host_panic: worker.recv), restarted in 51 ms\n";

/// Two findings.
const FOUND: &[u8] =
    b"2026-11-23T00:17:54.123456Z  INFO guest: login of ann@example.org with token=abcdefgh failed tool=probe\n";

/// A redactor as a server has it: with some secrets of the environment.
fn redactor() -> Redactor {
    let mut redactor = Redactor::default();
    for value in ["correct horse battery", "Tr0ub4dor&3", "0123-4567-89ab", "staple/staple"] {
        redactor.secrets().add("NAME", value.as_bytes());
    }
    redactor
}

/// A call is one line; `redact_bulk` takes 64 KiB of plain lines at once.
pub fn lines(compare: &mut Compare) {
    let redactor = redactor();
    let bulk = PLAIN.repeat((64 << 10) / PLAIN.len());
    for (name, line) in [("redact_plain", PLAIN), ("redact_found", FOUND), ("redact_bulk", &bulk)] {
        compare.pair(
            name,
            |calls| timed(calls, || redactor.line(black_box(line)).len()),
            |calls| timed(calls, || black_box(line).to_vec().len()),
        );
    }
}
