//! The soak: high load and a few faults of every sort, for as long as one likes.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use super::call::Call;
use super::catalogue::{Drill, Mutant, Part};
use super::findings::{Broken, Target};
use super::gauges;
use super::history::{Gauge, Id, Outcome};
use super::past::{Past, for_want_of_room};
use super::scene::Scene;
use super::session::{PATIENCE, Session};
use super::stage::Stage;
use super::trend::Trend;
use crate::failpoint::control::Doing;

/// This family.
pub const DRILLS: &[Drill] = &[Drill {
    id: "D30",
    name: "soak",
    about: "thousands of calls a second, and five faults of eight sorts; nothing breaks, and nothing grows",
    own: Part::Background,
    prepare,
    run: soak,
    mutant: Mutant {
        what: "a server that loses a KiB of memory with every call",
        trips: "memory",
        spoil: |stage| stage.arm("mutant.leak", Doing::LeakBytes(1024)),
    },
}];

/// Healthy calls a second. A short run is for any machine, also one that is busy with other things.
const RATE: f64 = 5000.0;
const SHORT_RATE: f64 = 2000.0;

/// Calls that are made at once before all else, and how often.
const BURST: usize = 2000;
const BURSTS: usize = 5;

/// From one fault to the next: one for a thousand healthy calls in a long run.
const BETWEEN: Duration = Duration::from_millis(200);

/// From one look at the process to the next, in faults.
const LOOK: u64 = 5;

/// How long the short form lasts.
const SHORT: Duration = Duration::from_secs(20);

/// From here on a run is long enough to tell a slope from noise.
const TELLING: Duration = Duration::from_secs(600);

/// Until caches are full and tables have grown, in a long run; a short one has a fifth of its time for it.
const WARM_UP: Duration = Duration::from_secs(300);

/// Threads that helped to start have gone by then.
const START: Duration = Duration::from_secs(12);

/// From one line about how it is going to the next.
const PROGRESS: Duration = Duration::from_secs(10);

/// Calls of the faulty tool that go well, for each that faults: so its circuit breaker stays closed.
const GOOD: u64 = 3;

/// A deadline that a fault is to reach.
const DEADLINE_MS: u32 = 100;

/// How long a call sleeps that is not to end by itself.
const LONG_MS: u64 = 3_600_000;

/// Memory of each faulty tool.
const MEMORY_MB: u64 = 16;

/// Looks at the process in quick succession.
const LOOKS: usize = 5;

/// Requests that are not settled yet, beyond which the driver gives up before it is full.
const UNSETTLED: usize = 300_000;

/// Targets.
const SLOPE_MIB_PER_H: f64 = 1.0;
const GROWTH_MIB: f64 = 4.0;
const SPREAD: u64 = 2;
const ON_TIME: f64 = 0.99;

/// A sort of fault. Each has a tool of its own, of the same name.
struct Sort {
    tool: &'static str,
    verb: &'static str,
    /// The fault's code.
    code: &'static str,
    figure: &'static str,
}

const SORTS: &[Sort] = &[
    Sort { tool: "trap", verb: "trap", code: "tool_trapped", figure: "faults_trap" },
    Sort { tool: "spin", verb: "spin", code: "deadline_exceeded", figure: "faults_spin" },
    Sort { tool: "alloc", verb: "alloc", code: "memory_limit", figure: "faults_alloc" },
    Sort { tool: "exit", verb: "exit", code: "exit_code", figure: "faults_exit" },
    Sort { tool: "recurse", verb: "recurse", code: "tool_trapped", figure: "faults_recurse" },
    Sort { tool: "sleep", verb: "sleep", code: "deadline_exceeded", figure: "faults_sleep" },
];

/// The tool whose calls are cancelled.
const CANCELLED: &str = "cancel";

impl Sort {
    fn is_endless(&self) -> bool {
        self.code == "deadline_exceeded"
    }
}

fn prepare(stage: &mut Stage) {
    for tool in SORTS.iter().map(|sort| sort.tool).chain([CANCELLED]) {
        stage.probe(tool, json!({ "memory_mb": MEMORY_MB }));
    }
}

