//! Standard error, which nobody ever waits for.
//!
//! Lines are handed to a thread. While that is stuck, because nobody reads the other end, they wait up to a bound, and
//! what comes after is lost and counted. How many were lost is said as soon as a line gets through again.
//!
//! What must not leave is taken out here, by the thread that writes: whoever logs does not wait for that either.

use std::borrow::Cow;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

use crate::redact;

/// Lines that wait while standard error is not read.
const LINES: usize = 4096;

/// Bytes of them: a line that quotes the protocol can be megabytes.
const BYTES: usize = 4 << 20;

/// Bytes of one line that are written. Nobody reads more, and all of them are looked at.
const LINE_BYTES: usize = 64 << 10;

/// The end that is written to; cheap to clone.
#[derive(Clone)]
pub struct Lines {
    queue: NonBlocking,
    waiting: Arc<Waiting>,
}

/// The end that writes.
pub struct Drain {
    waiting: Arc<Waiting>,
    /// Kept for good: dropping it while the thread is stuck prints to standard output.
    _thread: WorkerGuard,
}

#[derive(Default)]
struct Waiting {
    count: Mutex<Count>,
    fewer: Condvar,
}

/// What was handed over and is not written yet, the line that is being written included.
#[derive(Default)]
struct Count {
    lines: usize,
    bytes: usize,
    /// Lines that found no room, and of which nobody has been told.
    lost: u64,
}

/// What the thread writes to.
struct Target<W> {
    target: W,
    waiting: Arc<Waiting>,
}

/// Starts the thread that writes to `target`.
pub fn start(target: impl Write + Send + 'static) -> (Lines, Drain) {
    let waiting = Arc::new(Waiting::default());
    let target = Target { target, waiting: Arc::clone(&waiting) };
    // Never full, as the count below is at most this.
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES).thread_name("stderr");
    let (queue, thread) = builder.finish(target);
    (Lines { queue, waiting: Arc::clone(&waiting) }, Drain { waiting, _thread: thread })
}

impl Drain {
    /// Waits, at most `patience`, until everything handed over is written.
    pub fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut count = self.waiting.count.lock();
        while count.lines > 0 && !self.waiting.fewer.wait_until(&mut count, until).timed_out() {}
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut count = self.waiting.count.lock();
        if count.lines == LINES || (count.lines > 0 && count.bytes + line.len() > BYTES) {
            count.lost += 1;
            return Ok(line.len());
        }
        count.lines += 1;
        count.bytes += line.len();
        // Under the lock, so that the thread cannot count it as written first.
        self.queue.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl<W: Write> Write for Target<W> {
    /// Takes one whole line; what cannot be written is nobody's concern.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = self.target.write_all(&presentable(line));
        let lost = std::mem::take(&mut self.waiting.count.lock().lost);
        if lost > 0 {
            let notice = format!("nurones-mcp: {lost} lines of this log were lost: nobody read standard error\n");
            let _ = self.target.write_all(notice.as_bytes());
        }
        let mut count = self.waiting.count.lock();
        count.lines -= 1;
        count.bytes -= line.len();
        self.waiting.fewer.notify_all();
        written.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}

/// What of `line` may be read. A bug in looking at it costs the line, not the log.
fn presentable(line: &[u8]) -> Cow<'_, [u8]> {
    const LEFT_OUT: &[u8] = b"nurones-mcp: a line of this log is left out, as looking for secrets in it failed\n";
    catch_unwind(AssertUnwindSafe(|| redact::cut_line(line, LINE_BYTES))).unwrap_or(Cow::Borrowed(LEFT_OUT))
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, Sender, bounded};

    use super::*;

    /// A reader who takes a write only when asked to.
    struct Slow {
        begun: Sender<()>,
        written: Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.begun.send(());
            self.written.send(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Slow, Receiver<()>, Receiver<String>) {
        let (begun, begins) = bounded(2 * LINES);
        let (written, reader) = bounded(0);
        (Slow { begun, written }, begins, reader)
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_is_told_how_many() {
        let (target, begins, reader) = slow();
        let (mut lines, drain) = start(target);
        lines.write_all(b"first\n").unwrap();
        begins.recv().unwrap();
        for _ in 0..LINES + 9 {
            lines.write_all(b"more\n").unwrap();
        }
        assert_eq!(reader.recv().unwrap(), "first\n");
        let told: String = reader.recv().unwrap();
        assert!(told.contains(&format!("{} lines of this log were lost", 10)), "{told}");
        for _ in 1..LINES {
            assert_eq!(reader.recv().unwrap(), "more\n");
        }
        drain.flush(Duration::from_secs(60));
        assert_eq!(drain.waiting.count.lock().lines, 0);
        assert_eq!(drain.waiting.count.lock().bytes, 0);
    }

    #[test]
    fn large_lines_wait_in_small_number() {
        let (target, begins, reader) = slow();
        let (mut lines, drain) = start(target);
        // One alone may wait however large it is, and is cut when it is written.
        lines.write_all(&vec![b'x'; 2 * BYTES]).unwrap();
        begins.recv().unwrap();
        lines.write_all(b"y\n").unwrap();
        assert_eq!(drain.waiting.count.lock().lost, 1);
        let written = reader.recv().unwrap();
        assert!(written.starts_with("xxx") && written[LINE_BYTES..].starts_with(" [cut: "), "{}", written.len());
    }

    #[test]
    fn what_must_not_leave_is_taken_out_of_every_line() {
        let (target, begins, reader) = slow();
        let (mut lines, _drain) = start(target);
        // As the log makes of a field in colours.
        lines.write_all(b"a \x1b[3mtoken\x1b[0m\x1b[2m=\x1b[0mhunter2 ann@example.org\n").unwrap();
        begins.recv().unwrap();
        let written = reader.recv().unwrap();
        assert_eq!(written, "a \x1b[3mtoken\x1b[0m\x1b[2m=\x1b[0m[redacted:secret] [redacted:email]\n");
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_for_ever() {
        let (target, begins, _reader) = slow();
        let (mut lines, drain) = start(target);
        lines.write_all(b"first\n").unwrap();
        begins.recv().unwrap();
        drain.flush(Duration::ZERO);
        assert_eq!(drain.waiting.count.lock().lines, 1);
    }
}
