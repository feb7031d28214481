//! Pairs of measurements: what the runtime does, beside the least that does the same.
//!
//! criterion measures the two halves of a pair one after the other, which gives good times and a history. The ratio is
//! taken from rounds in which the halves take turns: whatever else the machine does, it does to both.
//!
//! `make bench-check` leaves criterion out: shorter rounds, and each ratio against its limit in `limits.txt`.

#[path = "limits.rs"]
mod limits;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use limits::Limits;

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};

/// Rounds for the ratio. In each, both halves run for [`TURN`].
const ROUNDS: usize = 15;

/// Long enough that starting and ending a turn does not matter.
const TURN: Duration = Duration::from_millis(100);

/// Rounds for a check, and how long each half runs in them.
const CHECK_ROUNDS: usize = 9;
const CHECK_TURN: Duration = Duration::from_millis(30);

/// Set by `make bench-check`.
const CHECK: &str = "NURONES_BENCH_CHECK";

/// Measures pairs, and prints their ratios at the end.
pub struct Compare {
    criterion: Criterion,
    rows: Vec<String>,
    /// The limits that hold here, if they are to be checked.
    check: Option<Limits>,
    /// What is wrong, one line each.
    wrong: Vec<String>,
}

impl Compare {
    /// Of this bench, as `limits.txt` calls it. Takes its options from the command line, as `cargo bench -- --help`
    /// shows them.
    pub fn new(bench: &str) -> Self {
        let check = std::env::var_os(CHECK).map(|_| Limits::of(bench));
        let criterion = Criterion::default()
            .sample_size(20)
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(3))
            .without_plots()
            .configure_from_args();
        Self { criterion, rows: Vec::new(), check, wrong: Vec::new() }
    }

    /// Measures one pair. Each half makes as many calls as it is told and says how long they took.
    pub fn pair(&mut self, name: &str, ours: impl FnMut(u64) -> Duration, bare: impl FnMut(u64) -> Duration) {
        if let Some(limits) = &mut self.check {
            if let Some(limit) = limits.take(name) {
                self.check(name, limit, ours, bare);
            }
            return;
        }
        let mut group = self.criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        let halves = (Half::measure(&mut group, "ours", ours), Half::measure(&mut group, "bare", bare));
        group.finish();
        if let (Some(mut ours), Some(mut bare)) = halves {
            let rounds = Rounds::of(&mut ours, &mut bare, ROUNDS);
            self.rows.push(rounds.row(name));
        }
    }

    /// Whether the ratio of a pair is within its limit; if not, it has a second chance, as the machine may have been busy.
    fn check(&mut self, name: &str, limit: f64, ours: impl FnMut(u64) -> Duration, bare: impl FnMut(u64) -> Duration) {
        let (mut ours, mut bare) = (Half::calibrated(ours), Half::calibrated(bare));
        let mut rounds = Rounds::of(&mut ours, &mut bare, CHECK_ROUNDS);
        if rounds.ratio > limit {
            rounds = Rounds::of(&mut ours, &mut bare, CHECK_ROUNDS);
        }
        let verdict = if rounds.ratio > limit { "too slow" } else { "ok" };
        if rounds.ratio > limit {
            self.wrong.push(format!("{name}: {:.2} times the bare half, the limit is {limit}", rounds.ratio));
        }
        self.rows.push(format!("{} limit {limit}, {verdict} |", rounds.row(name)));
    }

    /// Prints the ratios as a table, ready for `README.md`. Fails if one was to be checked and is over its limit, or was
    /// not there.
    pub fn finish(mut self) -> ExitCode {
        if !self.rows.is_empty() {
            say("| bench | ours | bare | ours / bare | half of the rounds | ours, calls/s |");
            say("|---|---:|---:|---:|---:|---:|");
            self.rows.iter().for_each(|row| say(row));
        }
        let unmet = self.check.iter().flat_map(Limits::rest);
        self.wrong.extend(unmet.map(|name| format!("{name}: it has a limit and there is no such bench")));
        self.wrong.iter().for_each(|wrong| say(&format!("REGRESSION {wrong}")));
        if self.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Makes `calls` calls of something that blocks and takes its time.
#[allow(dead_code, reason = "not every bench has a half that blocks")]
pub fn timed<T>(calls: u64, mut call: impl FnMut() -> T) -> Duration {
    let began = Instant::now();
    for _ in 0..calls {
        black_box(call());
    }
    began.elapsed()
}

/// One half of a pair, and how many calls of it make a turn.
struct Half<F> {
    run: F,
    turn: u64,
    ns: Vec<f64>,
}

impl<F: FnMut(u64) -> Duration> Half<F> {
    /// Lets criterion measure it; `None` if it was filtered out or only tried.
    fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut run: F) -> Option<Self> {
        let mut turn = 0;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|calls| {
                let took = run(calls);
                if calls > 1 {
                    turn = (calls as f64 * TURN.as_secs_f64() / took.as_secs_f64()) as u64;
                }
                took
            });
        });
        (turn > 0).then_some(Self { run, turn, ns: Vec::new() })
    }

    /// Finds out how many calls make a short turn.
    fn calibrated(mut run: F) -> Self {
        let (mut calls, mut took) = (1, run(1));
        while took < CHECK_TURN / 3 {
            calls *= 2;
            took = run(calls);
        }
        let turn = (calls as f64 * CHECK_TURN.as_secs_f64() / took.as_secs_f64()).max(1.0) as u64;
        Self { run, turn, ns: Vec::new() }
    }

    /// Takes a turn, and notes the time of a call.
    fn turn(&mut self) {
        let took = (self.run)(self.turn);
        self.ns.push(took.as_secs_f64() * 1e9 / self.turn as f64);
    }
}

/// What came of letting both take turns: medians, and the middle half of the ratios.
struct Rounds {
    ours: f64,
    bare: f64,
    low: f64,
    ratio: f64,
    high: f64,
}

impl Rounds {
    fn of<F, G>(ours: &mut Half<F>, bare: &mut Half<G>, rounds: usize) -> Self
    where
        F: FnMut(u64) -> Duration,
        G: FnMut(u64) -> Duration,
    {
        (ours.ns, bare.ns) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            if round % 2 == 0 {
                ours.turn();
                bare.turn();
            } else {
                bare.turn();
                ours.turn();
            }
        }
        let ratios: Vec<f64> = ours.ns.iter().zip(&bare.ns).map(|(ours, bare)| ours / bare).collect();
        let [low, ratio, high] = [0.25, 0.5, 0.75].map(|share| quantile(&ratios, share));
        Self { ours: quantile(&ours.ns, 0.5), bare: quantile(&bare.ns, 0.5), low, ratio, high }
    }

    fn row(&self, name: &str) -> String {
        let Self { ours, bare, low, ratio, high } = *self;
        let per_second = 1e9 / ours;
        format!("| `{name}` | {} | {} | {ratio:.2} | {low:.2} – {high:.2} | {per_second:.0} |", time(ours), time(bare))
    }
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn time(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{ns:.1} ns"),
        1e3..1e6 => format!("{:.2} µs", ns / 1e3),
        _ => format!("{:.2} ms", ns / 1e6),
    }
}

#[expect(clippy::print_stdout, reason = "a bench is read on the terminal; only the server must not print")]
fn say(line: &str) {
    println!("{line}");
}
