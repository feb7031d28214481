//! Spans: what a collector gets of every call, and that a client notices nothing of it.

use serde_json::{Value, json};

use crate::cancel::begin_endless;
use crate::collector::{Collector, Span};
use crate::eras::{MODERN, modern};
use crate::process::eventually;
use crate::support::{Client, Output, Sandbox, ServerCommand, fault, text};

const HOUR_MS: u64 = 3_600_000;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "content");
    sandbox
}

/// Compiling the probe takes a while, so it is there only where it is called.
fn sandbox_with_probe() -> Sandbox {
    let sandbox = sandbox();
    let limits = json!({"version": "2.3.4", "deadline_ms": HOUR_MS, "workers": 1, "queue_depth": 1});
    sandbox.prebuilt_tool("probe", "probe", limits);
    sandbox
}

/// Parameters of a call that reads the file there is.
fn reading(meta: Value) -> Value {
    json!({"name": "fs.read", "arguments": {"path": "a.txt"}, "_meta": meta})
}

fn traced(flags: &str) -> Value {
    json!({"traceparent": format!("00-{TRACE}-{CALLER}-{flags}"), "tracestate": "rojo=1,congo=t61"})
}

fn assert_ended(span: &Span, outcome: &str, code: &str) {
    assert_eq!((span.text("nurones.outcome"), span.text("nurones.fault.code")), (outcome, code), "{span:?}");
    let is_error = !["finished", "cancelled"].contains(&outcome);
    assert_eq!(span.error.is_some(), is_error, "{span:?}");
    assert_eq!(span.attributes.contains_key("error.type"), is_error, "{span:?}");
}

#[test]
fn a_call_is_a_span_below_that_of_its_caller() {
    let (sandbox, collector) = (sandbox(), Collector::start());
    let mut client = collector.attach(&mut sandbox.server()).start_session();
    let mut meta = traced("01");
    meta["io.nurones/context"] = json!({"reason_trace_id": "because", "tenant_id": "acme"});
    assert_eq!(text(&client.request("tools/call", reading(meta))), "content");
    let span = collector.span();
    assert_eq!((span.name.as_str(), span.is_server, &span.error), ("tools/call fs_read", true, &None));
    assert_eq!((span.trace_id.as_str(), span.parent_id.as_str()), (TRACE, CALLER));
    assert_eq!(span.trace_state, "rojo=1,congo=t61");
    let mut attributes = span.attributes;
    let version = attributes.remove("nurones.tool.version").expect("a version");
    assert!(version.as_str().unwrap().split('.').count() == 3, "{version}");
    let expected = json!({
        "mcp.method.name": "tools/call",
        "mcp.protocol.version": "2025-11-25",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "fs_read",
        "network.transport": "pipe",
        "nurones.guest.kind": "tool component",
        "nurones.reason_trace_id": "because",
        "nurones.tenant_id": "acme",
        "nurones.outcome": "finished",
    });
    assert_eq!(Value::Object(attributes), expected);
    assert_eq!(span.resource["service.name"], "nurones-mcp");
    assert_eq!(span.resource["service.version"], env!("CARGO_PKG_VERSION"));
    let (rest, status) = client.finish();
    assert!(rest.is_empty() && status.success(), "{rest:?} {status}");
    assert!(collector.rest().is_empty(), "one call is one span");
}

#[test]
fn a_modern_call_is_traced_the_same() {
    let (sandbox, collector) = (sandbox(), Collector::start());
    let mut client = collector.attach(&mut sandbox.server()).start();
    assert_eq!(text(&client.request("tools/call", modern(reading(traced("01"))))), "content");
    let span = collector.span();
    assert_eq!((span.trace_id.as_str(), span.text("mcp.protocol.version")), (TRACE, MODERN));
    assert_ended(&span, "finished", "-");
}

#[test]
fn the_environment_names_the_service_and_the_place() {
    let (sandbox, collector) = (sandbox(), Collector::start());
    let mut server = sandbox.server();
    let mut client = collector
        .attach(&mut server)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://nowhere.invalid")
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/v1/traces", collector.url()))
        .env("OTEL_SERVICE_NAME", "mine")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=other")
        .start_session();
    client.call_text("fs_read", json!({"path": "a.txt"}));
    let resource = collector.span().resource;
    assert_eq!((&resource["service.name"], &resource["deployment.environment.name"]), (&json!("mine"), &json!("test")));
}

