//! What goes to the server and what comes back: two threads, one lock around the history and what the drill waits for.
//!
//! The writer alone decides when a background call is sent, so that everything is written in the order in which it is
//! entered in the history. The lock is never held while anything is read or written.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::iter::Peekable;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::answer::{Words, hear};
use super::call::Answer;
use super::history::{Class, Heard, History, Id, Line, Request};
use super::past::Past;
use crate::load::{Lines, Schedule, Template, wake_on_time};

/// Bytes of one line; more than any result may have. Past it the server counts as one that never ends its line.
const LINE_BYTES: usize = 64 << 20;

/// Background calls that are rendered at once.
const BATCH: usize = 256;

/// The healthy calls that go on in the background.
pub struct Background {
    /// What is called.
    pub template: Template,
    /// The tool's name.
    pub tool: Arc<str>,
    /// The deadline each call is judged by.
    pub deadline_ms: u32,
    /// When they are due, in nanoseconds since the session began.
    pub times: Peekable<Box<dyn Iterator<Item = u64> + Send>>,
}

impl Background {
    /// When calls are due that come `rate` times a second from `from_ns` on.
    pub fn times(rate: f64, from_ns: u64) -> Peekable<Box<dyn Iterator<Item = u64> + Send>> {
        const LONG: Duration = Duration::from_secs(7 * 24 * 60 * 60);
        let schedule = Schedule::new(rate, crate::load::Arrivals::Fixed, 0, LONG);
        let times: Box<dyn Iterator<Item = u64> + Send> = Box::new(schedule.map(move |time| from_ns + time));
        times.peekable()
    }
}

/// Whether the server's output is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It is.
    On,
    /// Not for now.
    Paused,
    /// Never again: the pipe is closed.
    Closed,
}

/// What the lock guards.
pub struct State {
    /// Everything so far.
    pub history: History,
    /// By [slot](History::slot): when it was sent, and the position of the first answer in `history.lines`.
    asked: Vec<(u64, Option<u32>)>,
    /// Requests without an answer that are not cancelled.
    open: usize,
    /// Answers whose text somebody waits for.
    kept: HashMap<Id, Option<Vec<u8>>>,
    /// The background load, while it is on.
    pub background: Option<Background>,
    /// Whether the server's output is read.
    pub reading: Reading,
    /// Nothing more can come from the server.
    pub output_ended: bool,
    outgoing: Vec<u8>,
    closing: bool,
}

/// See the module documentation.
pub struct Traffic {
    epoch: Instant,
    state: Mutex<State>,
    to_write: Condvar,
    progress: Condvar,
}

impl Default for Traffic {
    fn default() -> Self {
        let state = State {
            history: History::default(),
            asked: Vec::new(),
            open: 0,
            kept: HashMap::new(),
            background: None,
            reading: Reading::On,
            output_ended: false,
            outgoing: Vec::new(),
            closing: false,
        };
        let (to_write, progress) = (Condvar::new(), Condvar::new());
        Self { epoch: Instant::now(), state: Mutex::new(state), to_write, progress }
    }
}

impl Traffic {
    /// Nanoseconds since the session began.
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes the lock. Whoever changes what a thread looks at says so with [`Traffic::changed`].
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The background load, or what is read, was changed.
    pub fn changed(&self) {
        self.to_write.notify_one();
        self.progress.notify_all();
    }

    /// Waits until something happens, at most for `at_most`.
    pub fn wait(&self, state: &mut MutexGuard<'_, State>, at_most: Duration) {
        self.progress.wait_for(state, at_most);
    }

    /// Has bytes written. `enter` enters what they are and makes them, in one step with their place in the order.
    pub fn send<T>(&self, enter: impl FnOnce(&mut State, u64) -> (T, Vec<u8>)) -> T {
        let mut state = self.lock();
        let now_ns = self.now_ns();
        let (entered, bytes) = enter(&mut state, now_ns);
        state.outgoing.extend_from_slice(&bytes);
        drop(state);
        self.to_write.notify_one();
        entered
    }

    /// The end of the server's input, once everything is written.
    pub fn close_input(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.background = None;
        self.to_write.notify_one();
    }

    /// The writer's thread. Dropping `stdin` at its end closes the server's input.
    pub fn write_to(&self, mut stdin: impl Write) {
        wake_on_time();
        while let Some(bytes) = self.next_bytes() {
            if stdin.write_all(&bytes).is_err() {
                return;
            }
        }
    }

    fn next_bytes(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        loop {
            if !state.outgoing.is_empty() {
                return Some(std::mem::take(&mut state.outgoing));
            }
            if state.closing {
                return None;
            }
            match state.issue(self.now_ns()) {
                None => self.to_write.wait(&mut state),
                Some(due_ns) if state.outgoing.is_empty() => {
                    self.to_write.wait_until(&mut state, self.epoch + Duration::from_nanos(due_ns));
                }
                Some(_) => {}
            }
        }
    }

