//! The figures by which measurements are judged and compared, each with its name, its unit and where it stands in a
//! report.

use super::report::Report;
use super::table::time;

/// What a figure counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds.
    Time,
    /// So many.
    Count,
    /// Per second.
    Rate,
    /// Of a hundred.
    Percent,
    /// 10⁶ bytes.
    Megabytes,
    /// So many times as much as the first server's.
    Times,
}

/// A figure of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "docs/load.md says what each is; NAMES has the same words")]
pub enum Metric {
    P50,
    P90,
    P95,
    P99,
    P99_9,
    Max,
    ShedP99,
    Errors,
    Shed,
    Lost,
    Goodput,
    GoodputPercent,
    RssMb,
    RssGrowthMb,
    CpuPerCall,
    Ratio,
}

use Metric::*;

/// Every figure, by the name it has in what is asserted and in comparisons.
const NAMES: [(&str, Metric, Unit); 16] = [
    ("p50", P50, Unit::Time),
    ("p90", P90, Unit::Time),
    ("p95", P95, Unit::Time),
    ("p99", P99, Unit::Time),
    ("p99.9", P99_9, Unit::Time),
    ("max", Max, Unit::Time),
    ("shed_p99", ShedP99, Unit::Time),
    ("errors", Errors, Unit::Count),
    ("shed", Shed, Unit::Count),
    ("lost", Lost, Unit::Count),
    ("goodput", Goodput, Unit::Rate),
    ("goodput_percent", GoodputPercent, Unit::Percent),
    ("rss_mb", RssMb, Unit::Megabytes),
    ("rss_growth_mb", RssGrowthMb, Unit::Megabytes),
    ("cpu_us_per_call", CpuPerCall, Unit::Time),
    ("ratio", Ratio, Unit::Times),
];

impl Metric {
    /// The figure with this name.
    ///
    /// # Errors
    /// The names there are.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(known, ..)| *known == name);
        found.map(|(_, metric, _)| *metric).ok_or_else(|| {
            let known: Vec<&str> = NAMES.iter().map(|(known, ..)| *known).collect();
            format!("{name:?} is not measured; choose one of {}", known.join(", "))
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What stands over a column of it.
    pub fn heading(self) -> &'static str {
        match self {
            CpuPerCall => "CPU/call",
            RssMb => "memory",
            _ => self.name(),
        }
    }

    /// Its unit.
    pub fn unit(self) -> Unit {
        self.row().2
    }

    fn row(self) -> &'static (&'static str, Metric, Unit) {
        NAMES.iter().find(|(_, metric, _)| *metric == self).expect("every figure has a name")
    }

    /// What it is in `report`; nothing, if it was not measured. Without calls there is nothing to count.
    pub fn of(self, report: &Report) -> Option<f64> {
        let (latency, server) = (&report.latency_us, &report.server);
        let counted = |value: f64| (report.sent > 0).then_some(value);
        match self {
            P50 => latency.p50,
            P90 => latency.p90,
            P95 => latency.p95,
            P99 => latency.p99,
            P99_9 => latency.p99_9,
            Max => latency.max,
            ShedP99 => report.shed_latency_us.p99,
            Errors => counted(report.errors as f64),
            Shed => counted(report.shed as f64),
            Lost => counted(report.lost as f64),
            Goodput => counted(report.goodput),
            GoodputPercent => counted(report.goodput_percent),
            RssMb => server.rss_mb_end,
            RssGrowthMb => server.rss_mb_end.zip(server.rss_mb_start).map(|(end, start)| end - start),
            CpuPerCall => server.cpu_us_per_call,
            Ratio => None,
        }
    }

    /// What it is over several rounds: all that was counted, or the median.
    pub fn over(self, rounds: &[Report]) -> Option<f64> {
        let all: Option<Vec<f64>> = rounds.iter().map(|report| self.of(report)).collect();
        match self.unit() {
            Unit::Count => Some(all?.iter().sum()),
            _ => median(all?),
        }
    }

    /// What is said of it when it was not measured.
    pub(super) fn missing(self) -> &'static str {
        match self {
            CpuPerCall => {
                "not measured; CPU time comes in ticks of 10 ms, on Linux only: measure for longer, or at more load"
            }
            _ => "nothing was measured",
        }
    }

    /// `value` of it, for a person.
    pub fn shown(self, value: f64) -> String {
        match self.unit() {
            Unit::Time => time(value),
            Unit::Count => format!("{value:.0}"),
            Unit::Rate => format!("{value:.1}/s"),
            Unit::Percent => format!("{value:.1} %"),
            Unit::Megabytes => format!("{value:.1} MB"),
            Unit::Times => format!("{value:.2} times"),
        }
    }
}

/// The value in the middle; of an even number of values, the mean of the two.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_stands_in_the_middle() {
        for (values, middle) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0], Some(5.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![4.0, 1.0, 2.0, 100.0], Some(3.0)),
        ] {
            assert_eq!(median(values.clone()), middle, "{values:?}");
        }
    }

    #[test]
    fn every_figure_is_found_by_its_name() {
        for (name, metric, _) in NAMES {
            assert_eq!((Metric::named(name), metric.name()), (Ok(metric), name));
        }
        assert!(Metric::named("p98").unwrap_err().contains("p99.9"));
    }
}
