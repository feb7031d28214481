//! Keeps the ledger, on a thread of its own: a commit waits for the disk, and nobody who serves may.
//!
//! What is asked meanwhile is written on one page, so that many calls share the price of one commit. Whoever asks for a
//! call that somebody is making waits here: this server's own ends are seen at once, other servers' are looked for.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use thiserror::Error;
use tokio::sync::oneshot;

use super::ledger::{Asking, Begun, Claim, Holder, Ledger, Page};
use super::owner::Owner;
use crate::config::KeyPolicy;
use crate::failpoint::points;
use crate::private_folder;

/// Calls that may wait to be looked up; more are refused.
const ASKED: usize = 4096;

/// Whoever was told to make a call must be able to say how it ended: there are fewer of those than calls may be in flight.
const MAILBOX: usize = 4 * ASKED;

/// What is written on one page, at most.
const BATCH: usize = 256;

/// How often another server's calls are looked for.
const LOOK: Duration = Duration::from_millis(20);

/// How often the ledger is tried again when it could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// Why nothing is known about a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unavailable {
    /// Too many ask at once.
    #[error("too many calls with idempotency keys wait; try again later")]
    Busy,
    /// There is nowhere to keep keys, or it cannot be used.
    #[error("idempotency keys cannot be kept: {0}; see the server's log, or call without a key")]
    Broken(Arc<str>),
}

/// The calls that are made once; cheap to clone. Costs nothing until the first of them.
#[derive(Clone)]
pub struct Keyed {
    inner: Arc<Inner>,
}

struct Inner {
    folder: Option<PathBuf>,
    keep: KeyPolicy,
    clerk: OnceLock<Result<Sender<Asked>, Unavailable>>,
}

enum Asked {
    Begin(Claim, oneshot::Sender<Result<Begun, Unavailable>>),
    Settle(Claim, End, oneshot::Sender<Result<(), Unavailable>>),
}

/// How a call that was begun ended.
#[derive(Debug)]
enum End {
    Done(String),
    Unknown,
    NotMade,
}

/// The duty to say how a call ended that was begun. Dropped without a word, nobody knows.
pub struct Ticket {
    keyed: Keyed,
    claim: Option<Claim>,
}

impl Keyed {
    /// Keys are kept in `folder`, if there is one.
    pub fn new(folder: Option<PathBuf>, keep: KeyPolicy) -> Self {
        Self { inner: Arc::new(Inner { folder, keep, clerk: OnceLock::new() }) }
    }

    /// The most bytes of an answer that are kept.
    pub fn answer_bytes(&self) -> usize {
        self.inner.keep.answer_bytes
    }

    /// Asks what is to be done about `claim`, and waits for as long as it is being made elsewhere. With
    /// [`Begun::Run`] comes a ticket.
    ///
    /// # Errors
    /// See [`Unavailable`].
    pub async fn begin(&self, claim: Claim) -> Result<(Begun, Option<Ticket>), Unavailable> {
        let clerk = self.clerk()?;
        if clerk.len() >= ASKED {
            return Err(Unavailable::Busy);
        }
        let (reply, answer) = oneshot::channel();
        clerk.try_send(Asked::Begin(claim.clone(), reply)).map_err(|_| Unavailable::Busy)?;
        let mut wait = Wait { keyed: self.clone(), claim: claim.clone(), answer };
        let begun = (&mut wait.answer).await.unwrap_or_else(|_| Err(gone()))?;
        let ticket = (begun == Begun::Run).then(|| Ticket { keyed: self.clone(), claim: Some(claim) });
        Ok((begun, ticket))
    }

    fn clerk(&self) -> Result<&Sender<Asked>, Unavailable> {
        let start = || {
            let nowhere = || Unavailable::Broken("there is no folder for them; choose one with --state-dir".into());
            let folder = self.inner.folder.clone().ok_or_else(nowhere)?;
            let (sender, receiver) = bounded(MAILBOX);
            let books = Books::new(folder, self.inner.keep);
            let thread =
                std::thread::Builder::new().name("keyed-calls".to_owned()).spawn(move || books.keep(&receiver));
            thread.map(|_| sender).map_err(|error| Unavailable::Broken(error.to_string().into()))
        };
        self.inner.clerk.get_or_init(start).as_ref().map_err(Unavailable::clone)
    }

