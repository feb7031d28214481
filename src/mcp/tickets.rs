//! Which requests are open on a connection.
//!
//! A ticket begins when a request is passed on. It ends when the bytes of its answer go out, or when its
//! cancellation is passed on. Without a ticket nothing is written for a request; so it has one answer at most, and the
//! end of input can wait for exactly those that are owed.
//!
//! Tickets have numbers of their own, and rmcp sees only those. A client may use the id of a cancelled request again at
//! once, while the old handler still runs; under the client's id rmcp would take the old answer for the new one's.

use std::collections::HashMap;
use std::time::Instant;

use rmcp::model::RequestId;

/// A ticket's number: the request id under which rmcp knows the request.
pub type Number = i64;

struct Ticket<C> {
    id: RequestId,
    /// The answer waits to be written.
    answered: bool,
    /// The call that the request has become, and when it must be answered.
    call: Option<(C, Instant)>,
}

/// A ticket that was cancelled.
#[derive(Debug, PartialEq, Eq)]
pub struct Cancelled<C> {
    /// Its number.
    pub number: Number,
    /// Its call, if that is watched here.
    pub call: Option<C>,
}

/// See the module documentation. `C` is a handle to a call that is watched here, and not by rmcp.
pub struct Tickets<C> {
    next: Number,
    numbers: HashMap<RequestId, Number>,
    tickets: HashMap<Number, Ticket<C>>,
    /// No call has to be answered before that.
    earliest: Option<Instant>,
}

impl<C> Default for Tickets<C> {
    fn default() -> Self {
        Self { next: 0, numbers: HashMap::new(), tickets: HashMap::new(), earliest: None }
    }
}

impl<C: Clone> Tickets<C> {
    /// Opens a ticket; `None` when this id is in flight already.
    pub fn open(&mut self, id: &RequestId) -> Option<Number> {
        let std::collections::hash_map::Entry::Vacant(vacant) = self.numbers.entry(id.clone()) else { return None };
        self.next += 1;
        vacant.insert(self.next);
        self.tickets.insert(self.next, Ticket { id: id.clone(), answered: false, call: None });
        Some(self.next)
    }

    /// The id that an answer goes out under; `None` when nothing is owed.
    pub fn owed_id(&self, number: Number) -> Option<RequestId> {
        self.tickets.get(&number).filter(|ticket| !ticket.answered).map(|ticket| ticket.id.clone())
    }

    /// The answer is there; says whether it is still owed, and with that may be written.
    pub fn answer(&mut self, number: Number) -> bool {
        self.tickets.get_mut(&number).is_some_and(|ticket| !std::mem::replace(&mut ticket.answered, true))
    }

    /// Ends the ticket of a cancelled request; `None` when it is unknown or already answered.
    pub fn cancel(&mut self, id: &RequestId) -> Option<Cancelled<C>> {
        let number = *self.numbers.get(id)?;
        if self.tickets.get(&number)?.answered {
            return None;
        }
        let call = self.end(number)?.call.map(|(call, _)| call);
        Some(Cancelled { number, call })
    }

    /// The request of this ticket has become a call that must be answered by `latest`. Says whether that is sooner than
    /// for all others.
    pub fn watch(&mut self, number: Number, call: C, latest: Instant) -> bool {
        let Some(ticket) = self.tickets.get_mut(&number) else { return false };
        ticket.call = Some((call, latest));
        let sooner = self.earliest.is_none_or(|earliest| latest < earliest);
        if sooner {
            self.earliest = Some(latest);
        }
        sooner
    }

    /// No watched call must be answered before that.
    pub fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    /// The watched calls that must be answered by now.
    pub fn overdue(&mut self, now: Instant) -> Vec<C> {
        let owed = self.tickets.values().filter(|ticket| !ticket.answered).filter_map(|ticket| ticket.call.as_ref());
        let (overdue, waiting): (Vec<_>, Vec<_>) = owed.partition(|(_, latest)| *latest <= now);
        let overdue = overdue.into_iter().map(|(call, _)| call.clone()).collect();
        self.earliest = waiting.into_iter().map(|(_, latest)| *latest).min();
        overdue
    }

    /// The answers of these tickets go out: the client may use their ids again as soon as it has read them.
    pub fn sent(&mut self, numbers: &[Number]) {
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

    fn end(&mut self, number: Number) -> Option<Ticket<C>> {
        let ticket = self.tickets.remove(&number)?;
        self.numbers.remove(&ticket.id);
        Some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_id_is_answered_once_and_free_again_once_that_is_sent() {
        let (mut tickets, id) = (Tickets::<()>::default(), RequestId::Number(7));
        let number = tickets.open(&id).unwrap();
        assert_eq!(tickets.open(&id), None);
        assert_eq!(tickets.owed_id(number), Some(id.clone()));
        assert!(tickets.answer(number));
        assert!(!tickets.answer(number) && tickets.owed_id(number).is_none());
        assert_eq!(tickets.open(&id), None, "until the bytes go out the id is in flight");
        tickets.sent(&[number]);
        assert!(tickets.is_empty() && tickets.open(&id).is_some());
    }

    #[test]
    fn a_cancelled_request_is_owed_nothing_and_its_id_is_free_at_once() {
        let (mut tickets, id) = (Tickets::<()>::default(), RequestId::Number(7));
        let old = tickets.open(&id).unwrap();
        assert_eq!(tickets.cancel(&id), Some(Cancelled { number: old, call: None }));
        assert_eq!(tickets.cancel(&id), None);
        let new = tickets.open(&id).unwrap();
        assert!(!tickets.answer(old), "the late answer of the old request is not the new one's");
        assert!(tickets.answer(new));
    }

    #[test]
    fn a_cancel_that_comes_after_the_answer_changes_nothing() {
        let (mut tickets, id) = (Tickets::<()>::default(), RequestId::Number(7));
        let number = tickets.open(&id).unwrap();
        tickets.answer(number);
        assert_eq!(tickets.cancel(&id), None);
        assert_eq!((tickets.len(), tickets.owed()), (1, vec![]));
    }

    #[test]
    fn watched_calls_are_overdue_as_long_as_they_are_owed() {
        let mut tickets = Tickets::<char>::default();
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut open = |id: i64, call: char, latest| {
            let number = tickets.open(&RequestId::Number(id)).unwrap();
            (number, tickets.watch(number, call, latest))
        };
        assert!(open(1, 'a', at(10)).1);
        assert!(!open(2, 'b', at(20)).1);
        let (answered, sooner) = open(3, 'c', at(5));
        assert!(sooner);
        tickets.answer(answered);
        assert_eq!(tickets.earliest(), Some(at(5)));
        assert!(tickets.overdue(at(7)).is_empty());
        assert_eq!(tickets.earliest(), Some(at(10)));
        assert_eq!(tickets.overdue(at(10)), ['a']);
        let cancelled = tickets.cancel(&RequestId::Number(2)).unwrap();
        assert_eq!(cancelled.call, Some('b'));
        assert_eq!((tickets.overdue(at(99)), tickets.earliest()), (vec!['a'], None));
    }
}
