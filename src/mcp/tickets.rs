//! Which requests are open on a connection.
//!
//! A ticket begins when a request is passed on. It ends when the bytes of its answer are written, or when its
//! cancellation is passed on. Without a ticket nothing is written for an id; so a request has one answer at most, and
//! the end of input can wait for exactly those that are owed.

use std::collections::HashMap;

use rmcp::model::RequestId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The answer is owed.
    Open,
    /// The answer waits to be written.
    Answered,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Tickets {
    states: HashMap<RequestId, State>,
}

impl Tickets {
    /// Opens a ticket; `false` when this id is in flight already.
    pub fn open(&mut self, id: RequestId) -> bool {
        match self.states.entry(id) {
            std::collections::hash_map::Entry::Occupied(_) => false,
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(State::Open);
                true
            }
        }
    }

    /// The answer for `id` is there; `false` when nothing may be written for it.
    pub fn answer(&mut self, id: &RequestId) -> bool {
        match self.states.get_mut(id) {
            Some(state @ State::Open) => {
                *state = State::Answered;
                true
            }
            _ => false,
        }
    }

    /// Ends the ticket of a cancelled request; `false` when it is unknown or already answered.
    pub fn cancel(&mut self, id: &RequestId) -> bool {
        self.states.get(id) == Some(&State::Open) && self.states.remove(id).is_some()
    }

    /// The answers for `ids` are written.
    pub fn written(&mut self, ids: &[RequestId]) {
        for id in ids {
            self.states.remove(id);
        }
    }

    /// Requests in flight.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The requests whose answer is owed.
    pub fn owed(&self) -> Vec<RequestId> {
        self.states.iter().filter(|(_, state)| **state == State::Open).map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_answered_once_and_free_again_once_written() {
        let (mut tickets, id) = (Tickets::default(), RequestId::Number(1));
        assert!(tickets.open(id.clone()));
        assert!(!tickets.open(id.clone()));
        assert!(tickets.answer(&id));
        assert!(!tickets.answer(&id));
        assert!(!tickets.open(id.clone()), "until the bytes are written the id is in flight");
        tickets.written(std::slice::from_ref(&id));
        assert!(tickets.is_empty() && tickets.open(id));
    }

    #[test]
    fn a_cancelled_request_is_owed_nothing() {
        let (mut tickets, id) = (Tickets::default(), RequestId::Number(1));
        tickets.open(id.clone());
        assert!(tickets.cancel(&id));
        assert!(!tickets.answer(&id));
        assert!(!tickets.cancel(&id));
        assert!(tickets.is_empty());
    }

    #[test]
    fn a_cancel_that_comes_after_the_answer_changes_nothing() {
        let (mut tickets, id) = (Tickets::default(), RequestId::Number(1));
        tickets.open(id.clone());
        tickets.answer(&id);
        assert!(!tickets.cancel(&id));
        assert_eq!((tickets.len(), tickets.owed()), (1, vec![]));
    }
}
