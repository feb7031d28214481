//! One session with a server of its own: what a drill can do to it.

use std::process::ExitStatus;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::Signal;
#[cfg(target_os = "linux")]
use rustix::process::{Pid, Resource, Rlimit};
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::console::Console;
use super::findings::Broken;
use super::gauges::{self, Watcher};
use super::history::{Cancel, Class, Gauge, History, Id, Outcome, Request};
use super::past::Past;
use super::stage::{DEADLINE_MS, Stage, Stop};
use super::traffic::{Background, Reading, State, Traffic};
use crate::load::Server;

/// A server that should answer has done so after this.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A server that starts may have to compile first.
const START: Duration = Duration::from_secs(60);

/// Waits are cut into pieces of this, so that a person who has had enough is heard.
const LOOK: Duration = Duration::from_millis(100);

/// See the module documentation. Dropping it ends the server by force.
pub struct Session {
    traffic: Arc<Traffic>,
    server: Mutex<Server>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// The way to its failpoints.
    pub console: Arc<Console>,
    watcher: Mutex<Option<Watcher>>,
    /// What it used before anything was done to it.
    pub before: Gauge,
    pid: u32,
    healthy: Call,
    healthy_rate: f64,
    stop: Stop,
}

impl Session {
    /// Starts a server on `stage`, opens a session and makes every tool warm.
    ///
    /// # Errors
    /// When that fails.
    pub fn open(stage: &Stage, stop: &Stop) -> Result<Self, Broken> {
        let failed = |error: String| Broken::new("start", error);
        let system = |error: std::io::Error| failed(error.to_string());
        let (console, inherited) = Console::open().map_err(system)?;
        let mut command = stage.command(&inherited).map_err(system)?;
        let start = if stage.unheard { Server::start_unheard } else { Server::start };
        let (server, stdin, stdout) = start(&mut command).map_err(|error| failed(error.to_string()))?;
        drop(inherited);
        let traffic = Arc::new(Traffic::default());
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let writing = Arc::clone(&traffic);
        let writer = thread("drill-writer").spawn(move || writing.write_to(stdin)).map_err(system)?;
        let reading = Arc::clone(&traffic);
        thread("drill-reader").spawn(move || reading.read_from(stdout)).map_err(system)?;
        let mut session = Self {
            pid: server.pid(),
            traffic,
            server: Mutex::new(server),
            writer: Mutex::new(Some(writer)),
            console: Arc::new(console),
            watcher: Mutex::new(None),
            before: Gauge::default(),
            healthy: stage.healthy.clone(),
            healthy_rate: stage.healthy_rate,
            stop: stop.clone(),
        };
        session.shake_hands(stage)?;
        session.watch()?;
        stage.armed.iter().try_for_each(|command| session.console.obey(command).map(drop))?;
        Ok(session)
    }

