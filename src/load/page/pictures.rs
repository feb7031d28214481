//! What is drawn of a measurement: latency by percentile, throughput, latency, memory and CPU over time, and what became
//! of each step.

use super::super::compare::Comparison;
use super::super::parts::StepMedian;
use super::super::report::Report;
use super::super::series::Second;
use super::axis::{Kind, Scale};
use super::chart::{Chart, Line};
use super::document::Subject;

/// Points of a line over time; seconds beyond that are put together.
const POINTS: usize = 600;

const TIME: (Scale, Kind) = (Scale::Exact, Kind::Seconds);
const LATENCY: (Scale, Kind) = (Scale::Log, Kind::Microseconds);
const OFFER: (Scale, Kind) = (Scale::Exact, Kind::PerSecond);
const RATE: (Scale, Kind) = (Scale::Linear, Kind::PerSecond);

/// All pictures of one server.
pub(super) fn of_one(report: &Report) -> Vec<Chart> {
    let over_time =
        |label: &str, class: &str, of: fn(&Second) -> Option<f64>| line(label, class, over_time(report, of));
    let sheds = report.shed > 0;
    vec![
        percentiles(vec![line("good answers", "good", curve(report))], report.mode),
        Chart {
            title: "Throughput over time",
            about: "calls per second; answers stand where they came",
            x: TIME,
            y: RATE,
            lines: [
                Some(over_time("offered", "offered", |s| Some(s.offered))),
                Some(over_time("good", "good", |s| Some(s.good))),
                sheds.then(|| over_time("shed", "shed", |s| Some(s.shed))),
                (report.errors > 0).then(|| over_time("errors", "errors", |s| Some(s.errors))),
            ]
            .into_iter()
            .flatten()
            .collect(),
        },
        latency_over_time(vec![over_time("p50", "good", |s| s.p50_us), over_time("p99", "shed", |s| s.p99_us)]),
        goodput_by_offer(report),
        latency_by_offer(report),
        memory(vec![over_time("memory", "good", |s| s.rss_mb)]),
        cpu(vec![over_time("CPU", "good", |s| s.cpu_percent)]),
    ]
}

