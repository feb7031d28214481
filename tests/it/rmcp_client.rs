//! A client that others wrote: the one of rmcp, over a child process, in both eras.

use std::process::Stdio;

use rmcp::model::{CallToolRequestParams, CallToolResult, ErrorCode, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService, ServiceError};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::support::{PATIENCE, Sandbox};

type Session = RunningService<RoleClient, ()>;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "content");
    sandbox.prebuilt_tool("probe", "probe", json!({"deadline_ms": 3_600_000}));
    sandbox
}

fn modes() -> [(ClientLifecycleMode, ProtocolVersion); 3] {
    let modern = ProtocolVersion::V_2026_07_28;
    let auto = ClientLifecycleMode::Auto { preferred_versions: vec![modern.clone()], legacy_version: None };
    [
        (ClientLifecycleMode::Initialize, ProtocolVersion::V_2025_11_25),
        (ClientLifecycleMode::Discover { preferred_versions: vec![modern.clone()] }, modern.clone()),
        (auto, modern),
    ]
}

async fn open(sandbox: &Sandbox, mode: ClientLifecycleMode) -> (Session, Child) {
    let mut server = sandbox.server();
    server.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut command = Command::from(std::mem::replace(server.command(), std::process::Command::new("")));
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let pipes = child.stdout.take().zip(child.stdin.take()).unwrap();
    (().serve_with_lifecycle(pipes, mode).await.unwrap(), child)
}

/// Runs `test` once per way to begin; a hang is a failure.
fn in_every_era(test: impl AsyncFn(&Session)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (mode, version) in modes() {
        let session = async {
            let sandbox = sandbox();
            let (client, mut child) = open(&sandbox, mode.clone()).await;
            assert_eq!(client.peer_info().unwrap().protocol_version, version, "{mode:?}");
            test(&client).await;
            client.cancel().await.unwrap();
            assert!(child.wait().await.unwrap().success(), "{mode:?}");
        };
        runtime.block_on(async { tokio::time::timeout(PATIENCE, session).await }).expect("the session hangs");
    }
}

async fn call(client: &Session, tool: &'static str, arguments: Value) -> Result<CallToolResult, ServiceError> {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await
}

fn text(result: &CallToolResult) -> &str {
    &result.content[0].as_text().expect("a text block").text
}

#[test]
fn it_lists_the_tools() {
    in_every_era(async |client| {
        let tools = client.list_all_tools().await.unwrap();
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        assert_eq!(names, ["fs_read", "fs_write", "probe"]);
    });
}

#[test]
fn it_calls_a_tool() {
    in_every_era(async |client| {
        let result = call(client, "fs_read", json!({"path": "a.txt"})).await.unwrap();
        assert_eq!((text(&result), result.is_error), ("content", Some(false)));
    });
}

#[test]
fn it_gets_a_tool_error_as_a_result() {
    in_every_era(async |client| {
        let result = call(client, "probe", json!({"verb": "trap"})).await.unwrap();
        assert_eq!(result.is_error, Some(true));
        let meta = result.meta.as_ref().unwrap();
        assert_eq!(meta.get("io.nurones/fault").unwrap()["code"], "tool_trapped");
    });
}

#[test]
fn it_gets_a_protocol_error_as_an_error() {
    in_every_era(async |client| match call(client, "no_such_tool", json!({})).await {
        Err(ServiceError::McpError(error)) => assert_eq!(error.code, ErrorCode::INVALID_PARAMS),
        other => panic!("{other:?}"),
    });
}

#[test]
fn it_has_many_calls_in_flight() {
    in_every_era(async |client| {
        let calls = (0..100).map(|n| {
            let peer = client.peer().clone();
            tokio::spawn(async move {
                let said = n.to_string();
                let arguments = json!({"verb": "echo", "text": said});
                let request =
                    CallToolRequestParams::new("probe").with_arguments(arguments.as_object().unwrap().clone());
                assert_eq!(text(&peer.call_tool(request).await.unwrap()), said);
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
    });
}

#[test]
fn it_can_give_a_call_up() {
    in_every_era(async |client| {
        let sleep = json!({"verb": "sleep", "ms": 3_600_000});
        let gave_up = tokio::time::timeout(std::time::Duration::from_millis(20), call(client, "probe", sleep)).await;
        assert!(gave_up.is_err(), "{gave_up:?}");
        let result = call(client, "fs_read", json!({"path": "a.txt"})).await.unwrap();
        assert_eq!(text(&result), "content");
    });
}
