//! Every child of the supervision tree: its history, and the actor that lives in its place.
//!
//! It is kept outside of the supervisors: one that is replaced finds its children's lives, backoffs and quarantines as
//! they were, so a crash loop is not forgotten because somebody who watched it died too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use ractor::{ActorCell, ActorId};

use super::child::{Child, Circumstances, Exit, Next};
use super::child_spec::ChildSpec;
use super::message::ExitReason;
use super::supervision_log::SupervisionLog;

/// See the module documentation.
pub struct Census {
    people: Mutex<BTreeMap<Arc<str>, Person>>,
    log: SupervisionLog,
}

struct Person {
    child: Child,
    actor: Option<ActorCell>,
    /// The event that its next life follows from.
    cause: Option<u64>,
}

impl Census {
    /// Nobody, yet; what happens to them is written to `log`.
    pub fn new(log: SupervisionLog) -> Self {
        Self { people: Mutex::default(), log }
    }

    /// There is to be a child like this. One that lived when its supervisor died has died with it, as ractor has it:
    /// that is recorded now. Says what to do, as for any exit; a child that was never started is to be started.
    pub fn expect(&self, spec: ChildSpec, harmless: bool, circumstances: Circumstances) -> Next {
        let (path, now) = (Arc::clone(&spec.path), Instant::now());
        let mut people = self.people.lock();
        let person = people.entry(Arc::clone(&path)).or_insert_with(|| Person {
            child: Child::new(spec),
            actor: None,
            cause: None,
        });
        if !person.child.is_alive() {
            return if person.child.is_stopped() { Next::Stop } else { Next::Start(person.child.still_to_wait(now)) };
        }
        drop(people);
        let reason = ExitReason::Killed("its supervisor died".to_owned());
        self.exited(&path, &Exit { harmless, ..Exit::because(reason) }, circumstances)
    }

    /// The child is being started.
    pub fn start(&self, path: &str) {
        self.with(path, |person| {
            person.child.start().into_iter().for_each(|probe| self.log.record(probe));
        });
    }

    /// This actor lives in the child's place.
    pub fn lives(&self, path: &str, actor: ActorCell) {
        self.with(path, |person| person.actor = Some(actor));
    }

    /// Whether this very actor lives in the child's place: messages of dead ones come too late.
    pub fn is(&self, path: &str, actor: ActorId) -> bool {
        self.actor(path).is_some_and(|known| known.get_id() == actor)
    }

    /// The child is ready.
    pub fn ready(&self, path: &str, adopted: bool) {
        self.with(path, |person| {
            if !person.child.is_up() {
                let record = person.child.ready(Instant::now(), adopted);
                self.log.record_following(record, person.cause.take());
            }
        });
    }

    /// The child ended: what to do about it.
    pub fn exited(&self, path: &str, exit: &Exit, circumstances: Circumstances) -> Next {
        let next = self.with(path, |person| {
            person.actor = None;
            let (next, records) = person.child.exited(Instant::now(), exit, circumstances);
            let [exited, then] = records;
            let cause = self.log.record_following(exited, None);
            person.cause = self.log.record_following(then, cause);
            next
        });
        next.unwrap_or(Next::Stop)
    }

    /// The child ended as part of the server's end.
    pub fn stopped(&self, path: &str, graceful: bool) {
        self.with(path, |person| {
            person.actor = None;
            if !person.child.is_stopped() {
                self.log.record(person.child.stopped(graceful));
            }
        });
    }

    /// Which life the child is in.
    pub fn incarnation(&self, path: &str) -> u64 {
        self.with(path, |person| person.child.incarnation()).unwrap_or_default()
    }

    /// Whether the child is ready.
    pub fn is_up(&self, path: &str) -> bool {
        self.with(path, |person| person.child.is_up()).unwrap_or_default()
    }

    /// The actor that lives at `path`.
    pub fn actor(&self, path: &str) -> Option<ActorCell> {
        self.with(path, |person| person.actor.clone()).flatten()
    }

    fn with<T>(&self, path: &str, change: impl FnOnce(&mut Person) -> T) -> Option<T> {
        self.people.lock().get_mut(path).map(change)
    }
}
