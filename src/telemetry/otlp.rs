//! Sends spans to a collector: OTLP, protobuf over HTTP, in batches, from a thread of the SDK's own.
//!
//! A call hands its span to a bounded queue and goes on. What finds the queue full is dropped and counted; a collector
//! that is slow or gone costs spans, never calls. Each kind of loss is said once, and what it came to at the end.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor,
};

use super::clean_span;
use super::settings::Settings;

/// How long the end of the process may wait for the last spans to be sent.
const FLUSH: Duration = Duration::from_secs(1);

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// What makes spans; `None` while nobody wants them.
pub fn tracer() -> Option<&'static SdkTracer> {
    TRACER.get()
}

/// Spans on their way to a collector.
pub struct Traces {
    provider: SdkTracerProvider,
    tally: Arc<Tally>,
}

/// Begins to send spans if the environment asks for it; at most once in a process.
///
/// Call it outside of any async runtime: the client blocks, and has a runtime of its own.
pub fn start() -> Option<Traces> {
    let var = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let (endpoint, queue) = match Settings::read(var) {
        Settings::Off => return None,
        Settings::Wrong(problem) => {
            tracing::warn!("no spans are sent: {problem}");
            return None;
        }
        Settings::On { endpoint, queue, ignored } => {
            ignored.iter().for_each(|problem| tracing::warn!("{problem}"));
            (endpoint, queue)
        }
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(&endpoint)
        .with_protocol(Protocol::HttpBinary)
        .build();
    let exporter = match exporter {
        Ok(exporter) => exporter,
        Err(error) => {
            tracing::warn!("no spans are sent: {error}; correct the OTEL_* variables");
            return None;
        }
    };
    let tally = Arc::new(Tally::new(endpoint, queue));
    let exporter = Counting { exporter, tally: Arc::clone(&tally) };
    let batches = BatchConfigBuilder::default().with_max_queue_size(queue).build();
    let inner = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let gate = Gate { inner, tally: Arc::clone(&tally) };
    let provider = SdkTracerProvider::builder().with_resource(resource(var)).with_span_processor(gate).build();
    TRACER.set(provider.tracer(NAME)).ok()?;
    Some(Traces { provider, tally })
}

impl Traces {
    /// Sends what is left, for one second at most, and says what was lost. No span begins afterwards.
    pub fn end(self) {
        // On time or not, the tally knows what became of the spans.
        let _ = self.provider.shutdown_with_timeout(FLUSH);
        let (lost, ended) = self.tally.lost();
        if lost > 0 {
            tracing::warn!("spans that did not reach {}: {lost} of {ended}", self.tally.endpoint);
        }
    }
}

/// Who sends the spans. What the environment says wins.
fn resource(var: impl Fn(&str) -> Option<String>) -> Resource {
    let own = [
        KeyValue::new("service.name", NAME),
        KeyValue::new("service.version", VERSION),
        // Clients start a server each.
        KeyValue::new("service.instance.id", uuid::Uuid::now_v7().to_string()),
    ];
    let named = var("OTEL_SERVICE_NAME").filter(|name| !name.is_empty());
    Resource::builder_empty()
        .with_attributes(own)
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())])
        .with_attributes(named.map(|name| KeyValue::new("service.name", name)))
        .build()
}

/// What became of the spans. The SDK counts only for itself, and would warn of every batch.
#[derive(Debug)]
struct Tally {
    endpoint: String,
    /// The most that may wait.
    queue: usize,
    waiting: AtomicUsize,
    ended: AtomicU64,
    delivered: AtomicU64,
    full: AtomicBool,
    failed: AtomicBool,
}

impl Tally {
    fn new(endpoint: String, queue: usize) -> Self {
        Self {
            endpoint,
            queue,
            waiting: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            full: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// Counts a span that ended; whether there is room for it.
    fn admit(&self) -> bool {
        self.ended.fetch_add(1, Ordering::Relaxed);
        let room = self.waiting.fetch_add(1, Ordering::AcqRel) < self.queue;
        if !room {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            if !self.full.swap(true, Ordering::Relaxed) {
                let queue = self.queue;
                tracing::warn!("spans are dropped: {queue} wait to be sent already; this is said once");
            }
        }
        room
    }

    /// Counts a batch that was sent, or not.
    fn sent(&self, spans: usize, result: &OTelSdkResult) {
        match result {
            Ok(()) => {
                self.delivered.fetch_add(spans as u64, Ordering::Relaxed);
            }
            Err(error) if !self.failed.swap(true, Ordering::Relaxed) => {
                let endpoint = &self.endpoint;
                tracing::warn!("spans do not reach {endpoint}: {error}; is a collector there? this is said once");
            }
            Err(_) => {}
        }
    }

    /// How many of the spans that ended were not delivered.
    fn lost(&self) -> (u64, u64) {
        let ended = self.ended.load(Ordering::Relaxed);
        (ended.saturating_sub(self.delivered.load(Ordering::Relaxed)), ended)
    }
}

/// Lets no more spans into the SDK's queue than it has room for.
#[derive(Debug)]
struct Gate {
    inner: BatchSpanProcessor,
    tally: Arc<Tally>,
}

impl SpanProcessor for Gate {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.tally.admit() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Counts what leaves the queue, and how it fares.
#[derive(Debug)]
struct Counting {
    exporter: opentelemetry_otlp::SpanExporter,
    tally: Arc<Tally>,
}

impl SpanExporter for Counting {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        batch.iter_mut().for_each(clean_span::clean);
        self.tally.waiting.fetch_sub(spans, Ordering::AcqRel);
        let result = self.exporter.export(batch).await;
        self.tally.sent(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        // It has what OTEL_RESOURCE_ATTRIBUTES says.
        self.exporter.set_resource(&clean_span::clean_resource(resource));
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn what_was_not_delivered_is_lost_whether_dropped_or_refused() {
        let tally = Tally::new("http://localhost".to_owned(), 2);
        assert_eq!([(); 3].map(|()| tally.admit()), [true, true, false]);
        assert_eq!(tally.lost(), (3, 3));
        tally.waiting.fetch_sub(2, Ordering::Relaxed);
        tally.sent(1, &Ok(()));
        tally.sent(1, &Err(OTelSdkError::AlreadyShutdown));
        assert!(tally.admit(), "what was taken makes room");
        assert_eq!(tally.lost(), (3, 4));
    }

    #[test]
    fn the_name_of_the_service_can_be_set() {
        let name = |given: Option<&str>| {
            let given = given.map(str::to_owned);
            resource(|_| given.clone()).get(&"service.name".into()).unwrap().to_string()
        };
        assert_eq!((name(None), name(Some("mine")), name(Some(""))), (NAME.into(), "mine".into(), NAME.into()));
    }
}
