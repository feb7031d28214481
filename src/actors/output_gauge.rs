//! How many bytes of answers wait until a client reads them.
//!
//! When a client does not read, the calls it has made before still run. With results of megabytes that would cost
//! gigabytes; so from [`OUTPUT_REFUSE_BYTES`](defaults::OUTPUT_REFUSE_BYTES) on workers refuse its calls instead of
//! running them, until most of what waits is written.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::config::defaults;
use crate::failpoint::points;

/// What must have been written before calls are run again.
const RESUME_BYTES: usize = defaults::OUTPUT_REFUSE_BYTES / 10 * 6;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct OutputGauge {
    bytes: AtomicUsize,
    /// Set at the upper mark; what it says counts between the marks only.
    refusing: AtomicBool,
}

impl OutputGauge {
    /// So many more bytes wait.
    pub fn waits(&self, bytes: usize) {
        if self.bytes.fetch_add(bytes, Ordering::SeqCst) + bytes >= defaults::OUTPUT_REFUSE_BYTES {
            self.refusing.store(true, Ordering::SeqCst);
        }
    }

    /// So many of them are written.
    pub fn written(&self, bytes: usize) {
        if self.bytes.fetch_sub(bytes, Ordering::SeqCst) - bytes <= RESUME_BYTES {
            self.refusing.store(false, Ordering::SeqCst);
        }
    }

    /// Whether another call of this client is refused.
    pub fn is_full(&self) -> bool {
        if points::UNBOUNDED_OUTPUT.hit().is_err() {
            return false;
        }
        match self.bytes.load(Ordering::SeqCst) {
            defaults::OUTPUT_REFUSE_BYTES.. => true,
            ..=RESUME_BYTES => false,
            _ => self.refusing.load(Ordering::SeqCst),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_refuses_from_the_upper_mark_until_the_lower_one() {
        let gauge = OutputGauge::default();
        gauge.waits(defaults::OUTPUT_REFUSE_BYTES - 1);
        assert!(!gauge.is_full());
        gauge.waits(1);
        assert!(gauge.is_full());
        gauge.written(defaults::OUTPUT_REFUSE_BYTES - RESUME_BYTES - 1);
        assert!(gauge.is_full(), "one byte more than the lower mark");
        gauge.written(1);
        assert!(!gauge.is_full());
        gauge.waits(1);
        assert!(!gauge.is_full(), "between the marks it is as it was");
    }
}
