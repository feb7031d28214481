//! A folder to work in, the server on it, and a client that is as simple as can be.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use crate::answer::{fault, message, text};

pub use crate::output::Output;
pub use crate::process::{log_lines, wait_for_log};

/// The executable under test.
pub const SERVER: &str = env!("CARGO_BIN_EXE_nurones-mcp");

/// A hang becomes a failure after this.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A temporary folder with `data/` (files for tools) and `tools/` (manifests and modules).
pub struct Sandbox {
    root: tempfile::TempDir,
}

impl Sandbox {
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("nurones-it-").tempdir().unwrap();
        std::fs::create_dir(root.path().join("data")).unwrap();
        std::fs::create_dir(root.path().join("tools")).unwrap();
        Self { root }
    }

    /// The canonical path of the folder.
    pub fn root(&self) -> PathBuf {
        self.root.path().canonicalize().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a file, relative to the root, with its parents.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn read_text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// Adds a tool from a prebuilt guest, for example `probe`. `extra` is merged into its manifest.
    pub fn prebuilt_tool(&self, name: &str, guest: &str, extra: Value) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tools/prebuilt/{guest}.wasm"));
        self.tool(name, &std::fs::read(source).unwrap(), extra);
    }

    /// Adds a tool written as WebAssembly text.
    pub fn wat_tool(&self, name: &str, wat: &str, extra: Value) {
        self.tool(name, &wat::parse_str(wat).unwrap(), extra);
    }

    /// Adds a tool of any bytes.
    pub fn tool(&self, name: &str, module: &[u8], extra: Value) {
        self.write(&format!("tools/{name}.wasm"), module);
        let mut manifest = json!({
            "name": name, "version": "1.1.0", "entry": format!("wasm://{name}.wasm"), "permissions": []
        });
        for (key, value) in extra.as_object().expect("extra is an object") {
            manifest[key] = value.clone();
        }
        self.write(&format!("tools/{name}.json"), manifest.to_string());
    }

    /// A server command with `data/` allowed for writing and `tools/` loaded.
    pub fn server(&self) -> ServerCommand {
        let mut server = ServerCommand::bare();
        server.args(["--allow", &format!("{}:rw", self.data().display()), "--tools"]).arg(self.path("tools"));
        server
    }
}

/// Where the servers of all tests keep compiled modules: many processes at once, as in real life.
pub const CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/module-cache");

/// Where they keep what outlives them, unless a test wants a folder of its own.
pub const STATE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/state");

/// Compiles, once per run of the suite, the guests that many tests use, so that no test is about the compiler by chance.
fn warm_the_cache() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let sandbox = Sandbox::new();
        for guest in ["probe", "fs-read-command", "fs-write-command"] {
            sandbox.prebuilt_tool(guest, guest, json!({}));
        }
        let mut tools = Command::new(SERVER);
        tools.args(["tools", "--tools"]).arg(sandbox.path("tools")).env("NURONES_CACHE_DIR", CACHE);
        assert!(tools.output().unwrap().status.success());
    });
}

/// A server about to be started, with nothing inherited from the environment that could change it.
pub struct ServerCommand {
    command: Command,
}

impl ServerCommand {
    /// Without any option.
    pub fn bare() -> Self {
        let mut command = Command::new(SERVER);
        for (name, _) in std::env::vars() {
            let ours = ["NURONES_", "OTEL_"].iter().any(|prefix| name.starts_with(prefix));
            if ours || ["FS_ALLOWLIST", "CONTEXT_ENGINE", "RUST_LOG"].contains(&name.as_str()) {
                command.env_remove(name);
            }
        }
        command.env("NURONES_CACHE_DIR", CACHE).env("NURONES_STATE_DIR", STATE);
        warm_the_cache();
        Self { command }
    }

    pub fn arg(&mut self, arg: impl AsRef<std::ffi::OsStr>) -> &mut Self {
        self.command.arg(arg);
        self
    }

