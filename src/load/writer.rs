//! The writer: sends what is due, as one write, and sleeps until the next is.

use std::io::Write;

use super::exchange::{Ended, Exchange, Work};
use super::requests::Requests;

/// Bytes written at once; what a pipe holds.
const WRITE_BYTES: usize = 64 << 10;

/// Writes until there is nothing more to write or nobody to read it. Dropping `stdin` at the end closes the server's
/// input.
pub(super) fn write(exchange: &Exchange, mut stdin: impl Write, mut requests: Requests) {
    wake_on_time();
    let at_most = (WRITE_BYTES / requests.len()).max(1);
    let mut bytes = Vec::with_capacity(WRITE_BYTES);
    while let Some(work) = exchange.next_work(at_most) {
        match work {
            Work::Bytes(given) => bytes = given,
            Work::Calls(ids) => {
                bytes.clear();
                for id in ids {
                    requests.render(id, &mut bytes);
                }
            }
        }
        if stdin.write_all(&bytes).is_err() {
            return exchange.end(Ended::Input);
        }
    }
}

/// Linux wakes a thread up to 50 µs late, to wake several at once, unless the thread says that it minds.
pub fn wake_on_time() {
    #[cfg(target_os = "linux")]
    if let Ok(thread) = std::fs::read_link("/proc/thread-self")
        && let Some(id) = thread.file_name()
    {
        // Where this cannot be set, sends are later, and the report says how late they were.
        let _ = std::fs::write(std::path::Path::new("/proc").join(id).join("timerslack_ns"), "1000");
    }
}
