//! Several servers under the same load, in turn, round after round: what slows the machine down for a while slows them all.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::Command;

use serde::Serialize;

use super::error::LoadError;
use super::metric::{Metric, median};
use super::parts::{StepMedian, step_medians};
use super::plan::Plan;
use super::report::{Report, rounded};
use super::run::{Progress, run};

/// The figures that are compared.
pub const COMPARED: [Metric; 6] =
    [Metric::Goodput, Metric::P50, Metric::P99, Metric::P99_9, Metric::CpuPerCall, Metric::RssMb];

/// A server to compare.
pub struct Contender {
    /// What it is called.
    pub name: String,
    /// How it is started.
    pub server: Command,
    /// What is done with it. The calls may be its own; everything else should be the same for all.
    pub plan: Plan,
}

/// Where a comparison is.
#[derive(Debug, Clone, Copy)]
pub struct Round<'a> {
    /// The server that is measured.
    pub name: &'a str,
    /// The round, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// One for each server, in their order.
    pub servers: Vec<Measured>,
    /// One for each server but the first.
    pub ratios: Vec<Ratios>,
    /// Whether the observer stopped it; then the rounds that were complete count.
    pub stopped: bool,
}

/// What was measured of a server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// What it is called.
    pub name: String,
    /// By figure, the median of the rounds.
    pub median: BTreeMap<&'static str, Option<f64>>,
    /// By step, or by tenth of a ramp, the medians of the rounds; empty when the rate was steady.
    pub steps: Vec<StepMedian>,
    /// The rounds.
    pub rounds: Vec<Report>,
}

/// A server beside the first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratios {
    /// The server.
    pub name: String,
    /// The first server.
    pub to: String,
    /// By figure: this server's through the first's. Nothing, where something was not measured.
    pub figures: BTreeMap<&'static str, Option<Ratio>>,
}

/// Ratios of the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// The one in the middle.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

/// Measures every one of `contenders` in each of `rounds`.
///
/// # Errors
/// When one of them could not be measured, or when it was stopped before the first round was complete.
pub fn compare(
    contenders: &mut [Contender],
    rounds: usize,
    observer: &mut dyn FnMut(&Round<'_>, &Progress) -> ControlFlow<()>,
) -> Result<Comparison, LoadError> {
    for contender in contenders.iter() {
        contender.plan.check().map_err(LoadError::Plan)?;
    }
    let mut complete: Vec<Vec<Report>> = Vec::new();
    for number in 1..=rounds {
        let mut round = Vec::new();
        for Contender { name, server, plan } in contenders.iter_mut() {
            let at = Round { name, number, of: rounds };
            match run(plan, server, &mut |progress| observer(&at, progress)) {
                Ok(report) if !report.stopped => round.push(report),
                Ok(_) | Err(LoadError::Stopped) => break,
                Err(source) => return Err(LoadError::Compared { name: name.clone(), source: Box::new(source) }),
            }
        }
        if round.len() < contenders.len() {
            break;
        }
        complete.push(round);
    }
    if complete.is_empty() {
        return Err(LoadError::Stopped);
    }
    let names: Vec<&str> = contenders.iter().map(|contender| contender.name.as_str()).collect();
    let stopped = complete.len() < rounds;
    Ok(Comparison { stopped, ..Comparison::new(&names, complete) })
}

impl Comparison {
    /// Of `rounds`, each with a report for each of `names`.
    fn new(names: &[&str], rounds: Vec<Vec<Report>>) -> Self {
        let mut servers: Vec<Measured> = names.iter().map(|name| Measured::new(name)).collect();
        for round in rounds {
            servers.iter_mut().zip(round).for_each(|(server, report)| server.rounds.push(report));
        }
        for server in &mut servers {
            server.steps = step_medians(&server.rounds);
            server.median = COMPARED.map(|metric| (metric.name(), metric.over(&server.rounds).map(rounded))).into();
        }
        let ratios = servers.split_first().map(|(first, others)| {
            let ratios = |server: &Measured| Ratios {
                name: server.name.clone(),
                to: first.name.clone(),
                figures: COMPARED.map(|metric| (metric.name(), Ratio::new(metric, server, first))).into(),
            };
            others.iter().map(ratios).collect()
        });
        Self { servers, ratios: ratios.unwrap_or_default(), stopped: false }
    }

    /// The parts of the load, each with what it was for every server that came so far.
    pub(super) fn steps(&self) -> Vec<Vec<Option<&StepMedian>>> {
        let count = self.servers.iter().map(|server| server.steps.len()).max().unwrap_or(0);
        (0..count).map(|index| self.servers.iter().map(|server| server.steps.get(index)).collect()).collect()
    }

    /// Whether every call of every round was answered and every server lived to the end.
    pub fn is_complete(&self) -> bool {
        self.servers.iter().flat_map(|server| &server.rounds).all(Report::is_complete)
    }
}

impl Measured {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), median: BTreeMap::new(), steps: Vec::new(), rounds: Vec::new() }
    }

    /// The round whose goodput is in the middle.
    pub fn typical(&self) -> Option<&Report> {
        let mut rounds: Vec<&Report> = self.rounds.iter().collect();
        rounds.sort_by(|a, b| a.goodput.total_cmp(&b.goodput));
        rounds.get(rounds.len().checked_sub(1)? / 2).copied()
    }
}