/// All pictures of several servers, a line for each.
pub(super) fn of_several(subjects: &[Subject<'_>], comparison: &Comparison) -> Vec<Chart> {
    let each = |of: fn(&Second) -> Option<f64>| -> Vec<Line> {
        let lines = subjects.iter().enumerate();
        lines.map(|(index, subject)| line(&subject.name, &class(index), over_time(subject.report, of))).collect()
    };
    let curves = subjects.iter().enumerate();
    let curves = curves.map(|(index, subject)| line(&subject.name, &class(index), curve(subject.report))).collect();
    vec![
        percentiles(curves, subjects.first().map_or("open", |subject| subject.report.mode)),
        Chart {
            title: "Goodput over time",
            about: "good answers per second, where they came",
            x: TIME,
            y: RATE,
            lines: each(|s| Some(s.good)),
        },
        latency_over_time(each(|s| s.p99_us)),
        Chart {
            title: "Goodput by load",
            about: "for each step: good answers per second, the median of the rounds",
            x: OFFER,
            y: RATE,
            lines: by_offer(comparison, |step| step.goodput),
        },
        Chart {
            title: "Latency by load",
            about: "for each step: p99 of good answers, the median of the rounds",
            x: OFFER,
            y: LATENCY,
            lines: by_offer(comparison, |step| step.p99_us),
        },
        memory(each(|s| s.rss_mb)),
        cpu(each(|s| s.cpu_percent)),
        rounds(comparison),
    ]
}

/// A line for each server.
fn by_offer(comparison: &Comparison, of: fn(&StepMedian) -> Option<f64>) -> Vec<Line> {
    let lines = comparison.servers.iter().enumerate().map(|(index, server)| {
        line(&server.name, &class(index), server.steps.iter().map(|step| (step.offered, of(step))).collect())
    });
    lines.collect()
}

/// A single round would be a point, which says no more than the table.
fn rounds(comparison: &Comparison) -> Chart {
    let several = comparison.servers.iter().enumerate().filter(|(_, server)| server.rounds.len() > 1);
    let lines = several.map(|(index, server)| {
        let goodput = server.rounds.iter().map(|report| Some(report.goodput));
        line(&server.name, &class(index), (1..).map(f64::from).zip(goodput).collect())
    });
    let about = "good answers per second of each round";
    Chart { title: "Goodput by round", about, x: (Scale::Exact, Kind::Round), y: RATE, lines: lines.collect() }
}

/// The style of one of several servers.
pub(super) fn class(index: usize) -> String {
    format!("c{}", index % 6)
}

fn line(label: &str, class: &str, points: Vec<(f64, Option<f64>)>) -> Line {
    Line { label: label.to_owned(), class: class.to_owned(), points }
}

fn curve(report: &Report) -> Vec<(f64, Option<f64>)> {
    report.latency_curve.iter().map(|(quantile, us)| (*quantile, Some(*us))).collect()
}

/// The highest of the seconds that share a point: what was bad must not disappear.
fn over_time(report: &Report, of: fn(&Second) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
    let together = report.series.len().div_ceil(POINTS).max(1);
    let point = |seconds: &[Second]| {
        let highest = seconds.iter().filter_map(of).reduce(f64::max);
        Some((seconds.last()?.t_s, highest))
    };
    report.series.chunks(together).filter_map(point).collect()
}

/// Latency counts from when a call was due, if the clock decided that.
fn percentiles(lines: Vec<Line>, mode: &str) -> Chart {
    let about = match mode {
        "closed" => "how many of the good answers took at most that long, counted from when the call was sent",
        _ => "how many of the good answers took at most that long, counted from when the call was due",
    };
    Chart { title: "Latency by percentile", about, x: (Scale::Nines, Kind::Quantile), y: LATENCY, lines }
}

fn latency_over_time(lines: Vec<Line>) -> Chart {
    let about = if lines.len() > 1 && lines[0].label == "p50" { "of good answers" } else { "p99 of good answers" };
    Chart { title: "Latency over time", about, x: TIME, y: LATENCY, lines }
}

fn memory(lines: Vec<Line>) -> Chart {
    let about = "in RAM, of the server and all that it started";
    Chart { title: "Memory over time", about, x: TIME, y: (Scale::Linear, Kind::Megabytes), lines }
}

fn cpu(lines: Vec<Line>) -> Chart {
    let about = "100 % is one core";
    Chart { title: "CPU over time", about, x: TIME, y: (Scale::Linear, Kind::Percent), lines }
}

fn goodput_by_offer(report: &Report) -> Chart {
    let steps = || report.steps.iter();
    let lines = vec![
        line("offered", "offered", steps().map(|step| (step.offered, Some(step.offered))).collect()),
        line("good", "good", steps().map(|step| (step.offered, Some(step.goodput))).collect()),
    ];
    let about = "for each step: good answers per second, beside what was asked for";
    Chart { title: "Goodput by load", about, x: OFFER, y: RATE, lines }
}

fn latency_by_offer(report: &Report) -> Chart {
    let steps = || report.steps.iter();
    let lines = vec![
        line("p50", "good", steps().map(|step| (step.offered, step.p50_us)).collect()),
        line("p99", "shed", steps().map(|step| (step.offered, step.p99_us)).collect()),
    ];
    Chart { title: "Latency by load", about: "for each step: of good answers", x: OFFER, y: LATENCY, lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_where_the_loop_counts_it() {
        for (mode, from) in [("open", "the call was due"), ("closed", "the call was sent")] {
            assert!(percentiles(Vec::new(), mode).about.ends_with(from), "{mode}");
        }
    }
}
