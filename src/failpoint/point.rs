//! One failpoint: dormant, or armed with a plan.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Signal, getpid, kill_process};
use thiserror::Error;

/// What happens by itself, or what takes a protection away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The server must keep its promises with this armed.
    Fault,
    /// A drill must fail with this armed.
    Mutant,
}

/// What an armed failpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Panics.
    Panic,
    /// Returns [`Injected`], for the place to make an error of its own of it.
    Fail,
    /// Blocks the thread for so long, then goes on.
    Delay(Duration),
    /// Allocates so many bytes, touches them and never frees them, then goes on.
    Leak(usize),
    /// Ends the process there and then, as `kill -9` does.
    Kill,
}

/// What is armed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What to do.
    pub action: Action,
    /// Only for this subject: a tool's published name.
    pub only: Option<String>,
    /// Hits that are let pass first.
    pub skip: u64,
    /// Hits that act, after which the point is dormant again.
    pub times: u64,
}

/// An armed failpoint said that the operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("injected by the failpoint {0}")]
pub struct Injected(pub &'static str);

impl From<Injected> for std::io::Error {
    fn from(injected: Injected) -> Self {
        Self::other(injected)
    }
}

/// See the module documentation.
pub struct Failpoint {
    /// What it is called, for example `worker.recv`.
    pub name: &'static str,
    /// Whether it is a fault or a mutant.
    pub sort: Sort,
    armed: AtomicBool,
    plan: Mutex<Option<Plan>>,
    acted: AtomicU64,
}

impl Failpoint {
    pub(super) const fn new(sort: Sort, name: &'static str) -> Self {
        Self { name, sort, armed: AtomicBool::new(false), plan: Mutex::new(None), acted: AtomicU64::new(0) }
    }

    /// Passes, unless this point is armed and its plan says otherwise.
    ///
    /// # Errors
    /// [`Injected`], when the plan says that the operation fails.
    ///
    /// # Panics
    /// When the plan says so.
    #[inline]
    pub fn hit(&self) -> Result<(), Injected> {
        self.hit_for("")
    }

    /// As [`Failpoint::hit`], at the expense of `subject`, a tool's published name.
    ///
    /// # Errors
    /// As [`Failpoint::hit`].
    ///
    /// # Panics
    /// As [`Failpoint::hit`].
    #[inline]
    pub fn hit_for(&self, subject: &str) -> Result<(), Injected> {
        if !self.armed.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.act(subject)
    }

    /// Arms it; what was armed before is forgotten.
    pub fn arm(&self, plan: Plan) {
        let mut armed = self.plan.lock();
        self.armed.store(plan.times > 0, Ordering::Relaxed);
        *armed = Some(plan);
    }

    /// Makes it dormant again.
    pub fn disarm(&self) {
        let mut armed = self.plan.lock();
        self.armed.store(false, Ordering::Relaxed);
        *armed = None;
    }

    /// How often it has acted since the process began.
    pub fn acted(&self) -> u64 {
        self.acted.load(Ordering::Relaxed)
    }

    #[cold]
    fn act(&self, subject: &str) -> Result<(), Injected> {
        let Some(action) = self.due(subject) else { return Ok(()) };
        self.acted.fetch_add(1, Ordering::Relaxed);
        match action {
            Action::Panic => panic!("injected by the failpoint {}", self.name),
            Action::Fail => Err(Injected(self.name)),
            Action::Delay(time) => {
                std::thread::sleep(time);
                Ok(())
            }
            Action::Leak(bytes) => {
                std::mem::forget(vec![1_u8; bytes]);
                Ok(())
            }
            Action::Kill => {
                // It cannot fail, and nobody would be there to hear of it.
                let _ = kill_process(getpid(), Signal::KILL);
                Ok(())
            }
        }
    }

    /// Counts this hit against the plan; the lock is not held while the action is taken.
    fn due(&self, subject: &str) -> Option<Action> {
        let mut armed = self.plan.lock();
        let plan = armed.as_mut()?;
        if plan.only.as_deref().is_some_and(|only| only != subject) {
            return None;
        }
        if plan.skip > 0 {
            plan.skip -= 1;
            return None;
        }
        let action = plan.action;
        plan.times -= 1;
        if plan.times == 0 {
            self.armed.store(false, Ordering::Relaxed);
            *armed = None;
        }
        Some(action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(action: Action) -> Plan {
        Plan { action, only: None, skip: 0, times: u64::MAX }
    }

    #[test]
    fn a_dormant_point_lets_everything_pass() {
        let point = Failpoint::new(Sort::Fault, "t");
        assert_eq!(point.hit(), Ok(()));
        point.arm(plan(Action::Fail));
        assert_eq!(point.hit(), Err(Injected("t")));
        point.disarm();
        assert_eq!((point.hit(), point.acted()), (Ok(()), 1));
    }

    #[test]
    fn a_plan_skips_then_acts_so_many_times_on_its_subject_alone() {
        let point = Failpoint::new(Sort::Fault, "t");
        point.arm(Plan { only: Some("probe".to_owned()), skip: 2, times: 1, ..plan(Action::Fail) });
        assert_eq!(point.hit_for("fs_read"), Ok(()));
        let hits: Vec<_> = (0..5).map(|_| point.hit_for("probe").is_err()).collect();
        assert_eq!(hits, [false, false, true, false, false]);
        assert_eq!(point.acted(), 1);
    }

    #[test]
    fn a_panic_does_not_keep_the_point_locked() {
        let point = Failpoint::new(Sort::Fault, "t");
        point.arm(Plan { times: 1, ..plan(Action::Panic) });
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| point.hit())).is_err());
        assert_eq!(point.hit(), Ok(()));
    }
}