    fn shake_hands(&self, stage: &Stage) -> Result<(), Broken> {
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "nurones-drill", "version": env!("CARGO_PKG_VERSION") },
        });
        let initialize = self.request("initialize", &hello);
        self.wait_for(initialize, START)?;
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.send_raw(format!("{initialized}\n").into_bytes(), 0);
        let healthy = [&stage.healthy].into_iter();
        for call in healthy.chain(&stage.warm) {
            let call = Call { class: Class::Control, ..call.clone() };
            let id = self.send_call(&call, true);
            let answer = self.wait_for(id, START)?;
            // A tool that exists to fail may do so.
            let is_warm = answer.outcome == Outcome::Good
                || matches!(answer.outcome, Outcome::ToolError(_)) && call.tool != stage.healthy.tool;
            if !is_warm {
                let what = format!("the first call of {} is answered {}", call.tool, answer.message);
                return Err(Broken::new("start", what));
            }
        }
        Ok(())
    }

    /// From here on its gauges are judged.
    fn watch(&mut self) -> Result<(), Broken> {
        gauges::forget_peak(self.pid);
        let Some(before) = gauges::look(self.pid) else { return Ok(()) };
        self.before = before;
        self.traffic.lock().history.gauges.push(before);
        let watcher = Watcher::start(self.pid, Arc::clone(&self.traffic), Arc::clone(&self.console));
        *self.watcher.lock() = Some(watcher.map_err(|error| Broken::new("start", error.to_string()))?);
        Ok(())
    }

    /// Sends a call.
    pub fn call(&self, call: &Call) -> Id {
        self.send_call(call, false)
    }

    fn send_call(&self, call: &Call, keep: bool) -> Id {
        self.send("tools/call", &call.params(), keep, |state, now_ns| {
            state.request(call.class, Arc::clone(&call.tool), now_ns, now_ns, Some(call.deadline_ms))
        })
    }

    /// Sends a call and waits for its answer, whose text is kept.
    ///
    /// # Errors
    /// When none comes.
    pub fn ask(&self, call: &Call) -> Result<Answer, Broken> {
        let id = self.send_call(call, true);
        self.wait(id)
    }

    /// Sends a call, to [wait](Session::wait_for) for its answer, whose text is kept, later.
    pub fn ask_later(&self, call: &Call) -> Id {
        self.send_call(call, true)
    }

    /// Sends a request of another method; the text of its answer is kept.
    pub fn request(&self, method: &str, params: &Value) -> Id {
        self.send(method, params, true, |state, now_ns| state.request(Class::Control, "".into(), now_ns, now_ns, None))
    }

    fn send(&self, method: &str, params: &Value, keep: bool, enter: impl FnOnce(&mut State, u64) -> Id) -> Id {
        self.traffic.send(|state, now_ns| {
            let id = enter(state, now_ns);
            if keep {
                state.keep(id);
            }
            (id, line(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })))
        })
    }

    /// Sends `call` under an id that was used before.
    pub fn call_again(&self, id: Id, call: &Call) {
        self.traffic.send(|state, now_ns| {
            let first = state.history.requests.iter().find(|request| request.id == id).cloned();
            state.history.requests.extend(first.map(|first| Request { sent_ns: now_ns, ..first }));
            ((), line(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": call.params() })))
        });
    }

    /// Takes a call back.
    pub fn cancel(&self, id: Id) {
        self.traffic.send(|state, now_ns| {
            let after = state.history.first as usize + state.history.requests.len();
            state.history.cancels.push(Cancel { id, sent_ns: now_ns, after });
            state.forgive(id);
            let params = json!({ "requestId": id });
            ((), line(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params })))
        });
    }

    /// Sends any bytes, newlines included, for which so many answers are owed that name no id of ours.
    pub fn send_raw(&self, bytes: Vec<u8>, unnamed: u64) {
        self.traffic.send(|state, _| {
            state.history.unnamed += unnamed;
            ((), bytes)
        });
    }

    /// Sends a request with an id of ours made by `render`, as a line of any form.
    pub fn send_formed(&self, class: Class, render: impl FnOnce(Id) -> Vec<u8>) -> Id {
        self.traffic.send(|state, now_ns| {
            let id = state.request(class, Arc::from(""), now_ns, now_ns, Some(DEADLINE_MS));
            (id, render(id))
        })
    }

    /// Switches the background load on, or off.
    pub fn background(&self, on: bool) {
        let mut state = self.traffic.lock();
        if on == state.background.is_some() {
            return;
        }
        state.background = on.then(|| Background {
            template: self.healthy.template(),
            tool: Arc::clone(&self.healthy.tool),
            deadline_ms: self.healthy.deadline_ms,
            times: Background::times(self.healthy_rate, self.traffic.now_ns()),
        });
        drop(state);
        self.traffic.changed();
    }

    /// Waits for the answer to `id`.
    ///
    /// # Errors
    /// When none comes within [`PATIENCE`].
    pub fn wait(&self, id: Id) -> Result<Answer, Broken> {
        self.wait_for(id, PATIENCE)
    }

    /// As [`Session::wait`], for as long as `patience`.
    ///
    /// # Errors
    /// When none comes.
    pub fn wait_for(&self, id: Id, patience: Duration) -> Result<Answer, Broken> {
        self.until(patience, &format!("request {id} is not answered"), |state| state.answer(id))
    }

    /// Waits until every request that is owed an answer has one.
    ///
    /// # Errors
    /// When that takes longer than `patience`.
    pub fn settle(&self, patience: Duration) -> Result<(), Broken> {
        self.until(patience, "requests stay without an answer", |state| (state.open() == 0).then_some(()))
    }

    /// Waits until `seen` sees what it looks for.
    ///
    /// # Errors
    /// [`Broken`] of the check `answered` after `patience` or when the server is gone, of the check `stopped` when the
    /// person has had enough.
    pub fn until<T>(
        &self,
        patience: Duration,
        what: &str,
        mut seen: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, Broken> {
        let until = Instant::now() + patience;
        let mut state = self.traffic.lock();
        loop {
            if let Some(found) = seen(&mut state) {
                return Ok(found);
            }
            if state.output_ended || Instant::now() >= until {
                let ended = state.output_ended;
                drop(state);
                let why = if ended { self.last_words() } else { format!("after {} ms", patience.as_millis()) };
                return Err(Broken::new("answered", format!("{what}: {why}")));
            }
            if self.stop.is_asked() {
                return Err(stopped());
            }
            self.traffic.wait(&mut state, LOOK);
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// When the person has had enough.
    pub fn let_pass(&self, time: Duration) -> Result<(), Broken> {
        let until = Instant::now() + time;
        while !self.stop.is_asked() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
        Err(stopped())
    }

    /// Reads the server's output, or stops doing so.
    pub fn read(&self, reading: Reading) {
        let mut state = self.traffic.lock();
        let now_ns = self.traffic.now_ns();
        match (state.reading, reading) {
            (Reading::On, Reading::Paused | Reading::Closed) => state.history.deaf.push((now_ns, u64::MAX)),
            (Reading::Paused, Reading::On) => {
                if let Some(deaf) = state.history.deaf.last_mut() {
                    deaf.1 = now_ns;
                }
            }
            _ => {}
        }
        state.reading = reading;
        drop(state);
        self.traffic.changed();
    }

    /// Closes the server's input, once everything is written.
    pub fn close_input(&self) {
        self.traffic.close_input();
    }

    /// Sends the process a signal.
    pub fn signal(&self, signal: Signal) {
        self.server.lock().signal(signal);
    }

    /// Sets a limit that the system holds it to, for example on the size of files.
    ///
    /// # Errors
    /// When the system refuses.
    #[cfg(target_os = "linux")]
    pub fn limit(&self, what: Resource, most: u64) -> Result<(), Broken> {
        let maximum = rustix::process::getrlimit(what).maximum;
        let limit = Rlimit { current: Some(most), maximum };
        let pid = Pid::from_raw(self.pid.cast_signed());
        let set = rustix::process::prlimit(pid, what, limit);
        set.map(drop).map_err(|error| Broken::new("stage", format!("a limit cannot be set: {error}")))
    }

    /// The server is about to be ended in a way that leaves requests without an answer.
    pub fn expect_losses(&self) {
        self.traffic.lock().history.killed = true;
    }

    /// How the process ended, if it does within `patience`.
    pub fn ended_within(&self, patience: Duration) -> Option<ExitStatus> {
        self.server.lock().ended_within(patience)
    }

    /// Waits until everything the server wrote is read.
    ///
    /// # Errors
    /// When its output does not end.
    pub fn output_ended(&self) -> Result<(), Broken> {
        let ended = |state: &mut State| state.output_ended.then_some(());
        self.until(PATIENCE, "the server's output does not end", ended)
    }

    /// How the process ended and what it said last.
    pub fn last_words(&self) -> String {
        self.server.lock().last_words()
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Looks at the history.
    pub fn history<T>(&self, look: impl FnOnce(&mut History) -> T) -> T {
        look(&mut self.traffic.lock().history)
    }

    /// Has what is settled judged and forgotten, so that a long run needs no more memory than a short one.
    pub fn put_away(&self, past: &mut Past) {
        self.traffic.lock().put_away(past);
    }

    /// Nanoseconds since the session began.
    pub fn now_ns(&self) -> u64 {
        self.traffic.now_ns()
    }

    /// What it uses now; for the check of what a fault has left behind.
    pub fn gauge(&self) -> Option<Gauge> {
        gauges::look(self.pid)
    }

    /// Ends the watch over the process, as it is about to end.
    pub fn stop_watching(&self) {
        drop(self.watcher.lock().take());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop_watching();
        self.traffic.close_input();
        self.read(Reading::Closed);
        // Killed, if it has not ended: nobody is to be left behind. Then a writer that was stuck is not any more.
        self.server.lock().end(true);
        if let Some(writer) = self.writer.lock().take() {
            let _ = writer.join();
        }
    }
}

fn stopped() -> Broken {
    Broken::new("stopped", "as asked")
}

fn line(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}
