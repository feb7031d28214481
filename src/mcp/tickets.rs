//! Which requests are open on a connection.
//!
//! A ticket begins when a request is passed on. It ends when the bytes of its answer are written, or when its
//! cancellation is passed on. Without a ticket nothing is written for a request; so it has one answer at most, and the
//! end of input can wait for exactly those that are owed.
//!
//! Tickets have numbers of their own, and rmcp sees only those. A client may use the id of a cancelled request again at
//! once, while the old handler still runs; under the client's id rmcp would take the old answer for the new one's.

use std::collections::HashMap;

use rmcp::model::RequestId;

/// A ticket's number: the request id under which rmcp knows the request.
pub type Number = i64;

#[derive(Debug)]
struct Ticket {
    id: RequestId,
    /// The answer waits to be written.
    answered: bool,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Tickets {
    next: Number,
    numbers: HashMap<RequestId, Number>,
    tickets: HashMap<Number, Ticket>,
}

impl Tickets {
    /// Opens a ticket; `None` when this id is in flight already.
    pub fn open(&mut self, id: &RequestId) -> Option<Number> {
        let std::collections::hash_map::Entry::Vacant(vacant) = self.numbers.entry(id.clone()) else { return None };
        self.next += 1;
        vacant.insert(self.next);
        self.tickets.insert(self.next, Ticket { id: id.clone(), answered: false });
        Some(self.next)
    }

    /// The answer is there: the id it goes out under; `None` when nothing may be written.
    pub fn answer(&mut self, number: Number) -> Option<RequestId> {
        let ticket = self.tickets.get_mut(&number).filter(|ticket| !ticket.answered)?;
        ticket.answered = true;
        Some(ticket.id.clone())
    }

    /// Ends the ticket of a cancelled request; `None` when it is unknown or already answered.
    pub fn cancel(&mut self, id: &RequestId) -> Option<Number> {
        let number = *self.numbers.get(id)?;
        if self.tickets.get(&number)?.answered {
            return None;
        }
        self.end(number);
        Some(number)
    }

    /// The answers of these tickets are written.
    pub fn written(&mut self, numbers: &[Number]) {
        for number in numbers {
            self.end(*number);
        }
    }

    /// Requests in flight.
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// The tickets whose answer is owed.
    pub fn owed(&self) -> Vec<Number> {
        self.tickets.iter().filter(|(_, ticket)| !ticket.answered).map(|(number, _)| *number).collect()
    }

    fn end(&mut self, number: Number) {
        if let Some(ticket) = self.tickets.remove(&number) {
            self.numbers.remove(&ticket.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_answered_once_and_free_again_once_written() {
        let (mut tickets, id) = (Tickets::default(), RequestId::Number(7));
        let number = tickets.open(&id).unwrap();
        assert_eq!(tickets.open(&id), None);
        assert_eq!(tickets.answer(number), Some(id.clone()));
        assert_eq!(tickets.answer(number), None);
        assert_eq!(tickets.open(&id), None, "until the bytes are written the id is in flight");
        tickets.written(&[number]);
        assert!(tickets.is_empty() && tickets.open(&id).is_some());
    }

    #[test]
    fn a_cancelled_request_is_owed_nothing_and_its_id_is_free_at_once() {
        let (mut tickets, id) = (Tickets::default(), RequestId::Number(7));
        let old = tickets.open(&id).unwrap();
        assert_eq!(tickets.cancel(&id), Some(old));
        assert_eq!(tickets.cancel(&id), None);
        let new = tickets.open(&id).unwrap();
        assert_eq!(tickets.answer(old), None, "the late answer of the old request is not the new one's");
        assert_eq!(tickets.answer(new), Some(id));
    }

    #[test]
    fn a_cancel_that_comes_after_the_answer_changes_nothing() {
        let (mut tickets, id) = (Tickets::default(), RequestId::Number(7));
        let number = tickets.open(&id).unwrap();
        tickets.answer(number);
        assert_eq!(tickets.cancel(&id), None);
        assert_eq!((tickets.len(), tickets.owed()), (1, vec![]));
    }
}
