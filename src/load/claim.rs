//! What is asserted of a measurement, as `p99<5ms`, and whether it holds.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

use serde::Serialize;

use super::compare::Comparison;
use super::metric::{Metric, Unit};
use super::report::Report;

/// An assertion: a figure, how it compares, and with what.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// As it was written.
    text: String,
    /// The server it is about, of those that are compared; without one it is about all.
    server: Option<String>,
    metric: Metric,
    relation: Relation,
    bound: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    AtMost,
    AtLeast,
    Equal,
    Below,
    Above,
}

/// What a measurement says about an assertion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The assertion as it was written.
    pub assert: String,
    /// The server, of those that are compared.
    pub server: Option<String>,
    /// What was measured, in the figure's own unit; nothing, if it was not.
    pub measured: Option<f64>,
    /// Whether it holds. What was not measured does not.
    pub holds: bool,
    /// What was measured, for a person.
    #[serde(skip)]
    pub shown: String,
}

/// The longer ones first: `<` begins `<=`.
const RELATIONS: [(&str, Relation); 5] = [
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("==", Relation::Equal),
    ("<", Relation::Below),
    (">", Relation::Above),
];

impl FromStr for Claim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} asserts nothing; write a figure, < <= == >= or >, and a value, for example p99<5ms");
        let at = text.find(['<', '>', '=']).ok_or_else(wrong)?;
        let (subject, rest) = text.split_at(at);
        let known = RELATIONS.iter().find_map(|(sign, relation)| Some((*relation, rest.strip_prefix(sign)?)));
        let (relation, bound) = known.ok_or_else(wrong)?;
        let subject = subject.trim();
        // Names of servers may have dots, and so does p99.9: the longest figure it ends with is the one.
        let (server, metric) = match Metric::named(subject) {
            Ok(metric) => (None, metric),
            Err(error) => {
                let named = |(at, _)| Some((&subject[..at], Metric::named(&subject[at + 1..]).ok()?));
                let (server, metric) = subject.match_indices('.').find_map(named).ok_or(error)?;
                (Some(server.to_owned()), metric)
            }
        };
        let (metric, bound) = parse_bound(metric, bound.trim())?;
        Ok(Self { text: text.to_owned(), server, metric, relation, bound })
    }
}

/// A bound in the unit of `metric`, which may choose the metric: a goodput of so many per cent is another one.
fn parse_bound(metric: Metric, text: &str) -> Result<(Metric, f64), String> {
    let units: &[(&str, f64)] = match metric.unit() {
        Unit::Time => &[("ms", 1e3), ("us", 1.0), ("µs", 1.0), ("s", 1e6)],
        Unit::Rate => &[("k", 1e3), ("%", 1.0), ("", 1.0)],
        Unit::Percent => &[("%", 1.0), ("", 1.0)],
        Unit::Megabytes => &[("MB", 1.0), ("", 1.0)],
        Unit::Count => &[("k", 1e3), ("", 1.0)],
        Unit::Times => &[("x", 1.0), ("", 1.0)],
    };
    let parsed = units.iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok().filter(|number: &f64| number.is_finite())?;
        Some((*unit, number * factor))
    });
    match parsed {
        Some(("%", bound)) => Ok((Metric::GoodputPercent, bound)),
        Some((_, bound)) => Ok((metric, bound)),
        None => {
            let units: Vec<&str> =
                units.iter().map(|(unit, _)| if unit.is_empty() { "no unit" } else { unit }).collect();
            let name = metric.name();
            Err(format!("{text:?} is no value of {name}; write a number with one of these units: {}", units.join(", ")))
        }
    }
}

impl Claim {
    /// Whether it is about one of `servers`, or all, and can be judged there.
    ///
    /// # Errors
    /// A sentence for the person who wrote it.
    pub fn check(&self, servers: &[&str]) -> Result<(), String> {
        let text = &self.text;
        match &self.server {
            Some(server) if !servers.contains(&server.as_str()) => {
                Err(format!("{text:?} is about {server:?}, which is not compared; name a server of --compare"))
            }
            _ if self.metric == Metric::Ratio && servers.is_empty() => {
                Err(format!("{text:?} needs two servers; name them with --compare"))
            }
            Some(server) if self.metric == Metric::Ratio && servers.first() == Some(&server.as_str()) => {
                Err(format!("{text:?} is about the first server, which the others are compared with; name another"))
            }
            _ => Ok(()),
        }
    }

    /// What `report` says about it.
    pub fn judge(&self, report: &Report) -> Verdict {
        self.verdict(None, self.metric.of(report))
    }

    /// What `comparison` says about it, once for each server that it is about.
    pub fn judge_all(&self, comparison: &Comparison) -> Vec<Verdict> {
        let about = |name: &str| self.server.as_deref().is_none_or(|server| server == name);
        if self.metric == Metric::Ratio {
            let ratios = comparison.ratios.iter().filter(|ratios| about(&ratios.name));
            return ratios.map(|ratios| self.verdict(Some(&ratios.name), ratios.goodput())).collect();
        }
        let servers = comparison.servers.iter().filter(|server| about(&server.name));
        servers.map(|server| self.verdict(Some(&server.name), self.metric.over(&server.rounds))).collect()
    }

