//! What a drill found: figures beside their targets, and what is broken.

use std::fmt;

use thiserror::Error;

/// Something that must hold and does not, or something that kept the drill from going on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{check}: {what}")]
pub struct Broken {
    /// The name of the check: `I1` to `I6`, a figure's name, or a name of the drill's own.
    pub check: &'static str,
    /// What was seen.
    pub what: String,
}

/// Characters of what was seen that are kept; a guest may say a lot.
const TEXT_CHARS: usize = 600;

impl Broken {
    /// `check` does not hold, because of `what`.
    pub fn new(check: &'static str, what: impl Into<String>) -> Self {
        let mut what = what.into();
        if let Some((end, _)) = what.char_indices().nth(TEXT_CHARS) {
            what.replace_range(end.., " …");
        }
        Self { check, what }
    }
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
    /// This.
    Exactly(f64),
}

impl Target {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
            // Counts are whole numbers far below the point where they stop being exact.
            Self::Exactly(wanted) => value == wanted,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<= {}", shown(*limit)),
            Self::AtLeast(limit) => write!(f, ">= {}", shown(*limit)),
            Self::Exactly(wanted) => write!(f, "= {}", shown(*wanted)),
        }
    }
}

/// A number with as many digits as are worth reading.
pub fn shown(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// One measured figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What it is, with its unit: `rebuild_p99_us`.
    pub name: &'static str,
    /// What was measured.
    pub value: f64,
    /// What it should be, if that is said anywhere.
    pub target: Option<Target>,
    /// Whether missing the target fails the drill.
    pub gates: bool,
}

impl Figure {
    /// Whether the target, if there is one, is met.
    pub fn holds(&self) -> bool {
        self.target.is_none_or(|target| target.holds(self.value))
    }
}

/// See the module documentation.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// In the order in which they were measured.
    pub figures: Vec<Figure>,
    /// What does not hold. Empty: the drill has passed.
    pub broken: Vec<Broken>,
    /// Whether times gate too.
    pub strict: bool,
}

/// Texts of one broken check that are kept; more of the same say nothing new.
const SAME_CHECK: usize = 5;

impl Findings {
    /// A count: missing its target always fails the drill.
    pub fn count(&mut self, name: &'static str, value: u64, target: Target) {
        self.figure(Figure { name, value: value as f64, target: Some(target), gates: true });
    }

    /// A time, or what follows from one. On a busy machine it says little, so it only gates in a long run.
    pub fn time(&mut self, name: &'static str, value: f64, target: Target) {
        self.figure(Figure { name, value, target: Some(target), gates: self.strict });
    }

    /// A figure beside its target, for something that is judged elsewhere.
    pub fn shown(&mut self, name: &'static str, value: f64, target: Target) {
        self.figure(Figure { name, value, target: Some(target), gates: false });
    }

    /// A figure to look at.
    pub fn note(&mut self, name: &'static str, value: f64) {
        self.figure(Figure { name, value, target: None, gates: false });
    }

    /// Adds a figure. One of the same name is replaced: the last round counts.
    pub fn figure(&mut self, figure: Figure) {
        self.broken.retain(|broken| broken.check != figure.name);
        self.figures.retain(|known| known.name != figure.name);
        if figure.gates && !figure.holds() {
            let target = figure.target.map(|target| target.to_string()).unwrap_or_default();
            self.broken.push(Broken::new(figure.name, format!("is {}, not {target}", shown(figure.value))));
        }
        self.figures.push(figure);
    }

    /// Something that must hold.
    pub fn check(&mut self, check: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broke(Broken::new(check, what()));
        }
    }

    /// Something does not hold.
    pub fn broke(&mut self, broken: Broken) {
        if self.broken.iter().filter(|known| known.check == broken.check).count() < SAME_CHECK {
            self.broken.push(broken);
        }
    }

    /// Whether everything holds.
    pub fn passed(&self) -> bool {
        self.broken.is_empty()
    }
}

/// The value below which `share` of `values` lie; 0 of none.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.sort_unstable_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_gate_and_times_only_when_strict() {
        let mut findings = Findings::default();
        findings.time("slow_ms", 7.0, Target::AtMost(5.0));
        assert!(findings.passed());
        findings.count("lost", 1, Target::Exactly(0.0));
        assert_eq!(findings.broken, [Broken::new("lost", "is 1, not = 0")]);
        findings.count("lost", 0, Target::Exactly(0.0));
        assert!(findings.passed(), "the last one counts");
        findings.strict = true;
        findings.time("slow_ms", 7.0, Target::AtMost(5.0));
        assert!(!findings.passed());
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.99), 99.0);
        assert_eq!(quantile(&mut values, 0.5), 50.0);
        assert_eq!(quantile(&mut [], 0.5), 0.0);
    }
}