#[test]
fn a_fault_is_an_error_with_its_code() {
    let (sandbox, collector) = (sandbox_with_probe(), Collector::start());
    let mut client = collector.attach(&mut sandbox.server()).start_session();
    for (tool, arguments, code) in [
        ("probe", json!({"verb": "trap"}), "tool_trapped"),
        ("fs_read", json!({"path": "none.txt"}), "not_found"),
        ("fs_read", json!({"path": "../secret"}), "permission_denied"),
    ] {
        let (told, message) = client.call_fault(tool, arguments);
        assert_eq!(told, code);
        let span = collector.span();
        assert_ended(&span, "faulted", code);
        assert_eq!(span.text("error.type"), "tool_error");
        assert_eq!(span.error, Some(message));
    }
    assert_eq!(client.call_text("probe", json!({"verb": "echo", "text": "x"})), "x");
    let span = collector.span();
    assert_ended(&span, "finished", "-");
    assert_eq!(span.text("nurones.tool.version"), "2.3.4");
}

#[test]
fn a_cancelled_call_is_cancelled_and_no_error() {
    let (sandbox, collector) = (sandbox_with_probe(), Collector::start());
    let mut client = collector.attach(&mut sandbox.server()).start_session();
    let id = begin_endless(&mut client, "endless");
    client.notify("notifications/cancelled", json!({"requestId": id}));
    let span = collector.span();
    assert_ended(&span, "cancelled", "-");
    assert_eq!(span.name, "tools/call probe");
}

#[test]
fn a_call_cut_short_by_the_end_is_lost() {
    let (sandbox, collector) = (sandbox_with_probe(), Collector::start());
    sandbox.write("conf/config.json", json!({"shutdown": {"drainMs": 50}}).to_string());
    let mut server = sandbox.server();
    server.arg("--config").arg(sandbox.path("conf/config.json"));
    let mut client = collector.attach(&mut server).start_session();
    let id = begin_endless(&mut client, "endless");
    let (rest, status) = client.finish();
    assert!(status.success());
    let answer = rest.iter().find(|message| message["id"] == id).expect("an answer");
    assert_eq!(fault(answer).0, "worker_lost");
    assert_ended(&collector.span(), "lost", "worker_lost");
}

#[test]
fn a_call_that_was_not_tried_is_refused_with_its_reason() {
    let (sandbox, collector) = (sandbox(), Collector::start());
    let mut client = collector.attach(&mut sandbox.server()).start_session();
    let read_only = json!({"io.nurones/context": {"flags": {"read_only": true}}});
    let write = json!({"path": "b.txt", "content": "x"});
    for (params, name, code, kind) in [
        (json!({"name": "fs_read", "arguments": {"path": 1}}), "fs_read", "invalid_arguments", "tool_error"),
        (
            json!({"name": "fs_write", "arguments": write, "_meta": read_only}),
            "fs_write",
            "permission_denied",
            "tool_error",
        ),
        (json!({"name": "no_such_tool"}), "-", "-", "-32602"),
        (reading(json!({"io.nurones/context": {"stage": "qa"}})), "fs_read", "-", "-32602"),
    ] {
        let answer = client.request("tools/call", params);
        let span = collector.span();
        assert_ended(&span, "refused", code);
        assert_eq!((span.text("gen_ai.tool.name"), span.text("error.type")), (name, kind), "{answer}");
        let told = answer["error"]["message"].as_str().or_else(|| answer["result"]["content"][0]["text"].as_str());
        assert_eq!(span.error.as_deref(), told);
    }
}

#[test]
fn a_call_that_found_the_queue_full_is_refused() {
    let (sandbox, collector) = (sandbox_with_probe(), Collector::start());
    let mut client = collector.attach(&mut sandbox.server()).start_session();
    // One runs, one waits.
    (0..3).for_each(|_| {
        client.begin_call("probe", json!({"verb": "sleep", "ms": HOUR_MS}));
    });
    assert_eq!(client.next()["error"]["data"]["reason"], "queue_full");
    let span = collector.span();
    assert_ended(&span, "refused", "queue_full");
    assert_eq!((span.text("error.type"), span.text("rpc.response.status_code")), ("-31503", "-31503"));
}

#[test]
fn a_long_message_of_a_tool_is_cut_off() {
    let (sandbox, collector) = (sandbox_with_probe(), Collector::start());
    let mut client = collector.attach(&mut sandbox.server()).start_session();
    let path = "ü".repeat(2000);
    let (_, message) = client.call_fault("fs_read", json!({ "path": path }));
    let said = collector.span().error.unwrap();
    assert!(message.starts_with(&said) && (1000..=1024).contains(&said.len()), "{} of {}", said.len(), message.len());
}

#[test]
fn a_malformed_traceparent_starts_a_trace_of_its_own() {
    let (sandbox, collector) = (sandbox(), Collector::start());
    let mut client = collector.attach(&mut sandbox.server()).start_session();
    for parent in [json!(format!("ff-{TRACE}-{CALLER}-01")), json!("nonsense"), json!(7), json!({}), Value::Null] {
        let meta = json!({"traceparent": parent, "tracestate": "rojo=1"});
        assert_eq!(text(&client.request("tools/call", reading(meta))), "content");
        let span = collector.span();
        assert_ne!(span.trace_id, TRACE);
        assert_eq!((span.parent_id.as_str(), span.trace_state.as_str()), ("", ""), "{parent}");
    }
}

