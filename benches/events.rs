//! The event bus and the journal at the rates they must hold. Not a pair: the figures are rates and a latency, and the
//! bench fails if one of them is missed.

use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use nurones_mcp::actors::event_bus::{EventBus, EventBusActor};
use nurones_mcp::config::{Fsync, JournalPolicy, Retention};
use nurones_mcp::events::{Class, Event};
use nurones_mcp::journal::{FILE, Journal, Reader, WAITING};
use ractor::Actor;

/// How long each is measured.
const TIME: Duration = Duration::from_secs(3);

/// Set by `make bench-check`, where the machine may be busy: then only that nothing is missing counts.
const CHECK: &str = "NURONES_BENCH_CHECK";

/// A publisher looks at the clock once for so many events.
const AT_ONCE: u64 = 50;

fn main() -> ExitCode {
    let held = [
        through_the_bus(500_000, 1000),
        into_the_journal(50_000, Fsync::Batch),
        into_the_journal(50_000, Fsync::Never),
    ];
    if held.iter().all(|held| *held) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A bus with its actor on a thread of its own, as the control plane is. The thread ends with the process.
fn bus() -> EventBus {
    let bus = EventBus::default();
    let actors = bus.clone();
    in_thread(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
        runtime.block_on(async {
            let (_actor, joined) = Actor::spawn(None, EventBusActor, actors).await.expect("the bus can be started");
            let _ = joined.await;
        });
    });
    bus
}

/// Publishes `per_second` evenly; returns how many were taken on, and how many were offered each second.
fn publish(bus: &EventBus, per_second: u64) -> (u64, f64) {
    let stream = std::sync::Arc::<str>::from("root/tools/fs_read/w0");
    let (began, events) = (Instant::now(), per_second * TIME.as_secs());
    let mut taken = 0;
    for number in 0..events {
        if number % AT_ONCE == 0 {
            let due = began + Duration::from_secs_f64(number as f64 / per_second as f64);
            while Instant::now() < due {
                std::thread::yield_now();
            }
        }
        let event = Event::new("call_finished", std::sync::Arc::clone(&stream), Class::Low);
        taken += u64::from(bus.publish(event).is_some());
    }
    (taken, events as f64 / began.elapsed().as_secs_f64())
}

/// From the publisher to a subscriber on a third thread.
fn through_the_bus(per_second: u64, most_us: u64) -> bool {
    let bus = bus();
    let mut subscription = bus.subscribe(Class::Low, WAITING, None);
    let subscriber = in_thread(move || {
        let mut latency_us = Histogram::<u64>::new(3).expect("three digits are few enough");
        while let Ok(batch) = subscription.next(None) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
            batch.iter().for_each(|event| latency_us.saturating_record(now.saturating_sub(event.at_us as u64)));
        }
        (latency_us, subscription.lost())
    });
    let (taken, rate) = publish(&bus, per_second);
    bus.close();
    let (latency_us, lost) = subscriber.join().expect("the subscriber does not panic");
    let p99_us = latency_us.value_at_quantile(0.99);
    let shed: u64 = bus.counts().shed.iter().sum();
    let whole = latency_us.len() + lost == taken && taken + shed == per_second * TIME.as_secs();
    let quick = rate >= 0.99 * per_second as f64 && p99_us <= most_us && shed + lost == 0;
    let held = whole && (quick || is_check());
    say(&format!(
        "bus: {rate:.0} events/s, p50 {} us, p99 {p99_us} us, max {} us, {shed} shed, {lost} lost: {}",
        latency_us.value_at_quantile(0.5),
        latency_us.max(),
        word(held)
    ));
    held
}

/// From the publisher to the disk.
fn into_the_journal(per_second: u64, fsync: Fsync) -> bool {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let keep = Retention { rows: 100_000_000, age: Duration::from_secs(3600), bytes: 1 << 40 };
    let policy = JournalPolicy { journaled: Some(Class::Low), fsync, keep };
    let bus = bus();
    let events = bus.subscribe(Class::Low, WAITING, None);
    let journal = Journal::start(folder.path().to_owned(), "bench".to_owned(), policy, events);
    let journal = journal.expect("a thread can be started");
    let began = Instant::now();
    let (taken, rate) = publish(&bus, per_second);
    bus.close();
    journal.finish(Duration::from_secs(60));
    let took = began.elapsed();
    let verdict = Reader::open(&folder.path().join(FILE)).and_then(|reader| reader.check()).expect("it can be read");
    let written = verdict.events as f64 / took.as_secs_f64();
    let whole = verdict.gaps.is_empty() && verdict.events as u64 == taken;
    let quick = rate >= 0.99 * per_second as f64 && taken == per_second * TIME.as_secs();
    let held = whole && (quick || is_check());
    say(&format!(
        "journal, fsync {fsync:?}: {rate:.0} events/s published, {} of {taken} written, {written:.0}/s to the last: {}",
        verdict.events,
        word(held)
    ));
    held
}

fn in_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::Builder::new().name("bench".to_owned()).spawn(run).expect("a thread can be started")
}

fn is_check() -> bool {
    std::env::var_os(CHECK).is_some()
}

fn word(held: bool) -> &'static str {
    if held { "holds" } else { "MISSED" }
}

fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
