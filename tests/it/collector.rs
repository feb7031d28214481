//! A collector of spans: as much HTTP as the exporter speaks.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1 as wire;
use prost::Message;
use serde_json::{Map, Value};

use crate::process::eventually;
use crate::support::{PATIENCE, ServerCommand};

/// See the module documentation.
pub struct Collector {
    address: SocketAddr,
    spans: Receiver<Span>,
    connections: Arc<AtomicUsize>,
}

/// A span as it arrived.
#[derive(Debug)]
pub struct Span {
    pub name: String,
    pub is_server: bool,
    pub trace_id: String,
    pub parent_id: String,
    pub trace_state: String,
    /// The message, if the status is an error.
    pub error: Option<String>,
    pub attributes: Map<String, Value>,
    /// Who sent it.
    pub resource: Map<String, Value>,
}

impl Span {
    /// A text attribute; `-` when it is not there.
    pub fn text(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("-", |value| value.as_str().unwrap_or("?"))
    }
}

impl Collector {
    /// One that takes spans.
    pub fn start() -> Self {
        Self::with(serve)
    }

    /// One that takes connections and never says a word.
    pub fn silent() -> Self {
        let held = Mutex::new(Vec::new());
        Self::with(move |stream, _| held.lock().unwrap().push(stream))
    }

    fn with(serve: impl Fn(TcpStream, &Sender<Span>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, spans) = channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let (serve, sender) = (Arc::clone(&serve), sender.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &sender));
            }
        });
        Self { address, spans, connections }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets `server` send its spans here, and soon.
    pub fn attach<'a>(&self, server: &'a mut ServerCommand) -> &'a mut ServerCommand {
        server.env("OTEL_EXPORTER_OTLP_ENDPOINT", self.url());
        server.env("OTEL_BSP_SCHEDULE_DELAY", "10").env("NO_PROXY", "127.0.0.1")
    }

    /// The next span.
    pub fn span(&self) -> Span {
        self.spans.recv_timeout(PATIENCE).expect("a span")
    }

    /// The spans that arrived and were not asked for.
    pub fn rest(&self) -> Vec<Span> {
        self.spans.try_iter().collect()
    }

    /// How often somebody connected, once everybody who did is counted.
    pub fn connections(&self) -> usize {
        let before = self.connections.load(Ordering::SeqCst);
        // Connections are accepted in order, so after ours the others are known.
        let _ours = TcpStream::connect(self.address).unwrap();
        eventually("the collector accepts", || self.connections.load(Ordering::SeqCst) > before);
        let all = self.connections.load(Ordering::SeqCst);
        self.connections.fetch_sub(1, Ordering::SeqCst);
        all - 1
    }
}

/// Answers one connection's requests.
fn serve(mut stream: TcpStream, spans: &Sender<Span>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some((line, body)) = request(&mut reader) {
        assert_eq!(line, "POST /v1/traces HTTP/1.1");
        for span in decode(&body) {
            // The test may be through with us.
            let _ = spans.send(span);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
    }
}

/// The first line and the body of the next request.
fn request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let length = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.expect("a length")];
    reader.read_exact(&mut body).unwrap();
    Some((lines.swap_remove(0), body))
}

fn decode(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).expect("protobuf");
    let mut spans = Vec::new();
    for group in request.resource_spans {
        let resource = attributes(&group.resource.unwrap_or_default().attributes);
        let all = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(all.map(|span| read(span, &resource)));
    }
    spans
}

fn read(span: wire::Span, resource: &Map<String, Value>) -> Span {
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano && span.start_time_unix_nano > 0);
    assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
    let error = wire::status::StatusCode::Error as i32;
    Span {
        name: span.name,
        is_server: span.kind == wire::span::SpanKind::Server as i32,
        trace_id: hex(&span.trace_id),
        parent_id: hex(&span.parent_span_id),
        trace_state: span.trace_state,
        error: span.status.filter(|status| status.code == error).map(|status| status.message),
        attributes: attributes(&span.attributes),
        resource: resource.clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(list: &[KeyValue]) -> Map<String, Value> {
    let mut map = Map::new();
    for attribute in list {
        let value = match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => Value::from(text.as_str()),
            Some(any_value::Value::IntValue(number)) => Value::from(*number),
            other => panic!("{}: {other:?}", attribute.key),
        };
        assert!(map.insert(attribute.key.clone(), value).is_none(), "{} is there twice", attribute.key);
    }
    map
}
