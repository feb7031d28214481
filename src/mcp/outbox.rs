//! Bytes on their way out, in the order in which they came, and the tickets they answer.
//!
//! Lines gather in batches, each of which is one write. At most one batch is being written at any time, by whichever
//! thread took it. No I/O in here.

use std::collections::VecDeque;

use super::tickets::Number;

/// Bytes that are gathered for one write: what a pipe holds. A line that is longer is a batch of its own.
const BATCH_BYTES: usize = 64 << 10;

/// Lines for one write.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The lines.
    pub bytes: Vec<u8>,
    /// How many of them are written.
    pub written: usize,
    /// The tickets they answer.
    pub answers: Vec<Number>,
}

impl Batch {
    /// What has yet to be written.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Outbox {
    batches: VecDeque<Batch>,
    /// Bytes in `batches` and in the batch that is being written.
    waiting_bytes: usize,
    is_writing: bool,
    /// A batch that was written, to be filled again.
    spare: Option<Batch>,
}

impl Outbox {
    /// Adds a line, and the ticket that it answers.
    pub fn push(&mut self, line: Vec<u8>, answers: Option<Number>) {
        self.waiting_bytes += line.len();
        match self.batches.back_mut() {
            Some(last) if last.bytes.len() + line.len() <= BATCH_BYTES && last.written == 0 => {
                last.bytes.extend_from_slice(&line);
                last.answers.extend(answers);
            }
            _ => {
                let mut batch = self.spare.take().unwrap_or_default();
                if line.len() > BATCH_BYTES {
                    batch.bytes = line;
                } else {
                    batch.bytes.extend_from_slice(&line);
                }
                batch.answers.extend(answers);
                self.batches.push_back(batch);
            }
        }
    }

    /// Takes the next batch to write it; `None` when there is none, or one is being written.
    pub fn begin(&mut self) -> Option<Batch> {
        if self.is_writing {
            return None;
        }
        let batch = self.batches.pop_front()?;
        self.is_writing = true;
        Some(batch)
    }

    /// The batch could not be written to its end by who took it.
    pub fn put_back(&mut self, batch: Batch) {
        self.is_writing = false;
        self.batches.push_front(batch);
    }

    /// The batch was written.
    pub fn end(&mut self, mut batch: Batch) {
        self.is_writing = false;
        self.waiting_bytes -= batch.bytes.len();
        // One large answer must not keep its memory for ever.
        if batch.bytes.capacity() <= 2 * BATCH_BYTES {
            batch.bytes.clear();
            batch.answers.clear();
            batch.written = 0;
            self.spare = Some(batch);
        }
    }

    /// Bytes that are not written.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(outbox: &mut Outbox) -> Vec<(usize, Vec<Number>)> {
        let mut all = Vec::new();
        while let Some(batch) = outbox.begin() {
            all.push((batch.bytes.len(), batch.answers.clone()));
            outbox.end(batch);
        }
        all
    }

    #[test]
    fn small_lines_are_one_write_and_a_large_one_is_its_own() {
        let mut outbox = Outbox::default();
        outbox.push(vec![b'a'; 10], Some(1));
        outbox.push(vec![b'b'; 20], None);
        outbox.push(vec![b'c'; BATCH_BYTES + 1], Some(2));
        outbox.push(vec![b'd'; 5], Some(3));
        assert_eq!(outbox.waiting_bytes(), 36 + BATCH_BYTES);
        assert_eq!(taken(&mut outbox), [(30, vec![1]), (BATCH_BYTES + 1, vec![2]), (5, vec![3])]);
        assert_eq!(outbox.waiting_bytes(), 0);
        outbox.push(vec![b'e'; 7], Some(4));
        assert_eq!(taken(&mut outbox), [(7, vec![4])], "nothing is left over in a batch that is used again");
    }

    #[test]
    fn one_batch_is_written_at_a_time_and_what_is_left_of_it_comes_first() {
        let mut outbox = Outbox::default();
        outbox.push(b"one\n".to_vec(), Some(1));
        let mut batch = outbox.begin().unwrap();
        outbox.push(b"two\n".to_vec(), Some(2));
        assert_eq!(outbox.begin(), None);
        batch.written = 2;
        outbox.put_back(batch);
        outbox.push(b"three\n".to_vec(), Some(3));
        assert_eq!(outbox.waiting_bytes(), 14, "until all of a batch is written all of it waits");
        let batch = outbox.begin().unwrap();
        assert_eq!(batch.rest(), b"e\n");
        outbox.end(batch);
        assert_eq!(outbox.begin().unwrap().rest(), b"two\nthree\n");
    }
}
