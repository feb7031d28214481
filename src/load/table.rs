//! What was measured, for a person to read.

use std::fmt::{Display, Formatter, Result};

use super::columns::columns;
use super::compare::{COMPARED, Comparison, Ratio};
use super::metric::Metric;
use super::parts::{CallShare, Step, StepMedian};
use super::report::{Generator, Report, ServerUse};
use super::times::Latency;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        // What the server said stands in some of these, and may be made to take over a terminal.
        let mut row = |name: &str, text: &str| writeln!(f, "{name:>10}  {}", harmless(text));
        row("load", &load(self))?;
        row("offered", &format!("{:.1}/s, {} calls", self.offered_rps, self.sent))?;
        row("achieved", &format!("{:.1}/s, {:.2} % of what was offered", self.achieved_rps, self.goodput_percent))?;
        row("latency", &quantiles(&self.latency_us))?;
        row("errors", &count(self.errors, self.unexpected, "unexpected answers"))?;
        row("shed", &shed(self))?;
        row("lost", &count(self.lost, self.unsent, "never taken by the server"))?;
        row("server", &cpu(&self.server))?;
        row("memory", &memory(&self.server))?;
        row("generator", &generator(&self.generator))?;
        for seen in &self.first_errors {
            row("seen", &format!("{} x {}: {}", seen.count, seen.kind, seen.message))?;
        }
        if self.other_errors > 0 {
            row("seen", &format!("{} more with other texts", self.other_errors))?;
        }
        if let Some(why) = &self.ended_early {
            row("ended", why)?;
        }
        if self.stopped {
            row("stopped", "before its time, as asked; the figures are of the part that was measured")?;
        }
        for rows in [step_rows(&self.steps), call_rows(&self.calls)].iter().filter(|rows| rows.len() > 1) {
            write!(f, "\n{}", columns(rows))?;
        }
        Ok(())
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let names = COMPARED.iter().map(|metric| metric.heading().to_owned());
        let counts = ["errors", "shed", "lost"].map(str::to_owned);
        let mut rows = vec![std::iter::once("median".to_owned()).chain(names).chain(counts).collect()];
        for server in &self.servers {
            let medians = COMPARED.iter().map(|metric| shown(*metric, metric.over(&server.rounds)));
            let counts = [Metric::Errors, Metric::Shed, Metric::Lost];
            let counts = counts.iter().map(|metric| shown(*metric, metric.over(&server.rounds)));
            rows.push(std::iter::once(harmless(&server.name)).chain(medians).chain(counts).collect());
        }
        for ratios in &self.ratios {
            let figures = COMPARED.iter().map(|metric| ratios.figures.get(metric.name()).copied().flatten());
            let text = |ratio: Option<Ratio>| ratio.map_or("-".to_owned(), |ratio| format!("{:.2} x", ratio.median));
            let name = harmless(&format!("{} / {}", ratios.name, ratios.to));
            rows.push(std::iter::once(name).chain(figures.map(text)).collect());
        }
        f.write_str(&columns(&rows))?;
        for ratios in &self.ratios {
            let Some(Some(goodput)) = ratios.figures.get(Metric::Goodput.name()) else { continue };
            let rounds = self.servers.first().map_or(0, |server| server.rounds.len());
            let (name, to) = (harmless(&ratios.name), harmless(&ratios.to));
            let Ratio { low, high, .. } = goodput;
            writeln!(f, "{name} has {low:.2} to {high:.2} times the goodput of {to}; rounds: {rounds}")?;
        }
        let rounds = self.servers.iter().flat_map(|server| server.rounds.iter().map(|round| (&server.name, round)));
        for (name, why) in rounds.filter_map(|(name, round)| Some((name, round.ended_early.as_ref()?))) {
            writeln!(f, "{}", harmless(&format!("{name} ended: {why}")))?;
        }
        if self.stopped {
            writeln!(f, "stopped before its time, as asked; the figures are of the rounds that were complete")?;
        }
        let rows = compared_step_rows(self);
        if rows.len() > 1 { write!(f, "\n{}", columns(&rows)) } else { Ok(()) }
    }
}

fn shown(metric: Metric, value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| metric.shown(value))
}

fn load(report: &Report) -> String {
    let arrivals = report.arrivals.map(|arrivals| format!(", {arrivals} arrivals")).unwrap_or_default();
    let in_flight = report.in_flight.map(|count| format!(", {count} in flight")).unwrap_or_default();
    let connections = match report.connections {
        1 => String::new(),
        count => format!(", {count} connections"),
    };
    let (tool, mode, seconds) = (&report.tool, report.mode, report.duration_s);
    format!("{tool}, {mode} loop{arrivals}{in_flight}{connections}, {seconds} s")
}

fn shed(report: &Report) -> String {
    match report.shed {
        0 => "0".to_owned(),
        count => format!("{count}, refused after {}", quantiles(&report.shed_latency_us)),
    }
}

fn generator(generator: &Generator) -> String {
    let own = generator.cpu_s.map_or("CPU unknown".to_owned(), |cpu| format!("{cpu:.2} s CPU"));
    let late = generator.lag_us.map(|lag| {
        let late = [("p50", lag.p50), ("p99", lag.p99), ("max", lag.max)].map(|(name, us)| quantile(name, us));
        format!("; sent late by {}", late.join("  "))
    });
    format!("{own}{}", late.unwrap_or_default())
}