#[test]
fn a_caller_that_is_not_sampled_is_followed() {
    let (sandbox, collector) = (sandbox(), Collector::start());
    let mut client = collector.attach(&mut sandbox.server()).start_session();
    assert_eq!(text(&client.request("tools/call", reading(traced("00")))), "content");
    assert_eq!(text(&client.request("tools/call", reading(json!({})))), "content");
    assert_ne!(collector.span().trace_id, TRACE, "the first call has no span");
}

/// A session of one call; what was written to both outputs, once it is checked that the client noticed nothing.
fn session(server: &mut ServerCommand) -> Output {
    let initialize =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}});
    let lines = [
        json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": initialize}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": reading(traced("01"))}),
    ];
    let output = server.run(lines.map(|line| format!("{line}\n")).concat());
    output.assert_success();
    assert_eq!(output.messages().len(), 2, "{}", output.stdout);
    assert_eq!(text(&output.answer(1)), "content");
    output
}

#[test]
fn nothing_is_sent_unless_asked_for() {
    let (sandbox, collector) = (sandbox(), Collector::start());
    let output = session(&mut sandbox.server());
    assert_eq!(output.stderr, "");
    for (name, value) in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let output = session(collector.attach(&mut sandbox.server()).env(name, value));
        assert_eq!(output.stderr, "", "{name}");
    }
    assert_eq!(collector.connections(), 0);
    session(collector.attach(&mut sandbox.server()));
    assert_eq!(collector.connections(), 1, "the count counts");
}

#[test]
fn only_the_server_sends_spans() {
    let (sandbox, collector) = (sandbox(), Collector::start());
    let mut command = sandbox.server();
    command.args(["call", "fs_read", r#"{"path":"a.txt"}"#]);
    let output = collector.attach(&mut command).run("");
    assert_eq!((output.stdout.as_str(), output.stderr.as_str(), collector.connections()), ("content", "", 0));
}

#[test]
fn what_cannot_be_sent_is_said_once_and_the_server_serves() {
    let (sandbox, collector) = (sandbox(), Collector::start());
    for (name, value, said) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4318", "without TLS"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "not a URL"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a b", "invalid"),
        ("OTEL_TRACES_EXPORTER", "console", "otlp or none"),
    ] {
        let output = session(collector.attach(&mut sandbox.server()).env(name, value));
        let lines: Vec<&str> = output.stderr.lines().collect();
        assert!(lines.len() == 1 && lines[0].contains("no spans are sent"), "{name}={value}: {lines:?}");
        assert!(lines[0].contains(said), "{name}={value}: {lines:?}");
    }
    assert_eq!(collector.connections(), 0);
}

#[test]
fn without_a_collector_the_client_notices_nothing_and_the_log_says_it_once() {
    let sandbox = sandbox();
    // A port nobody listens on: it was given to us a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = sandbox.server();
    server.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{free}")).env("OTEL_BSP_SCHEDULE_DELAY", "1");
    let mut client = server.env("NO_PROXY", "127.0.0.1").start_session();
    eventually("the failure is said", || {
        assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), "content");
        client.stderr().contains("is a collector there")
    });
    (0..20).for_each(|_| drop(client.call_text("fs_read", json!({"path": "a.txt"}))));
    let stderr = ended(client);
    assert_eq!(stderr.matches("is a collector there").count(), 1, "{stderr}");
    assert_eq!(stderr.lines().count(), 2, "and how many at the end: {stderr}");
}

#[test]
fn a_collector_that_hangs_costs_spans_and_no_calls() {
    let (sandbox, collector) = (sandbox(), Collector::silent());
    let mut server = sandbox.server();
    let mut client = collector.attach(&mut server).env("OTEL_BSP_MAX_QUEUE_SIZE", "2").start_session();
    for _ in 0..50 {
        assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), "content");
    }
    let stderr = ended(client);
    assert_eq!(stderr.matches("spans are dropped").count(), 1, "{stderr}");
    assert!(stderr.contains(": 50 of 50"), "{stderr}");
    assert_eq!(collector.connections(), 1);
}

/// Ends the session, which must succeed; what the server said.
fn ended(mut client: Client) -> String {
    client.close_input();
    let (rest, status) = client.ended();
    assert!(rest.is_empty() && status.success(), "{rest:?} {status}");
    eventually("how much was lost is said", || client.stderr().contains("spans that did not reach"));
    client.stderr()
}
