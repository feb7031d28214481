//! What was measured, of one server or of several, and what is done with it.

use nurones_mcp::load::page::{self, Sheet, Subject};
use nurones_mcp::load::{Claim, Comparison, Report, Verdict};
use serde::Serialize;

/// See the module documentation.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Measured {
    One(Box<Report>),
    Several(Comparison),
}

#[derive(Serialize)]
struct WithVerdicts<'a> {
    #[serde(flatten)]
    measured: &'a Measured,
    asserts: &'a [Verdict],
}

impl Measured {
    /// What it says about `claims`.
    pub fn judge(&self, claims: &[Claim]) -> Vec<Verdict> {
        match self {
            Self::One(report) => claims.iter().map(|claim| claim.judge(report)).collect(),
            Self::Several(comparison) => claims.iter().flat_map(|claim| claim.judge_all(comparison)).collect(),
        }
    }

    /// Whether every call was answered and every server lived to the end.
    pub fn is_complete(&self) -> bool {
        match self {
            Self::One(report) => report.is_complete(),
            Self::Several(comparison) => comparison.is_complete(),
        }
    }

    /// Why servers ended before their time.
    pub fn ended_early(&self) -> Vec<String> {
        match self {
            Self::One(report) => report.ended_early.iter().cloned().collect(),
            Self::Several(comparison) => {
                let rounds =
                    comparison.servers.iter().flat_map(|server| server.rounds.iter().map(|r| (&server.name, r)));
                rounds.filter_map(|(name, round)| Some(format!("{name}: {}", round.ended_early.as_ref()?))).collect()
            }
        }
    }

    /// For scripts: one line.
    pub fn json(&self, verdicts: &[Verdict]) -> String {
        let object = WithVerdicts { measured: self, asserts: verdicts };
        serde_json::to_string(&object).expect("a report is serialisable") + "\n"
    }

    /// For a person who wants to look at it.
    pub fn page(&self, verdicts: &[Verdict]) -> String {
        let (subjects, comparison) = match self {
            Self::One(report) => (vec![Subject { name: report.tool.clone(), report }], None),
            Self::Several(comparison) => {
                let typical = comparison
                    .servers
                    .iter()
                    .filter_map(|server| Some(Subject { name: server.name.clone(), report: server.typical()? }));
                (typical.collect(), Some(comparison))
            }
        };
        let circumstances = circumstances();
        page::page(&Sheet { command: command_line(), circumstances, subjects, comparison, verdicts })
    }

    /// For a person.
    pub fn table(&self, verdicts: &[Verdict]) -> String {
        let mut table = match self {
            Self::One(report) => report.to_string(),
            Self::Several(comparison) => comparison.to_string(),
        };
        for verdict in verdicts {
            table.push_str(&format!("{:>10}  {verdict}\n", "assert"));
        }
        table
    }
}

/// How this program was called, as a shell would take it again.
fn command_line() -> String {
    let plain = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./:=,@+%".contains(c));
    let quoted = |word: String| if plain(&word) { word } else { format!("'{}'", word.replace('\'', "'\\''")) };
    let arguments = std::env::args_os().skip(1).map(|word| quoted(word.to_string_lossy().into_owned()));
    std::iter::once("nurones-load".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// When it was measured, and on what.
fn circumstances() -> String {
    let now = chrono::Utc::now().format("%Y-%m-%d %H:%M UTC");
    let cores = std::thread::available_parallelism().map_or("unknown".to_owned(), |cores| cores.to_string());
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()));
    let model = model.map(|model| format!(" of {model}")).unwrap_or_default();
    let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("nurones-load {}, {now}, {system} {machine}, {cores} cores{model}", env!("CARGO_PKG_VERSION"))
}
