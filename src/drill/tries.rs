//! Answers of one sort: how long they took, and which were not what they should be.

use super::call::Answer;
use super::findings::{Findings, Target, quantile};
use super::history::Outcome;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Tries {
    took_ms: Vec<f64>,
    wrong: Vec<String>,
}

impl Tries {
    /// An answer that is right if its outcome is.
    pub fn note(&mut self, answer: &Answer, right: impl FnOnce(&Outcome) -> bool) {
        self.took_ms.push(answer.took.as_secs_f64() * 1e3);
        if !right(&answer.outcome) {
            self.wrong.push(format!("{:?} {}", answer.outcome, answer.text()));
        }
    }

    /// An answer that should be a good one.
    pub fn good(&mut self, answer: &Answer) {
        self.note(answer, |outcome| *outcome == Outcome::Good);
    }

    /// An answer that should be the tool error `code`.
    pub fn fault(&mut self, answer: &Answer, code: &str) {
        self.note(answer, |outcome| outcome.is_fault(code));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.took_ms.len() as u64
    }

    /// The time below which `share` of them were answered.
    pub fn quantile_ms(&mut self, share: f64) -> f64 {
        quantile(&mut self.took_ms, share)
    }

    /// The figures `tried` and `wrong`: at least one was made, and all are right.
    pub fn tell(&self, findings: &mut Findings, tried: &'static str, wrong: &'static str) {
        findings.count(tried, self.count(), Target::AtLeast(1.0));
        findings.count(wrong, self.wrong.len() as u64, Target::Exactly(0.0));
        if let Some(first) = self.wrong.first() {
            findings.check(wrong, false, || format!("the first is {first}"));
        }
    }
}
