//! `demo`: a real client session against this very binary, told for a person to read.
//!
//! The client is rmcp's, the server a child process over pipes, the files real files in a folder that is removed at
//! the end. Every step says what was asked, what came back, and fails the demo when that is not what was promised.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rmcp::model::{CallToolRequestParams, CallToolResult, RequestMetaObject};
use rmcp::service::{RoleClient, RunningService};
use rmcp::{ServiceError, ServiceExt};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::exit::{Exit, complain, print, run_on_control_plane};
use crate::drill::stage::PROBE;
use crate::frame;
use crate::load::{self, Arrivals, Call, Mode, Plan, Rate};
use crate::mcp::error::FAULT_META_KEY;

/// How long the supervision log may take to show what happened.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the demo.
pub fn run() -> Exit {
    run_on_control_plane(async {
        match demo().await {
            Ok(()) => Exit::Done,
            Err(problem) => {
                complain(&format!("the demo failed: {problem}"));
                Exit::Failed
            }
        }
    })
}

async fn demo() -> Result<(), String> {
    let folder = Folder::create()?;
    let session = Session::open(&folder).await?;
    session.list().await?;
    session.write_and_read().await?;
    session.refusals(&folder).await?;
    session.crash(&folder).await?;
    session.close().await?;
    under_load(&folder).await?;
    say("", "")?;
    say("to use it", "put this into your MCP client's configuration (VS Code: .vscode/mcp.json, key \"servers\"):")?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let line = json!({ "nurones": { "command": program, "args": ["--allow", "/your/folder:rw"] } });
    say("", &line.to_string())
}

/// One line of the transcript.
fn say(step: &str, text: &str) -> Result<(), String> {
    print(format!("{step:>14}  {text}\n").as_bytes()).map_err(|error| error.to_string())
}

/// What the demo works in; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("nurones-demo-{}", uuid::Uuid::now_v7()));
        let folder = Self(path);
        let manifest = json!({
            "name": "probe", "version": "1.1.0", "entry": "wasm://probe.wasm", "permissions": [],
            "description": "The test guest: does what it is told, crashing included."
        });
        let build = || -> std::io::Result<()> {
            std::fs::create_dir(&folder.0)?;
            std::fs::create_dir(folder.0.join("files"))?;
            std::fs::create_dir(folder.0.join("tools"))?;
            std::fs::write(folder.0.join("secret.txt"), "outside of what is allowed\n")?;
            std::fs::write(folder.0.join("tools/probe.wasm"), PROBE)?;
            std::fs::write(folder.0.join("tools/probe.json"), manifest.to_string())
        };
        build().map_err(|error| format!("cannot prepare {}: {error}", folder.0.display()))?;
        Ok(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Session {
    client: RunningService<RoleClient, ()>,
    server: Child,
}

impl Session {
    async fn open(folder: &Folder) -> Result<Self, String> {
        let files = folder.path("files");
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let began = Instant::now();
        let mut server = Command::new(program)
            .arg("--allow")
            .arg(format!("{}:rw", files.display()))
            .arg("--tools")
            .arg(folder.path("tools"))
            .arg("--supervision-log")
            .arg(folder.path("supervision.jsonl"))
            .env_remove("NURONES_CONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start the server: {error}"))?;
        let pipes = server.stdout.take().zip(server.stdin.take()).ok_or("the server has no pipes")?;
        let client = ().serve(pipes).await.map_err(|error| format!("the handshake failed: {error}"))?;
        let version = client.peer_info().map(|info| info.protocol_version.to_string()).unwrap_or_default();
        say("start", &format!("server up in {:.0?}, speaking MCP {version} over pipes", began.elapsed()))?;
        say("allowed", &format!("{} for reading and writing, nothing else", files.display()))?;
        Ok(Self { client, server })
    }

    async fn list(&self) -> Result<(), String> {
        let tools = self.client.list_all_tools().await.map_err(|error| error.to_string())?;
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        expect(names == ["fs_read", "fs_write", "probe"], "the tool list", &names)?;
        say("tools/list", &names.join(", "))
    }

    async fn write_and_read(&self) -> Result<(), String> {
        let text = "written by one guest, read by another\n";
        let (result, took) = self.timed("fs_write", json!({"path": "note.txt", "content": text})).await?;
        say("fs_write", &format!("{} in {took:.0?}", first_text(&result)))?;
        let (result, took) = self.timed("fs_read", json!({"path": "note.txt"})).await?;
        expect(first_text(&result) == text, "the content read back", &result.content)?;
        say("fs_read", &format!("{:?} in {took:.0?}", first_text(&result)))
    }

    async fn refusals(&self, folder: &Folder) -> Result<(), String> {
        for path in [PathBuf::from("../secret.txt"), folder.path("secret.txt"), PathBuf::from("/etc/passwd")] {
            let result = self.call("fs_read", json!({"path": path}), None).await?;
            let code = fault_code(&result);
            expect(code == "permission_denied", "an escape", &result)?;
            say("escape", &format!("{} -> {code}", shown(folder, &path)))?;
        }
        let read_only = json!({"tenant_id": "demo", "flags": {"read_only": true}});
        let result = self
            .call("fs_write", json!({"path": "note.txt", "content": "x", "mode": "overwrite"}), Some(read_only))
            .await?;
        let code = fault_code(&result);
        expect(code == "permission_denied", "a write under read_only", &result)?;
        say("read_only", &format!("fs_write with flags.read_only in its ContextFrame -> {code}"))
    }

    async fn crash(&self, folder: &Folder) -> Result<(), String> {
        let result = self.call("probe", json!({"verb": "trap"}), None).await?;
        let code = fault_code(&result);
        expect(code == "tool_trapped", "a crash", &result)?;
        say("crash", &format!("probe told to trap -> {code}: {}", first_text(&result)))?;
        let line = logged_fault(&folder.path("supervision.jsonl")).await?;
        say(
            "supervision",
            &format!(
                "{} {} reason {} ({}); store rebuilt in {} µs",
                line["path"].as_str().unwrap_or("?"),
                line["event"].as_str().unwrap_or("?"),
                line["reason"]["kind"].as_str().unwrap_or("?"),
                line["reason"]["code"].as_str().unwrap_or("?"),
                line["restart"]["took_us"],
            ),
        )?;
        let (result, took) = self.timed("probe", json!({"verb": "echo", "text": "alive"})).await?;
        expect(first_text(&result) == "alive", "the call after the crash", &result.content)?;
        say("after", &format!("probe answers {:?} in {took:.0?}", first_text(&result)))?;
        let (result, took) = self.timed("fs_read", json!({"path": "note.txt"})).await?;
        say("after", &format!("fs_read never noticed: {} bytes in {took:.0?}", first_text(&result).len()))
    }

    async fn close(mut self) -> Result<(), String> {
        self.client.cancel().await.map_err(|error| error.to_string())?;
        let status = self.server.wait().await.map_err(|error| error.to_string())?;
        expect(status.success(), "the server's end", &status)?;
        say("end", "input closed; server answered everything and left with exit code 0")
    }

    async fn call(&self, tool: &str, arguments: Value, context: Option<Value>) -> Result<CallToolResult, String> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let mut request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        if let Some(context) = context {
            let mut meta = RequestMetaObject::new();
            meta.insert(frame::META_KEY.to_owned(), context);
            request.meta = Some(meta);
        }
        self.client.call_tool(request).await.map_err(|error: ServiceError| format!("{tool}: {error}"))
    }

    /// A call that must succeed, and how long it took.
    async fn timed(&self, tool: &str, arguments: Value) -> Result<(CallToolResult, Duration), String> {
        let began = Instant::now();
        let result = self.call(tool, arguments, None).await?;
        let took = began.elapsed();
        expect(result.is_error != Some(true), tool, &result)?;
        Ok((result, took))
    }
}