    pub fn args<S: AsRef<std::ffi::OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.command.args(args);
        self
    }

    pub fn env(&mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> &mut Self {
        self.command.env(name, value);
        self
    }

    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Self {
        self.command.current_dir(folder);
        self
    }

    /// The command itself, for tests that need another kind of stdio.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Feeds `input` whole, closes it, and returns everything that came out.
    pub fn run(&mut self, input: impl AsRef<[u8]>) -> Output {
        let mut child = self.spawn_child();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.as_ref().to_vec();
        // A thread of its own: a server that answers while it reads would otherwise block on its full pipe.
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let out = crate::output::read_all(child.stdout.take().unwrap());
        let err = crate::output::read_all(child.stderr.take().unwrap());
        let status = wait(&mut child);
        writer.join().unwrap();
        Output { stdout: out.join().unwrap(), stderr: err.join().unwrap(), status }
    }

    /// Starts the server and a client on it; nothing has been sent yet.
    pub fn start(&mut self) -> Client {
        Client::new(self.spawn_child())
    }

    /// The same with another standard error, which the client does not read.
    pub fn start_with_stderr(&mut self, stderr: impl Into<Stdio>) -> Client {
        Client::new(self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap())
    }

    /// Starts the server and opens a legacy session.
    pub fn start_session(&mut self) -> Client {
        let mut client = self.start();
        client.initialize("2025-11-25");
        client
    }

    fn spawn_child(&mut self) -> Child {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("the server did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A client that can also misbehave.
pub struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Messages that came while another was waited for.
    early: VecDeque<Value>,
    stderr: Arc<Mutex<String>>,
    stderr_reader: Option<std::thread::JoinHandle<()>>,
    next_id: i64,
}

impl Client {
    fn new(mut child: Child) -> Self {
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&stderr);
        let stderr_reader = child.stderr.take().map(|from| {
            std::thread::spawn(move || {
                for line in BufReader::new(from).lines().map_while(Result::ok) {
                    kept.lock().unwrap().push_str(&(line + "\n"));
                }
            })
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines, early: VecDeque::new(), stderr, stderr_reader, next_id: 1 }
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the session well, and returns all that the server has logged.
    pub fn all_it_said(mut self) -> String {
        self.close_input();
        let status = wait(&mut self.child);
        self.stderr_reader.take().expect("it is joined once").join().unwrap();
        let said = self.stderr.lock().unwrap().clone();
        assert!(status.success(), "{status}: {said}");
        said
    }

    /// Ends the server as a crash of the machine would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What the server logged so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Opens a legacy session; returns the result of `initialize`.
    pub fn initialize(&mut self, version: &str) -> Value {
        let answer = self.request(
            "initialize",
            json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}}),
        );
        self.notify("notifications/initialized", json!({}));
        answer["result"].clone()
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().expect("the input is open").write_all(bytes).unwrap();
    }

    /// Sends bytes, and says whether anybody took them.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.stdin.as_mut().expect("the input is open").write_all(bytes).is_ok()
    }

    /// Sends a line.
    pub fn send_line(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    pub fn send(&mut self, message: &Value) {
        self.send_line(&message.to_string());
    }

    pub fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Sends a request and returns its id without waiting.
    pub fn begin(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// Sends a request and waits for its answer.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        self.answer(id)
    }

    /// Begins a `tools/call`.
    pub fn begin_call(&mut self, tool: &str, arguments: Value) -> i64 {
        self.begin("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Calls a tool and returns the whole answer.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.begin_call(tool, arguments);
        self.answer(id)
    }

    /// Calls a tool that must succeed and returns its first text block.
    pub fn call_text(&mut self, tool: &str, arguments: Value) -> String {
        let answer = self.call(tool, arguments);
        let result = &answer["result"];
        assert_ne!(result["isError"], true, "{answer}");
        result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {answer}")).to_owned()
    }

    /// Calls a tool that must fail and returns the fault code and the text.
    pub fn call_fault(&mut self, tool: &str, arguments: Value) -> (String, String) {
        fault(&self.call(tool, arguments))
    }

    /// Waits for the answer to `id`, keeping what else comes for later.
    pub fn answer(&mut self, id: impl Into<Value>) -> Value {
        let id = id.into();
        self.wait_for(|message| message.get("id") == Some(&id) && message.get("method").is_none())
    }

    /// Waits for a notification of `method`.
    pub fn notification(&mut self, method: &str) -> Value {
        self.wait_for(|message| message["method"] == method)
    }

    /// Waits for the next message, whatever it is.
    pub fn next(&mut self) -> Value {
        self.wait_for(|_| true)
    }

    /// The messages that came while others were waited for, and were not asked for.
    pub fn leftovers(&self) -> Vec<Value> {
        self.early.iter().cloned().collect()
    }

    /// Waits for a message that fits, keeping what else comes for later.
    pub fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(position) = self.early.iter().position(&wanted) {
            return self.early.remove(position).unwrap();
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let line = match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => panic!("no answer within {PATIENCE:?}; log:\n{}", self.stderr()),
                Err(RecvTimeoutError::Disconnected) => panic!("the server is gone; log:\n{}", self.stderr()),
            };
            let message = message(&line);
            if wanted(&message) {
                return message;
            }
            self.early.push_back(message);
        }
    }

    /// Closes the input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal, for example `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Closes the input and waits for the end: what else was written, and how the process ended.
    pub fn finish(mut self) -> (Vec<Value>, ExitStatus) {
        self.close_input();
        self.ended()
    }

    /// Whether the server is gone.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end: how the process ended, whatever it was about to write.
    pub fn status(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Waits for the end without closing the input: what else was written, and how the process ended.
    pub fn ended(&mut self) -> (Vec<Value>, ExitStatus) {
        let status = wait(&mut self.child);
        let mut rest: Vec<Value> = self.early.drain(..).collect();
        rest.extend(self.lines.iter().map(|line| message(&line)));
        (rest, status)
    }

    /// Calls a tool with a ContextFrame.
    pub fn call_framed(&mut self, tool: &str, arguments: Value, frame: Value) -> Value {
        let meta = json!({"io.nurones/context": frame});
        self.request("tools/call", json!({"name": tool, "arguments": arguments, "_meta": meta}))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