    /// Says how a call ended; the answer comes once that is on disk.
    fn settle(&self, claim: Claim, end: End) -> oneshot::Receiver<Result<(), Unavailable>> {
        let (reply, answer) = oneshot::channel();
        if let Ok(clerk) = self.clerk() {
            // It has room, see MAILBOX; if not, nobody will know the end of this call, which is what the ledger then says.
            let _ = clerk.try_send(Asked::Settle(claim, end, reply));
        }
        answer
    }
}

/// Somebody who waits to hear what is to be done. Gone before that is heard, they will not do it.
struct Wait {
    keyed: Keyed,
    claim: Claim,
    answer: oneshot::Receiver<Result<Begun, Unavailable>>,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.answer.close();
        if matches!(self.answer.try_recv(), Ok(Ok(Begun::Run))) {
            self.keyed.settle(self.claim.clone(), End::NotMade);
        }
    }
}

impl Ticket {
    /// The call was made, and this is its answer.
    ///
    /// # Errors
    /// When that cannot be written down now; it is tried again.
    pub async fn done(mut self, answer: String) -> Result<(), Unavailable> {
        let Some(claim) = self.claim.take() else { return Ok(()) };
        self.keyed.settle(claim, End::Done(answer)).await.unwrap_or_else(|_| Err(gone()))
    }

    /// The call was not made.
    pub async fn not_made(mut self) {
        let Some(claim) = self.claim.take() else { return };
        // Whoever asks again must find the key free; if this cannot be written now, it will be.
        let _ = self.keyed.settle(claim, End::NotMade).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.keyed.settle(claim, End::Unknown);
        }
    }
}

fn gone() -> Unavailable {
    Unavailable::Broken("the thread that keeps them has ended".into())
}

type Waiting = oneshot::Sender<Result<Begun, Unavailable>>;
type Settled = oneshot::Sender<Result<(), Unavailable>>;

/// What the thread knows.
struct Books {
    folder: PathBuf,
    keep: KeyPolicy,
    /// This server's name: the same for as long as it lives, as what it has begun stands under it.
    owner: Option<Owner>,
    ledger: Option<Ledger>,
    /// Those who wait for a call that somebody is making.
    waiting: HashMap<Claim, Vec<Waiting>>,
    /// The keys of calls that were handed out and have not ended, each with its tenant.
    running: HashSet<(String, String)>,
    /// What has yet to be written down.
    unsettled: Vec<(Claim, End, Option<Settled>)>,
}

impl Books {
    fn new(folder: PathBuf, keep: KeyPolicy) -> Self {
        Self {
            folder,
            keep,
            owner: None,
            ledger: None,
            waiting: HashMap::new(),
            running: HashSet::new(),
            unsettled: Vec::new(),
        }
    }