fn soak(scene: &mut Scene) -> Result<(), Broken> {
    scene.stage.healthy_rate = if scene.is_long() { RATE } else { SHORT_RATE };
    let session = scene.open()?;
    let mut soak = Soak {
        rate: scene.stage.healthy_rate,
        length: scene.lasting(SHORT),
        began: Instant::now(),
        talks: scene.is_long() || std::io::stderr().is_terminal(),
        past: Past::default(),
        looks: Vec::new(),
        running: None,
        cancelled: 0,
        garbage: 0,
    };
    let healthy = scene.stage.healthy.clone().control();
    let went = soak.go_on(&session, &healthy).and_then(|()| scene.end(&session));
    session.put_away(&mut soak.past);
    soak.tell(scene);
    went
}

struct Soak {
    rate: f64,
    length: Duration,
    began: Instant,
    talks: bool,
    past: Past,
    /// One a second, with its time since the soak began.
    looks: Vec<(f64, Gauge)>,
    /// The call that is to be cancelled.
    running: Option<Id>,
    cancelled: u64,
    garbage: u64,
}

impl Soak {
    fn go_on(&mut self, session: &Session, healthy: &Call) -> Result<(), Broken> {
        // As many calls at once as the server takes: a machine that stands still for a moment does the same later, and
        // what that makes the server use should be used before anything is measured.
        for _ in 0..BURSTS {
            (0..BURST).for_each(|_| _ = session.call(healthy));
            session.settle(PATIENCE)?;
        }
        session.background(true);
        let mut said = Instant::now();
        for turn in 0.. {
            if self.began.elapsed() >= self.length {
                break;
            }
            self.fault(session, turn);
            session.let_pass(BETWEEN)?;
            if turn.is_multiple_of(LOOK) {
                self.look(session)?;
            }
            if self.talks && said.elapsed() >= PROGRESS {
                said = Instant::now();
                self.progress();
            }
        }
        self.cancel(session);
        Ok(())
    }

    /// One fault, the sorts in turn.
    fn fault(&mut self, session: &Session, turn: u64) {
        self.cancel(session);
        let Some(sort) = SORTS.get(turn as usize % (SORTS.len() + 2)) else {
            return self.fault_of_the_client(session, turn);
        };
        let call = Call::new(sort.tool, json!({ "verb": sort.verb, "code": 3, "ms": LONG_MS }));
        let soon = json!({ "io.nurones/deadlineMs": DEADLINE_MS });
        session.call(&if sort.is_endless() { call.meta(soon).within_ms(DEADLINE_MS) } else { call });
        for _ in 0..GOOD {
            session.call(&Call::new(sort.tool, json!({ "verb": "echo", "text": "well" })));
        }
    }

    /// Takes back the call of the last turn, which is running by now.
    fn cancel(&mut self, session: &Session) {
        if let Some(id) = self.running.take() {
            session.cancel(id);
        }
    }