    /// The reader's thread.
    pub fn read_from(&self, stdout: impl Read) {
        let mut lines = Lines::new(stdout, LINE_BYTES);
        let (mut words, mut heard) = (Words::default(), Vec::new());
        while self.may_read() {
            match lines.fill() {
                Ok(true) => {}
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    heard.push((Heard::Unreadable("it does not end"), None));
                    self.settle(&mut heard);
                    break;
                }
                Ok(false) | Err(_) => break,
            }
            // Looked up after the bytes came, so that whoever waits for one of them is known.
            let kept: Vec<Id> = self.lock().kept.keys().copied().collect();
            while let Some(line) = lines.next_line() {
                let what = hear(line, &mut words);
                let keep = matches!(&what, Heard::Answer(Some(id), _) if kept.contains(id));
                heard.push((what, keep.then(|| line.to_vec())));
            }
            self.settle(&mut heard);
        }
        self.lock().output_ended = true;
        self.progress.notify_all();
    }

    /// Waits while reading is paused; false when it is over.
    fn may_read(&self) -> bool {
        let mut state = self.lock();
        while state.reading == Reading::Paused {
            self.progress.wait(&mut state);
        }
        state.reading == Reading::On
    }

    fn settle(&self, heard: &mut Vec<(Heard, Option<Vec<u8>>)>) {
        let recv_ns = self.now_ns();
        let mut state = self.lock();
        for (heard, text) in heard.drain(..) {
            state.hear(Line { recv_ns, heard }, text);
        }
        self.progress.notify_all();
    }
}

impl State {
    /// Enters a request and returns its id.
    pub fn request(&mut self, class: Class, tool: Arc<str>, due_ns: u64, sent_ns: u64, deadline_ms: Option<u32>) -> Id {
        let id = self.history.first + self.asked.len() as Id;
        self.asked.push((sent_ns, None));
        self.open += 1;
        self.history.requests.push(Request { id, class, tool, due_ns, sent_ns, deadline_ms });
        id
    }

    /// Somebody wants the text of the answer to `id`.
    pub fn keep(&mut self, id: Id) {
        self.kept.insert(id, None);
    }

    /// The first answer to `id`, with its text if it was kept.
    pub fn answer(&mut self, id: Id) -> Option<Answer> {
        let (sent_ns, position) = *self.asked.get(self.history.slot(id)?)?;
        let line = &self.history.lines[position? as usize];
        let Heard::Answer(_, outcome) = &line.heard else { return None };
        let took = Duration::from_nanos(line.recv_ns.saturating_sub(sent_ns));
        let text = self.kept.remove(&id).flatten();
        let message = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Some(Answer { outcome: outcome.clone(), took, message })
    }

    /// An answer to `id` is not owed any more.
    pub fn forgive(&mut self, id: Id) {
        if self.history.slot(id).is_some_and(|slot| self.asked[slot].1.is_none()) {
            self.open = self.open.saturating_sub(1);
        }
    }

    /// Has what is settled judged and forgotten. Nobody can wait for those answers any more.
    pub fn put_away(&mut self, past: &mut Past) {
        let before = self.history.first;
        past.take(&mut self.history);
        self.asked.drain(..(self.history.first - before) as usize);
        self.asked.iter_mut().for_each(|(_, first)| *first = None);
        for (position, line) in self.history.lines.iter().enumerate() {
            if let Heard::Answer(Some(id), _) = line.heard
                && let Some((_, first @ None)) = self.history.slot(id).and_then(|slot| self.asked.get_mut(slot))
            {
                *first = Some(position as u32);
            }
        }
    }

    /// Requests without an answer that are not cancelled.
    pub fn open(&self) -> usize {
        self.open
    }

    fn hear(&mut self, line: Line, text: Option<Vec<u8>>) {
        let position = self.history.lines.len() as u32;
        if let Heard::Answer(Some(id), _) = line.heard
            && let Some((_, first @ None)) = self.history.slot(id).and_then(|slot| self.asked.get_mut(slot))
        {
            *first = Some(position);
            self.open = self.open.saturating_sub(1);
            if let Some(kept) = self.kept.get_mut(&id) {
                *kept = text;
            }
        }
        self.history.lines.push(line);
    }

    /// Enters and renders the background calls that are due; returns when the next one is.
    fn issue(&mut self, now_ns: u64) -> Option<u64> {
        let mut background = self.background.take()?;
        for _ in 0..BATCH {
            let Some(due_ns) = background.times.next_if(|due| *due <= now_ns) else { break };
            let (tool, deadline_ms) = (Arc::clone(&background.tool), Some(background.deadline_ms));
            let id = self.request(Class::Healthy, tool, due_ns, now_ns, deadline_ms);
            background.template.render(id, &mut self.outgoing);
        }
        let next = background.times.peek().copied();
        self.background = Some(background);
        next
    }
}
