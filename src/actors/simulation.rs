//! A tool under fire, simulated: its workers, its gate and its supervision log, on a virtual clock.
//!
//! What happens is chance from a seed; the decisions are those of the real cores ([`Child`], [`Gate`]), and the log they
//! write is judged by `audit`, which knows nothing of the code that writes it. A failure names its seed; setting
//! `NURONES_SIMULATION_SEED` to it runs the very same history again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::Write;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::child::{Child, Circumstances, Exit, Next};
use super::child_spec::ChildSpec;
use super::gate::{Change, Gate, Pass, Verdict};
use super::message::ExitReason;
use super::supervision_log::line::{Stamp, render};
use super::supervision_log::{Reason, Record, Restart, Server};
use crate::audit::entry::Entry;
use crate::audit::rules::Checker;
use crate::config::{RestartKind, SupervisionPolicy};

/// Steps of one run.
const STEPS: usize = 1_000_000;

/// Runs at each test, with seeds of their own.
const RUNS: u64 = 2;

const WORKERS: usize = 2;

/// Between two calls.
const CALL_EVERY: Duration = Duration::from_millis(40);

/// How the world treats the tool, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Nothing fails.
    Calm,
    /// Workers do not get ready.
    BadStart,
    /// Workers crash soon after they are ready.
    Crashes,
    /// Nearly all calls fault.
    Traps,
    /// A bit of everything, supervisors dying included.
    Storm,
}

/// What is going to happen to a worker, or around it. A life number tells what concerns an earlier life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Due(usize),
    Ready(usize, u64),
    Ends(usize, u64),
    Call,
    SupervisorDies,
    WeatherChanges,
}