impl Ratios {
    /// How many times the first server's goodput.
    pub(super) fn goodput(&self) -> Option<f64> {
        self.figures.get(Metric::Goodput.name()).copied().flatten().map(|ratio| ratio.median)
    }
}

impl Ratio {
    /// Round by round, as only what was measured one after the other is comparable.
    fn new(metric: Metric, server: &Measured, first: &Measured) -> Option<Self> {
        let rounds = server.rounds.iter().zip(&first.rounds);
        let ratio = |(report, first)| Some(metric.of(report)? / metric.of(first).filter(|first| *first > 0.0)?);
        let ratios: Vec<f64> = rounds.map(ratio).collect::<Option<_>>()?;
        let low = ratios.iter().copied().reduce(f64::min)?;
        let high = ratios.iter().copied().reduce(f64::max)?;
        Some(Self { median: rounded(median(ratios)?), low: rounded(low), high: rounded(high) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::claim::Claim;
    use super::super::plan::{Arrivals, Call, Mode};
    use super::super::rate::Rate;
    use super::super::recorder::Recorder;
    use super::super::report::{Counted, Watched};
    use super::*;

    fn report(goodput: f64, p50: Option<f64>, errors: u64) -> Report {
        let mode = Mode::Open { rate: Rate::Steady(1.0), arrivals: Arrivals::Fixed };
        let plan = Plan::new(mode, Call::new("t", &Default::default()));
        let counted = Counted { record: &Recorder::new(1, 1), open: 0, time: plan.duration };
        let mut report = Report::new(&plan, &counted, &Watched::default());
        (report.sent, report.goodput, report.latency_us.p50, report.errors) = (10, goodput, p50, errors);
        report
    }

    fn comparison() -> Comparison {
        let rounds = [(10.0, 40.0), (20.0, 60.0), (30.0, 300.0)];
        let rounds = rounds.map(|(first, second)| vec![report(first, None, 0), report(second, Some(7.0), 1)]);
        Comparison::new(&["slow", "fast"], rounds.into())
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let comparison = comparison();
        let ratios = &comparison.ratios[0];
        assert_eq!((ratios.name.as_str(), ratios.to.as_str(), comparison.ratios.len()), ("fast", "slow", 1));
        assert_eq!(ratios.figures["goodput"], Some(Ratio { median: 4.0, low: 3.0, high: 10.0 }));
        assert_eq!(ratios.figures["p50"], None, "the first has none");
        assert_eq!(comparison.servers[1].median["goodput"], Some(60.0));
        assert_eq!(comparison.servers[1].typical().map(|report| report.goodput), Some(60.0));
    }

    #[test]
    fn claims_are_judged_for_each_server_they_are_about() {
        let judge = |text: &str| {
            let verdicts = text.parse::<Claim>().unwrap().judge_all(&comparison());
            verdicts.into_iter().map(|verdict| (verdict.server.unwrap(), verdict.holds)).collect::<Vec<_>>()
        };
        let of = |name: &str, holds| (name.to_owned(), holds);
        assert_eq!(judge("errors==0"), [of("slow", true), of("fast", false)], "errors of all rounds count");
        assert_eq!(judge("fast.errors==3"), [of("fast", true)]);
        assert_eq!(judge("goodput>=20"), [of("slow", true), of("fast", true)]);
        assert_eq!(judge("ratio>=4"), [of("fast", true)]);
        assert_eq!(judge("p50<1s"), [of("slow", false), of("fast", true)], "what was not measured does not hold");
    }
}
