//! The reader: takes what the server wrote, all of it at once, and settles the calls it answers.

use std::io::{ErrorKind, Read};

use super::exchange::{Ended, Exchange};
use super::ledger::FIRST_CALL_ID;
use super::lines::Lines;
use super::wire::{self, Message};

/// Bytes of one line. Results are bounded by the server, so this is only against one that never ends its line.
const LINE_BYTES: usize = 64 << 20;

/// Reads until the server's output ends.
pub(super) fn read(exchange: &Exchange, stdout: impl Read) {
    let mut lines = Lines::new(stdout, LINE_BYTES);
    let mut answers = Vec::new();
    loop {
        match lines.fill() {
            Ok(true) => {}
            Err(error) if error.kind() == ErrorKind::InvalidData => return exchange.end(Ended::EndlessLine),
            Ok(false) | Err(_) => return exchange.end(Ended::Output),
        }
        // All of it is here by now, so one look at the clock is right for all.
        let now_ns = exchange.now_ns();
        let mut unreadable = 0;
        while let Some(line) = lines.next_line() {
            match wire::classify(line) {
                Message::Answer { id: Some(id), .. } if id < FIRST_CALL_ID && exchange.deliver(id, line) => {}
                Message::Answer { id, outcome } => answers.push((id, outcome)),
                Message::Request { id, method } => exchange.reply(&wire::reply(id, &method)),
                Message::Notification => {}
                Message::Unreadable => unreadable += 1,
            }
        }
        exchange.settle(now_ns, &mut answers, unreadable);
    }
}
