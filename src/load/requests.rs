//! The requests of one connection, written one after the other: which call it is, and what is filled in.

use std::sync::Arc;

use super::arguments::Filling;
use super::deal::Deal;
use super::ledger::FIRST_CALL_ID;
use super::plan::Plan;
use super::schedule::Share;
use super::template::Template;

/// See the module documentation.
pub(super) struct Requests {
    templates: Vec<Template>,
    deal: Deal,
    files: Arc<[String]>,
    random: fastrand::Rng,
}

impl Requests {
    /// Those of `plan`.
    pub(super) fn new(plan: &Plan, share: Share) -> Self {
        Self {
            templates: plan.calls.iter().map(|call| Template::spoken(call, plan.protocol)).collect(),
            deal: Deal::new(&plan.calls, share),
            files: Arc::clone(&plan.files),
            random: fastrand::Rng::with_seed(plan.seed.wrapping_add(share.index as u64)),
        }
    }

    /// The trial of one call of the mix, which is number 0.
    pub(super) fn trial(&mut self, call: usize, id: u64) -> Vec<u8> {
        let mut request = Vec::new();
        self.fill(call, id, 0, &mut request);
        request
    }

    /// Appends the measured call with `id`.
    pub(super) fn render(&mut self, id: u64, into: &mut Vec<u8>) {
        let turn = id - FIRST_CALL_ID;
        self.fill(self.deal.which(turn), id, self.deal.number(turn), into);
    }

    fn fill(&mut self, call: usize, id: u64, number: u64, into: &mut Vec<u8>) {
        let filling = Filling { number, files: &self.files, random: &mut self.random };
        self.templates[call].fill(id, filling, into);
    }

    /// Bytes of one request, at most.
    pub(super) fn len(&self) -> usize {
        self.templates.iter().map(|template| template.len(&self.files)).max().unwrap_or(1)
    }
}