    fn verdict(&self, server: Option<&str>, measured: Option<f64>) -> Verdict {
        let holds = measured.is_some_and(|value| match self.relation {
            Relation::AtMost => value <= self.bound,
            Relation::AtLeast => value >= self.bound,
            Relation::Equal => value == self.bound,
            Relation::Below => value < self.bound,
            Relation::Above => value > self.bound,
        });
        let shown = measured.map_or(self.metric.missing().to_owned(), |value| self.metric.shown(value));
        Verdict { assert: self.text.clone(), server: server.map(str::to_owned), measured, holds, shown }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let server = self.server.as_ref().filter(|server| !self.assert.starts_with(&format!("{server}.")));
        let server = server.map(|server| format!("{server}: ")).unwrap_or_default();
        let holds = if self.holds { "holds" } else { "DOES NOT HOLD" };
        write!(f, "{server}{} {holds}: {}", self.assert, self.shown)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::plan::{Call, Mode, Plan};
    use super::super::recorder::Recorder;
    use super::super::report::{Counted, Watched};
    use super::*;

    fn claim(text: &str) -> Claim {
        text.parse().unwrap()
    }

    #[test]
    fn claims_are_read_with_their_units() {
        for (text, metric, relation, bound) in [
            ("p99<5ms", Metric::P99, Relation::Below, 5000.0),
            ("p99.9 <= 300us", Metric::P99_9, Relation::AtMost, 300.0),
            ("max<1.5s", Metric::Max, Relation::Below, 1.5e6),
            ("errors==0", Metric::Errors, Relation::Equal, 0.0),
            ("goodput>=9.5k", Metric::Goodput, Relation::AtLeast, 9500.0),
            ("goodput>=99.9%", Metric::GoodputPercent, Relation::AtLeast, 99.9),
            ("rss_growth_mb<2MB", Metric::RssGrowthMb, Relation::Below, 2.0),
            ("cpu_us_per_call<50us", Metric::CpuPerCall, Relation::Below, 50.0),
            ("ratio>7", Metric::Ratio, Relation::Above, 7.0),
        ] {
            let wanted = Claim { text: text.to_owned(), server: None, metric, relation, bound };
            assert_eq!(text.parse(), Ok(wanted), "{text}");
        }
        for (text, server, metric) in [
            ("ours.p99.9<1ms", "ours", Metric::P99_9),
            ("a.1.p99<1ms", "a.1", Metric::P99),
            ("a.1.errors==0", "a.1", Metric::Errors),
        ] {
            let claim = claim(text);
            assert_eq!((claim.server.as_deref(), claim.metric), (Some(server), metric), "{text}");
        }
    }

    #[test]
    fn what_asserts_nothing_is_told() {
        for (text, part) in [
            ("p99", "p99<5ms"),
            ("", "p99<5ms"),
            ("p99=5ms", "p99<5ms"),
            ("p98<5ms", "p99.9"),
            ("p99<5", "ms, us"),
            ("p99<fast", "ms, us"),
            ("errors==0ms", "no unit"),
            ("errors<NaN", "no unit"),
            ("ours.p98<5ms", "p99.9"),
        ] {
            let error = text.parse::<Claim>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_claim_about_a_server_needs_that_server() {
        for (text, servers, is_good) in [
            ("p99<5ms", &[][..], true),
            ("ours.p99<5ms", &[], false),
            ("ours.p99<5ms", &["theirs", "ours"], true),
            ("ratio>2", &[], false),
            ("ratio>2", &["theirs", "ours"], true),
            ("theirs.ratio>2", &["theirs", "ours"], false),
        ] {
            assert_eq!(claim(text).check(servers).is_ok(), is_good, "{text} of {servers:?}");
        }
    }

    #[test]
    fn nothing_holds_of_no_calls() {
        let plan = Plan::new(Mode::Closed { in_flight: 1 }, Call::new("t", &Default::default()));
        let counted = Counted { record: &Recorder::new(1, 1), open: 0, time: plan.duration };
        let report = Report::new(&plan, &counted, &Watched::default());
        for text in ["errors==0", "shed==0", "lost==0", "goodput<1k", "goodput<1%", "p99<5ms", "cpu_us_per_call<1s"] {
            let verdict = claim(text).judge(&report);
            assert!(!verdict.holds && verdict.to_string().contains("measured"), "{verdict}");
        }
    }

    #[test]
    fn what_was_not_measured_does_not_hold() {
        for text in ["p99<5ms", "p99>=0us"] {
            let verdict = claim(text).verdict(None, None);
            assert!(!verdict.holds && verdict.to_string().contains("nothing was measured"), "{verdict}");
        }
    }

    proptest! {
        #[test]
        fn a_claim_holds_exactly_when_the_numbers_do(value in 0u32..20, bound in 0u32..20) {
            for (sign, holds) in [
                ("<", value < bound), ("<=", value <= bound), ("==", value == bound),
                (">=", value >= bound), (">", value > bound),
            ] {
                let verdict = claim(&format!("errors{sign}{bound}")).verdict(None, Some(f64::from(value)));
                prop_assert_eq!(verdict.holds, holds, "{}", verdict);
            }
        }
    }
}
