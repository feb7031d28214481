//! Tables of a measurement.

use std::fmt::Write;

use super::super::claim::Verdict;
use super::super::compare::{COMPARED, Comparison};
use super::super::metric::Metric;
use super::super::parts::{CallShare, Step, StepMedian};
use super::super::report::Report;
use super::super::table::time;
use super::pictures::class;
use super::text::{escaped, grouped};

/// A table: headings, and rows of which the first cell is a name.
fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = String::from("<div class=\"scroll\"><table>\n<tr>");
    headings.iter().for_each(|heading| out.push_str(&format!("<th>{}</th>", escaped(heading))));
    out.push_str("</tr>\n");
    for row in rows {
        out.push_str("<tr>");
        row.iter().for_each(|cell| out.push_str(&format!("<td>{}</td>", escaped(cell))));
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
    out
}

fn shown_time(us: Option<f64>) -> String {
    us.map_or("–".to_owned(), time)
}

fn shown(metric: Metric, value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| metric.shown(value))
}

/// The figures a person looks at first.
pub(super) fn cards(report: &Report) -> String {
    let latency = &report.latency_us;
    let bad = |count: u64| if count > 0 { "bad" } else { "" };
    let cards = [
        (
            "good answers",
            format!("{}/s", grouped(report.goodput)),
            format!("of {}/s offered", grouped(report.offered_rps)),
            "",
        ),
        ("p50", shown_time(latency.p50), "half took at most that".to_owned(), ""),
        (
            "p99",
            shown_time(latency.p99),
            format!("p99.9 {}, max {}", shown_time(latency.p99_9), shown_time(latency.max)),
            "",
        ),
        (
            "errors",
            grouped(report.errors as f64),
            format!("of {} answers", grouped(report.answered as f64)),
            bad(report.errors),
        ),
        (
            "shed",
            grouped(report.shed as f64),
            format!("refused at p99 within {}", shown_time(report.shed_latency_us.p99)),
            "",
        ),
        ("lost", grouped(report.lost as f64), format!("of {} calls", grouped(report.sent as f64)), bad(report.lost)),
        ("CPU per call", shown(Metric::CpuPerCall, report.server.cpu_us_per_call), "of the server".to_owned(), ""),
        (
            "memory",
            shown(Metric::RssMb, report.server.rss_mb_end),
            format!("{} at the start", shown(Metric::RssMb, report.server.rss_mb_start)),
            "",
        ),
    ];
    let mut out = String::from("<div class=\"cards\">\n");
    for (name, value, about, class) in cards {
        let _ = writeln!(out, "<div class=\"{class}\"><small>{name}</small><b>{value}</b><small>{about}</small></div>");
    }
    out.push_str("</div>\n");
    out
}