fn step_rows(steps: &[Step]) -> Vec<Vec<String>> {
    let heading = ["seconds", "offered/s", "good/s", "p50", "p99", "shed", "errors", "lost"];
    let row = |step: &Step| {
        let [p50, p99] = [step.p50_us, step.p99_us].map(|us| us.map_or("-".to_owned(), time));
        let [offered, goodput] = [step.offered, step.goodput].map(|rate| format!("{rate:.1}"));
        let [shed, errors, lost] = [step.shed, step.errors, step.lost].map(|count| count.to_string());
        vec![format!("{} to {}", step.from_s, step.to_s), offered, goodput, p50, p99, shed, errors, lost]
    };
    std::iter::once(heading.map(str::to_owned).to_vec()).chain(steps.iter().map(row)).collect()
}

/// For each step the load, and the medians of every server.
fn compared_step_rows(comparison: &Comparison) -> Vec<Vec<String>> {
    let columns_of = |name: &str| [format!("{name} good/s"), format!("{name} p99")];
    let names = comparison.servers.iter().flat_map(|server| columns_of(&harmless(&server.name)));
    let heading = ["seconds", "offered/s"].map(str::to_owned).into_iter().chain(names).collect();
    let row = |servers: Vec<Option<&StepMedian>>| {
        let step = servers.iter().flatten().next();
        let load = step.map(|step| [format!("{} to {}", step.from_s, step.to_s), format!("{:.1}", step.offered)]);
        let medians = servers.into_iter().flat_map(|step| {
            let goodput = step.and_then(|step| step.goodput).map(|rate| format!("{rate:.1}"));
            let p99 = step.and_then(|step| step.p99_us).map(time);
            [goodput, p99].map(|cell| cell.unwrap_or("-".to_owned()))
        });
        load.into_iter().flatten().chain(medians).collect()
    };
    std::iter::once(heading).chain(comparison.steps().into_iter().map(row)).collect()
}

fn call_rows(calls: &[CallShare]) -> Vec<Vec<String>> {
    let heading = ["call", "weight", "sent", "good", "p50", "p99", "shed", "errors"];
    let row = |call: &CallShare| {
        let [p50, p99] = [call.p50_us, call.p99_us].map(|us| us.map_or("-".to_owned(), time));
        let weight = call.weight.to_string();
        let [sent, good, shed, errors] = [call.sent, call.good, call.shed, call.errors].map(|count| count.to_string());
        vec![harmless(&call.tool), weight, sent, good, p50, p99, shed, errors]
    };
    std::iter::once(heading.map(str::to_owned).to_vec()).chain(calls.iter().map(row)).collect()
}

/// `text` with control characters escaped: servers say some of it, and it may be made to take over a terminal.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn quantiles(latency: &Latency) -> String {
    [
        ("p50", latency.p50),
        ("p90", latency.p90),
        ("p95", latency.p95),
        ("p99", latency.p99),
        ("p99.9", latency.p99_9),
        ("max", latency.max),
    ]
    .map(|(name, us)| quantile(name, us))
    .join("  ")
}

fn quantile(name: &str, us: Option<f64>) -> String {
    format!("{name} {}", us.map_or("-".to_owned(), time))
}

/// Three digits and the unit that needs no more.
pub(super) fn time(us: f64) -> String {
    let (value, unit) = match us {
        _ if us < 999.5 => (us, "µs"),
        _ if us < 999_500.0 => (us / 1e3, "ms"),
        _ => (us / 1e6, "s"),
    };
    let digits = match value {
        _ if value < 9.995 => 2,
        _ if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

fn count(all: u64, some: u64, what: &str) -> String {
    if some == 0 { all.to_string() } else { format!("{all}, {some} of them {what}") }
}

fn cpu(server: &ServerUse) -> String {
    let Some(cpu) = server.cpu_s else {
        return "CPU unknown: the server is gone, or the system has no /proc".to_owned();
    };
    let per_call = server.cpu_us_per_call.map_or("-".to_owned(), time);
    let percent = server.cpu_percent.map(|percent| format!(", {percent:.0} % of one core")).unwrap_or_default();
    format!("{cpu:.2} s CPU, {per_call} per call{percent}")
}

fn memory(server: &ServerUse) -> String {
    let (Some(start), Some(peak)) = (server.rss_mb_start, server.rss_mb_peak) else { return "unknown".to_owned() };
    let end = server.rss_mb_end.map_or("unknown".to_owned(), |end| format!("{end:.1} MB"));
    format!("{start:.1} MB at the start, {end} at the end, {peak:.1} MB at most")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_taken_over() {
        assert_eq!(harmless("\u{1b}[31mred\nnew µs"), "\\u{1b}[31mred\\nnew µs");
    }

    #[test]
    fn times_have_three_digits_and_a_unit() {
        for (us, text) in [
            (0.5, "0.50 µs"),
            (40.96, "41.0 µs"),
            (123.4, "123 µs"),
            (999.6, "1.00 ms"),
            (12_345.0, "12.3 ms"),
            (10_000_000.0, "10.0 s"),
        ] {
            assert_eq!(time(us), text);
        }
    }
}