/// Ten seconds of many calls, on a server of their own.
async fn under_load(folder: &Folder) -> Result<(), String> {
    let files = folder.path("files");
    std::fs::write(files.join("one-kib.txt"), [b'x'; 1024]).map_err(|error| error.to_string())?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mode = Mode::Open { rate: Rate::Steady(10_000.0), arrivals: Arrivals::Fixed };
    let arguments = serde_json::Map::from_iter([("path".to_owned(), "one-kib.txt".into())]);
    let plan = Plan { warm_up: Duration::from_secs(1), ..Plan::new(mode, Call::new("fs.read", &arguments)) };
    say("load", "10,000 reads a second of a 1 KiB file for 10 s; latency counts from when a call was due")?;
    let measured = tokio::task::spawn_blocking(move || {
        let mut server = std::process::Command::new(program);
        server.arg("--allow").arg(files).env_remove("NURONES_CONFIG");
        load::run(&plan, &mut server, &mut |_| std::ops::ControlFlow::Continue(()))
    });
    let report = measured.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    for line in report.to_string().lines() {
        let (step, text) = line.trim_start().split_once("  ").unwrap_or(("", line));
        say(step, text)?;
    }
    expect(report.is_complete() && report.errors == 0, "10 s under load", &report)
}

fn expect(holds: bool, what: &str, seen: &dyn std::fmt::Debug) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{what} is not as promised: {seen:?}")) }
}

fn first_text(result: &CallToolResult) -> &str {
    result.content.first().and_then(|block| block.as_text()).map_or("", |text| &text.text)
}

fn fault_code(result: &CallToolResult) -> &str {
    let fault = result.meta.as_ref().and_then(|meta| meta.get(FAULT_META_KEY));
    fault.and_then(|fault| fault["code"].as_str()).unwrap_or("no fault")
}

fn shown(folder: &Folder, path: &Path) -> String {
    path.strip_prefix(&folder.0)
        .map_or_else(|_| path.display().to_string(), |inside| format!("<demo>/{}", inside.display()))
}

/// The line of the supervision log about the crash; it is written a moment after the answer.
async fn logged_fault(log: &Path) -> Result<Value, String> {
    let until = Instant::now() + LOG_PATIENCE;
    while Instant::now() < until {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(line) = lines.into_iter().find(|line| line["event"] == "call_faulted") {
            return Ok(line);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Err("the supervision log does not show the crash".to_owned())
}