struct World {
    seed: u64,
    rng: Rng,
    policy: SupervisionPolicy,
    start: Instant,
    now: Duration,
    to_come: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    scheduled: u64,
    weather: Weather,
    calm_since: Duration,
    workers: Vec<Child>,
    /// Restarts of each worker that were no probes, as far back as the intensity's window.
    restarts: Vec<VecDeque<Duration>>,
    /// The last exit of each worker was no fault.
    harmless: [bool; WORKERS],
    gate: Gate,
    /// Trial calls that were let in.
    trials: usize,
    log: Checker,
    seq: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let policy = SupervisionPolicy::default();
        let spec = |n| ChildSpec::worker(format!("root/tools/t/w{n}").into(), RestartKind::Permanent, &policy);
        let mut world = Self {
            seed,
            rng: Rng::with_seed(seed),
            start: Instant::now(),
            now: Duration::ZERO,
            to_come: BinaryHeap::new(),
            scheduled: 0,
            weather: Weather::Calm,
            calm_since: Duration::ZERO,
            workers: (0..WORKERS).map(|n| Child::new(spec(n))).collect(),
            restarts: vec![VecDeque::new(); WORKERS],
            harmless: [false; WORKERS],
            gate: Gate::new(policy.breaker.clone()),
            trials: 0,
            log: Checker::new(),
            seq: 0,
            policy,
        };
        let server = Server { version: "0", context_engine: false, tools: vec!["t".to_owned()], refused: Vec::new() };
        world.write(Record { server: Some(server), ..Record::new("boot", "root".into()) });
        (0..WORKERS).for_each(|n| world.later(Duration::ZERO, Event::Due(n)));
        for event in [Event::Call, Event::SupervisorDies, Event::WeatherChanges] {
            world.later(Duration::from_secs(1), event);
        }
        world
    }

    fn instant(&self) -> Instant {
        self.start + self.now
    }

    fn later(&mut self, wait: Duration, event: Event) {
        self.scheduled += 1;
        self.to_come.push(Reverse((self.now + wait, self.scheduled, event)));
    }

    fn chance(&mut self, of: f64) -> bool {
        self.rng.f64() < of
    }

    fn between_ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.rng.u64(least..most))
    }

    /// Renders and reads back, as the file would.
    fn write(&mut self, record: Record) {
        let at = chrono::DateTime::UNIX_EPOCH + self.now;
        let stamp = Stamp { boot: "b", seq: self.seq, at, since_boot: self.now };
        self.seq += 1;
        let line = render(&record, &stamp);
        let entry: Entry = serde_json::from_slice(&line).unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        self.log.see(&entry);
    }

    fn step(&mut self) {
        let Some(Reverse((at, _, event))) = self.to_come.pop() else { panic!("seed {}: nothing to come", self.seed) };
        self.now = at;
        match event {
            Event::Due(n) => self.start_worker(n),
            Event::Ready(n, life) if self.lives(n, life) => self.ready(n),
            Event::Ends(n, life) if self.lives(n, life) => self.worker_ends(n),
            Event::Ready(..) | Event::Ends(..) => {}
            Event::Call => self.call(),
            Event::SupervisorDies => self.supervisor_dies(),
            Event::WeatherChanges => self.change_weather(),
        }
        self.check();
    }

    fn lives(&self, n: usize, life: u64) -> bool {
        self.workers[n].is_alive() && self.workers[n].incarnation() == life
    }

    fn start_worker(&mut self, n: usize) {
        if self.workers[n].is_alive() {
            return;
        }
        let was_first = self.workers[n].incarnation() == 0;
        let probe = self.workers[n].start();
        if probe.is_none() && !was_first && !self.harmless[n] {
            self.count_restart(n);
        }
        probe.into_iter().for_each(|record| self.write(record));
        let fails = match self.weather {
            Weather::BadStart => 1.0,
            Weather::Storm => 0.4,
            _ => 0.0,
        };
        let (life, takes) = (self.workers[n].incarnation(), self.between_ms(1, 20));
        let event = if self.chance(fails) { Event::Ends(n, life) } else { Event::Ready(n, life) };
        self.later(takes, event);
    }

    /// OTP's promise: never more restarts in a period than the intensity.
    fn count_restart(&mut self, n: usize) {
        let (now, period) = (self.now, self.policy.restart_period);
        let recent = &mut self.restarts[n];
        recent.push_back(now);
        while recent.front().is_some_and(|at| now - *at >= period) {
            recent.pop_front();
        }
        assert!(recent.len() <= self.policy.restart_intensity, "seed {}: restarts {recent:?}", self.seed);
    }

    fn ready(&mut self, n: usize) {
        let now = self.instant();
        let record = self.workers[n].ready(now, false);
        self.write(record);
        let change = self.gate.worker_ready();
        change.into_iter().for_each(|change| self.say(change));
        let lasts = match self.weather {
            Weather::Crashes => self.between_ms(0, 300),
            Weather::Storm => self.between_ms(0, 30_000),
            _ => self.between_ms(60_000, 100_000_000),
        };
        self.later(lasts, Event::Ends(n, self.workers[n].incarnation()));
    }

    fn worker_ends(&mut self, n: usize) {
        let reason = match self.workers[n].is_up() {
            true => ExitReason::HostPanic("simulated".to_owned()),
            false => ExitReason::InitFailed("simulated".to_owned()),
        };
        let zombies = self.weather == Weather::Storm && self.chance(0.05);
        self.exited(n, &Exit::because(reason), zombies);
    }

    fn exited(&mut self, n: usize, exit: &Exit, too_many_zombies: bool) {
        self.harmless[n] = exit.harmless;
        let how = Circumstances { stopping: false, too_many_zombies, jitter: self.rng.f64() };
        let now = self.instant();
        let (next, records) = self.workers[n].exited(now, exit, how);
        records.into_iter().for_each(|record| self.write(record));
        let (wait, most) = match next {
            Next::Start(wait) => (wait, self.policy.backoff_cap),
            Next::Probe(wait) => {
                if !self.any_up() {
                    self.gate.quarantine(self.instant() + wait);
                }
                (wait, self.policy.probe_cap)
            }
            Next::Escalate | Next::Stop => panic!("seed {}: a permanent worker is not given up", self.seed),
        };
        assert!(wait <= most, "seed {}: a wait of {wait:?}", self.seed);
        self.later(wait, Event::Due(n));
    }

    /// What the successor of a tool's supervisor finds, and does.
    fn supervisor_dies(&mut self) {
        let next = self.between_ms(1, 600_000);
        self.later(next, Event::SupervisorDies);
        if self.weather != Weather::Storm {
            return;
        }
        for n in 0..WORKERS {
            if self.workers[n].is_alive() {
                let harmless = self.workers[n].is_up();
                let killed = ExitReason::Killed("its supervisor died".to_owned());
                self.exited(n, &Exit { harmless, ..Exit::because(killed) }, false);
            } else {
                let wait = self.workers[n].still_to_wait(self.instant());
                self.later(wait, Event::Due(n));
            }
        }
    }

    fn call(&mut self) {
        self.later(CALL_EVERY, Event::Call);
        let Ok((pass, change)) = self.gate.admit(self.instant()) else { return };
        change.into_iter().for_each(|change| self.say(change));
        let trial = pass != Pass::Free;
        if trial {
            self.trials += 1;
            assert!(self.gate.admit(self.instant()).is_err(), "seed {}: a second trial call", self.seed);
        }
        let faults = match self.weather {
            Weather::Traps => 0.9,
            Weather::Storm => 0.5,
            _ => 0.0,
        };
        let verdict = match self.chance(faults) {
            true => Verdict::Faulted,
            false if self.weather == Weather::Storm && self.chance(0.1) => Verdict::Unknown,
            false => Verdict::Good,
        };
        for change in self.gate.ended(self.instant(), pass, verdict) {
            self.say(change);
        }
    }

    fn say(&mut self, change: Change) {
        let record = |event| Record::new(event, "root/tools/t".into());
        let record = match change {
            Change::HalfOpened => record("breaker_half_open"),
            Change::Closed => record("breaker_closed"),
            Change::Readmitted => record("readmitted"),
            Change::Opened { open, calls, .. } => Record {
                count: Some(calls as u64),
                reason: Some(Reason::new("too_many_faults", None, "")),
                restart: Some(Restart { backoff_ms: Some(open.as_millis() as u64), ..Restart::new("store") }),
                ..record("breaker_open")
            },
        };
        self.write(record);
    }

    fn change_weather(&mut self) {
        let next = self.between_ms(1000, 1_200_000);
        self.later(next, Event::WeatherChanges);
        let all = [Weather::Calm, Weather::BadStart, Weather::Crashes, Weather::Traps, Weather::Storm];
        let weather = all[self.rng.usize(0..all.len())];
        if weather == Weather::Calm && self.weather != Weather::Calm {
            self.calm_since = self.now;
        }
        self.weather = weather;
    }

    fn any_up(&self) -> bool {
        self.workers.iter().any(Child::is_up)
    }

    fn check(&self) {
        // The longest any wait can be, and the time a worker that had a short life planned still lives.
        let settled = self.policy.probe_cap * 3;
        if self.weather == Weather::Calm && self.now - self.calm_since > settled {
            assert!(self.any_up(), "seed {}: nobody serves after {settled:?} of calm", self.seed);
            assert!(self.gate.is_free(), "seed {}: calls are refused after {settled:?} of calm", self.seed);
        }
    }
}

fn run(seed: u64) -> (u64, usize) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    let verdict = world.log.finish();
    assert!(verdict.is_clean(), "seed {seed}: {:?}", verdict.breaks);
    (world.seq, world.trials)
}

#[test]
fn a_million_steps_of_any_weather_break_no_rule() {
    let given = std::env::var("NURONES_SIMULATION_SEED").ok().and_then(|seed| seed.parse().ok());
    let first = given.unwrap_or_else(|| fastrand::u64(..));
    for seed in (0..if given.is_some() { 1 } else { RUNS }).map(|run| first.wrapping_add(run)) {
        let _ = writeln!(std::io::stderr(), "simulating with NURONES_SIMULATION_SEED={seed}");
        let (records, trials) = run(seed);
        assert!(
            records > 1000 && trials > 10,
            "seed {seed}: {records} records, {trials} trials: too quiet to prove it"
        );
    }
}
