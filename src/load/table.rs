//! The report for a person to read.

use std::fmt::{Display, Formatter, Result};

use super::report::{Latency, Report, ServerUse};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        // What the server said stands in some of these, and may be made to take over a terminal.
        let mut row = |name: &str, text: &str| writeln!(f, "{name:>10}  {}", harmless(text));
        let arrivals = self.arrivals.map(|arrivals| format!(", {arrivals} arrivals")).unwrap_or_default();
        let in_flight = self.in_flight.map(|count| format!(", {count} in flight")).unwrap_or_default();
        row("load", &format!("{}, {} loop{arrivals}{in_flight}, {} s", self.tool, self.mode, self.duration_s))?;
        row("offered", &format!("{:.1}/s, {} calls", self.offered_rps, self.sent))?;
        row("achieved", &format!("{:.1}/s", self.achieved_rps))?;
        row("latency", &latency(&self.latency_us))?;
        row("errors", &count(self.errors, self.unexpected, "unexpected answers"))?;
        row("shed", &self.shed.to_string())?;
        row("lost", &count(self.lost, self.unsent, "never taken by the server"))?;
        row("server", &cpu(&self.server))?;
        row("memory", &memory(&self.server))?;
        let own = self.generator.cpu_s.map_or("CPU unknown".to_owned(), |cpu| format!("{cpu:.2} s CPU"));
        let late = self.generator.lag_us.map(|lag| {
            let late = [("p50", lag.p50), ("p99", lag.p99), ("max", lag.max)].map(|(name, us)| quantile(name, us));
            format!("; sent late by {}", late.join("  "))
        });
        row("generator", &format!("{own}{}", late.unwrap_or_default()))?;
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
        Ok(())
    }
}

fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn latency(latency: &Latency) -> String {
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
fn time(us: f64) -> String {
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
    let per_call = server.cpu_us_per_call.map(|us| format!(", {} per call", time(us))).unwrap_or_default();
    let percent = server.cpu_percent.map(|percent| format!(", {percent:.0} % of one core")).unwrap_or_default();
    format!("{cpu:.2} s CPU{per_call}{percent}")
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