/// Medians of the servers, and what they are beside the first.
pub(super) fn compared(comparison: &Comparison) -> String {
    let mut out = String::from("<div class=\"scroll\"><table>\n<tr><th>median of the rounds</th>");
    let counted = [Metric::Errors, Metric::Shed, Metric::Lost];
    let metrics: Vec<Metric> = COMPARED.into_iter().chain(counted).collect();
    metrics.iter().for_each(|metric| out.push_str(&format!("<th>{}</th>", metric.heading())));
    out.push_str("</tr>\n");
    for (index, server) in comparison.servers.iter().enumerate() {
        let _ = write!(
            out,
            "<tr><td class=\"key\"><span class=\"{}\"><i></i>{}</span></td>",
            class(index),
            escaped(&server.name)
        );
        for metric in &metrics {
            let _ = write!(out, "<td>{}</td>", shown(*metric, metric.over(&server.rounds)));
        }
        out.push_str("</tr>\n");
    }
    for ratios in &comparison.ratios {
        let _ = write!(out, "<tr class=\"ratio\"><td>{} / {}</td>", escaped(&ratios.name), escaped(&ratios.to));
        for metric in &metrics {
            let ratio = ratios.figures.get(metric.name()).copied().flatten();
            let cell = ratio.map(|ratio| {
                format!("<b>{:.2} ×</b><br><small>{:.2} to {:.2}</small>", ratio.median, ratio.low, ratio.high)
            });
            let _ = write!(out, "<td>{}</td>", cell.unwrap_or_default());
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
    out
}

/// Whether what was asserted holds.
pub(super) fn verdicts(verdicts: &[Verdict]) -> String {
    let mut out = String::new();
    for verdict in verdicts {
        let class = if verdict.holds { "holds" } else { "broken" };
        let _ = writeln!(out, "<li class=\"{class}\">{}</li>", escaped(&verdict.to_string()));
    }
    if out.is_empty() { out } else { format!("<h2>Asserted</h2>\n<ul>\n{out}</ul>\n") }
}

/// What became of each step.
pub(super) fn steps(steps: &[Step]) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let row = |step: &Step| {
        let mut row = vec![format!("{} to {} s", step.from_s, step.to_s)];
        row.extend([step.offered, step.goodput].map(grouped));
        row.extend([step.p50_us, step.p99_us].map(shown_time));
        row.extend([step.shed, step.errors, step.lost].map(|count| grouped(count as f64)));
        row
    };
    let headings = ["step", "offered/s", "good/s", "p50", "p99", "shed", "errors", "lost"];
    format!("<h2>Steps</h2>\n{}", table(&headings, &steps.iter().map(row).collect::<Vec<_>>()))
}

/// What became of each step, server beside server.
pub(super) fn compared_steps(comparison: &Comparison) -> String {
    let row = |servers: Vec<Option<&StepMedian>>| {
        let step = servers.iter().flatten().next();
        let load = step.map(|step| [format!("{} to {} s", step.from_s, step.to_s), grouped(step.offered)]);
        let medians = servers.into_iter().flat_map(|step| {
            let goodput = step.and_then(|step| step.goodput);
            [goodput.map_or("–".to_owned(), grouped), shown_time(step.and_then(|step| step.p99_us))]
        });
        load.into_iter().flatten().chain(medians).collect()
    };
    let rows: Vec<Vec<String>> = comparison.steps().into_iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let columns_of = |name: &str| [format!("{name} good/s"), format!("{name} p99")];
    let names: Vec<String> = comparison.servers.iter().flat_map(|server| columns_of(&server.name)).collect();
    let headings: Vec<&str> = ["step", "offered/s"].into_iter().chain(names.iter().map(String::as_str)).collect();
    format!("<h2>Steps: the medians of the rounds</h2>\n{}", table(&headings, &rows))
}

/// What became of each call of a mix.
pub(super) fn calls(calls: &[CallShare]) -> String {
    if calls.is_empty() {
        return String::new();
    }
    let row = |call: &CallShare| {
        let mut row = vec![call.tool.clone(), call.weight.to_string()];
        row.extend([call.sent, call.good].map(|count| grouped(count as f64)));
        row.extend([call.p50_us, call.p99_us].map(shown_time));
        row.extend([call.shed, call.errors].map(|count| grouped(count as f64)));
        row
    };
    let headings = ["call", "weight", "sent", "good", "p50", "p99", "shed", "errors"];
    format!("<h2>Calls</h2>\n{}", table(&headings, &calls.iter().map(row).collect::<Vec<_>>()))
}

/// All quantiles, the generator's own figures, and what was seen.
pub(super) fn details(report: &Report) -> String {
    let quantiles = |latency: &super::super::times::Latency| {
        [latency.p50, latency.p90, latency.p95, latency.p99, latency.p99_9, latency.max].map(shown_time)
    };
    let mut rows = vec![(String::from("good answers"), &report.latency_us)];
    if report.shed > 0 {
        rows.push(("refusals".to_owned(), &report.shed_latency_us));
    }
    if let Some(lag) = &report.generator.lag_us {
        rows.push(("sent late by".to_owned(), lag));
    }
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, latency)| [name].into_iter().chain(quantiles(latency)).collect()).collect();
    let mut out = table(&["latency", "p50", "p90", "p95", "p99", "p99.9", "max"], &rows);
    let seen = report.first_errors.iter().map(|seen| format!("{} × {}: {}", seen.count, seen.kind, seen.message));
    let ended = report.ended_early.iter().map(|why| format!("ended early: {why}"));
    let stopped = report.stopped.then(|| "stopped before its time, as asked".to_owned());
    for line in seen.chain(ended).chain(stopped) {
        let _ = writeln!(out, "<p class=\"seen\">{}</p>", escaped(&line));
    }
    out
}