    /// Until nobody can ask any more.
    fn keep(mut self, mailbox: &Receiver<Asked>) {
        loop {
            let patience = match (self.waiting.is_empty(), self.unsettled.is_empty()) {
                (false, _) => LOOK,
                (true, false) => RETRY,
                (true, true) => Duration::MAX,
            };
            let first = match mailbox.recv_timeout(patience) {
                Ok(asked) => Some(asked),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut asking = Vec::new();
            for asked in first.into_iter().chain(mailbox.try_iter().take(BATCH)) {
                match asked {
                    Asked::Begin(claim, reply) => asking.push((claim, reply)),
                    Asked::Settle(claim, end, reply) => self.unsettled.push((claim, end, Some(reply))),
                }
            }
            for (claim, reply) in asking {
                self.waiting.entry(claim).or_default().push(reply);
            }
            if catch_unwind(AssertUnwindSafe(|| self.turn())).is_err() {
                // A bug of ours; whether a page was written is seen when the ledger is opened anew.
                self.ledger = None;
                self.fail("the server failed on them");
            }
        }
    }

    /// Writes down what has ended, and looks what can be said to those who wait.
    fn turn(&mut self) {
        self.waiting.retain(|_, replies| {
            replies.retain(|reply| !reply.is_closed());
            !replies.is_empty()
        });
        match self.page() {
            Ok(said) => self.tell(said),
            Err(error) => self.fail(&error),
        }
    }

    fn page(&mut self) -> Result<Vec<(Claim, Begun)>, String> {
        let owner = match &mut self.owner {
            Some(owner) => &*owner,
            none => none.insert(sign_on(&self.folder)?),
        };
        let ledger = match &mut self.ledger {
            Some(ledger) => ledger,
            none => none.insert(Ledger::open(&self.folder.join("calls.db")).map_err(said)?),
        };
        let holder = |id: &str, claim: &Claim| match id == owner.id() {
            true if self.running.contains(&name(claim)) => Holder::Alive,
            true => Holder::Nobody,
            false if owner.is_alive(id) => Holder::Alive,
            false => Holder::Dead,
        };
        let asking = Asking { owner: owner.id(), holder: &holder, now_ms: now_ms(), keep: self.keep };
        let write = |page: &mut Page<'_>| {
            for (claim, end, _) in &self.unsettled {
                match end {
                    End::Done(answer) => page.finish(claim, answer, &asking)?,
                    End::Unknown => page.give_up(claim, &asking)?,
                    End::NotMade => page.release(claim, &asking)?,
                }
            }
            let mut taken = HashSet::new();
            let begin = |claim: &Claim| {
                // Another call under a key that is being given away on this very page.
                let begun = match taken.contains(&name(claim)) {
                    true => Begun::Conflict,
                    false => page.begin(claim, &asking)?,
                };
                if begun == Begun::Run {
                    taken.insert(name(claim));
                }
                Ok((claim.clone(), begun))
            };
            self.waiting.keys().map(begin).collect::<rusqlite::Result<Vec<_>>>()
        };
        points::LEDGER_WRITE.hit().map_err(|error| error.to_string())?;
        let mut page = ledger.page().map_err(said)?;
        let begun = write(&mut page).map_err(said)?;
        page.commit().map_err(said)?;
        points::LEDGER_WRITTEN.hit().map_err(|error| error.to_string())?;
        Ok(begun)
    }

    fn tell(&mut self, said: Vec<(Claim, Begun)>) {
        for (claim, _, reply) in self.unsettled.drain(..) {
            self.running.remove(&name(&claim));
            // Who does not wait for it does not mind.
            reply.map(|reply| reply.send(Ok(())));
        }
        for (claim, begun) in said {
            match begun {
                Begun::Running => {}
                Begun::Run => self.hand_over(claim),
                begun => {
                    let replies = self.waiting.remove(&claim).unwrap_or_default();
                    replies.into_iter().for_each(|reply| drop(reply.send(Ok(begun.clone()))));
                }
            }
        }
    }

    /// The first of those who wait is to make the call, the others wait for that.
    fn hand_over(&mut self, claim: Claim) {
        let mut replies = self.waiting.remove(&claim).unwrap_or_default().into_iter();
        // If all of them went away meanwhile, it is made by nobody, and its key is free for whoever asks next.
        if replies.any(|reply| reply.send(Ok(Begun::Run)).is_ok()) {
            let others: Vec<_> = replies.collect();
            if !others.is_empty() {
                self.waiting.insert(claim.clone(), others);
            }
            self.running.insert(name(&claim));
        }
    }

    fn fail(&mut self, error: &str) {
        tracing::error!(folder = %self.folder.display(), "idempotency keys cannot be kept: {error}");
        let broken = Unavailable::Broken(error.into());
        for (_, replies) in self.waiting.drain() {
            replies.into_iter().for_each(|reply| drop(reply.send(Err(broken.clone()))));
        }
        for (_, _, reply) in &mut self.unsettled {
            reply.take().map(|reply| reply.send(Err(broken.clone())));
        }
    }
}

fn sign_on(folder: &Path) -> Result<Owner, String> {
    private_folder::prepare(folder, "state folder", "--state-dir")?;
    Owner::sign_on(&folder.join("owners")).map_err(|error| error.to_string())
}

fn said(error: rusqlite::Error) -> String {
    error.to_string()
}

/// What the ledger knows a claim by: another call under the same key is another claim.
fn name(claim: &Claim) -> (String, String) {
    (claim.tenant.clone(), claim.key.clone())
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