    fn fault_of_the_client(&mut self, session: &Session, turn: u64) {
        if turn.is_multiple_of(2) {
            self.garbage += 1;
            session.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":\n".to_vec(), 1);
        } else {
            self.cancelled += 1;
            self.running = Some(session.call(&Call::new(CANCELLED, json!({ "verb": "sleep", "ms": LONG_MS }))));
        }
    }

    /// Looks at the process, and judges and forgets what is settled.
    fn look(&mut self, session: &Session) -> Result<(), Broken> {
        session.put_away(&mut self.past);
        if let Some(gauge) = at_rest(session) {
            self.looks.push((self.began.elapsed().as_secs_f64(), gauge));
        }
        let unsettled = session.history(|history| history.requests.len());
        if unsettled > UNSETTLED {
            return Err(Broken::new("I1", format!("{unsettled} requests wait behind one that is not answered")));
        }
        Ok(())
    }

    fn progress(&self) {
        let Some((at_s, gauge)) = self.looks.last() else { return };
        let (rss_mib, p99_ms) = (gauge.rss_bytes >> 20, self.past.healthy_ns.value_at_quantile(0.99) as f64 / 1e6);
        let (calls, failed, broken) = (self.past.requests, self.past.healthy_failed, self.past.broken.len());
        let slope = Trend(self.measured()).rss_slope_mib_per_h();
        // Whoever has closed standard error does not want to know.
        let _ = writeln!(
            std::io::stderr(),
            "soak: {at_s:.0} of {} s, {calls} calls, p99 {p99_ms:.2} ms, {failed} failed, {broken} broken, {rss_mib} MiB \
             ({slope:+.2} MiB/h), {} descriptors, {} threads",
            self.length.as_secs(),
            gauge.fds,
            gauge.threads,
        );
    }

    /// The looks after the warm-up.
    fn measured(&self) -> &[(f64, Gauge)] {
        let short = START.max(self.length / 5).min(self.length * 3 / 4);
        let warm_up = if self.length >= TELLING { WARM_UP } else { short };
        &self.looks[self.looks.partition_point(|(at_s, _)| *at_s < warm_up.as_secs_f64())..]
    }

    fn tell(&self, scene: &mut Scene) {
        let findings = &mut scene.findings;
        self.past.broken.iter().for_each(|broken| findings.broke(broken.clone()));
        let ms = |quantile| self.past.healthy_ns.value_at_quantile(quantile) as f64 / 1e6;
        findings.note("calls", self.past.requests as f64);
        findings.count("healthy_failed", self.past.healthy_failed, Target::Exactly(0.0));
        // How much it takes is a matter of the machine.
        findings.time("healthy_refused", self.past.healthy_refused as f64, Target::Exactly(0.0));
        let good = self.past.healthy_ns.len() as f64;
        findings.time("healthy_per_s", good / self.length.as_secs_f64(), Target::AtLeast(self.rate * ON_TIME));
        findings.note("p50_ms", ms(0.5));
        findings.note("p99_ms", ms(0.99));
        findings.note("p999_ms", ms(0.999));
        let mut odd = 0;
        for sort in SORTS {
            let faults = self.past.count(sort.tool, |outcome| outcome.is_fault(sort.code));
            findings.count(sort.figure, faults, Target::AtLeast(1.0));
            let expected = |outcome: &Outcome| {
                *outcome == Outcome::Good || outcome.is_fault(sort.code) || for_want_of_room(outcome)
            };
            odd += self.past.count(sort.tool, |outcome| !expected(outcome));
        }
        findings.count("faults_cancel", self.cancelled, Target::AtLeast(1.0));
        findings.count("faults_garbage", self.garbage, Target::AtLeast(1.0));
        findings.count("odd_answers", odd, Target::Exactly(0.0));
        findings.check("odd_answers", odd == 0, || format!("tools and their answers: {:?}", self.past.faults));
        self.tell_growth(scene);
    }

    fn tell_growth(&self, scene: &mut Scene) {
        let findings = &mut scene.findings;
        let trend = Trend(self.measured());
        let (start, end, slope) = (trend.rss_start_mib(), trend.rss_end_mib(), trend.rss_slope_mib_per_h());
        let growth = end - start;
        findings.note("rss_start_mib", start);
        findings.note("rss_end_mib", end);
        if self.length >= TELLING {
            findings.shown("rss_slope_mib_per_h", slope, Target::AtMost(SLOPE_MIB_PER_H));
            findings.check("memory", slope <= SLOPE_MIB_PER_H, || format!("it grows by {slope:.2} MiB an hour"));
        } else {
            findings.note("rss_slope_mib_per_h", slope);
            findings.shown("rss_growth_mib", growth, Target::AtMost(GROWTH_MIB));
            findings.check("memory", growth <= GROWTH_MIB, || format!("it grew by {growth:.2} MiB"));
        }
        let ranges =
            [("fds", "fds_spread", trend.range(|g| g.fds)), ("threads", "threads_spread", trend.range(|g| g.threads))];
        for (most, spread, (low, high)) in ranges {
            findings.note(most, high as f64);
            findings.count(spread, high - low, Target::AtMost(SPREAD as f64));
        }
        if let Some(own) = gauges::look(std::process::id()) {
            findings.note("driver_rss_mib", (own.rss_bytes >> 20) as f64);
        }
    }
}

/// What the server uses beside the calls it is just working on: the least of several looks.
fn at_rest(session: &Session) -> Option<Gauge> {
    let look = |_| {
        std::thread::sleep(Duration::from_millis(2));
        session.gauge()
    };
    (0..LOOKS).filter_map(look).reduce(|least, next| Gauge {
        rss_bytes: least.rss_bytes.min(next.rss_bytes),
        fds: least.fds.min(next.fds),
        threads: least.threads.min(next.threads),
        ..next
    })
}
