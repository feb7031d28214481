//! Whether requests are left to gather before they are read.
//!
//! Every read wakes the reader's thread and a worker's, which on an idle core costs more than a short call does. A client
//! that sends without waiting for its answers loses a fraction of a millisecond when several of its requests are read
//! together; one that waits for its answers loses throughput. From here they look the same, so it is tried: requests gather
//! for a while, and if fewer came then, it was the latter. This is dynamic interrupt moderation, as Linux has it for
//! network cards (`lib/dim`): decided by what came of it.
//!
//! ```text
//!              many reads, several in flight                    no fewer came
//!   Plain ─────────────────────────────────────► Trial ────────────────────────► Gathering ◄──┐ no more came
//!     ▲                                            │                                │  a second│
//!     └──────────── fewer came: not again for 1 s, 2 s, 4 s … 64 s ◄────────────────┴► Check ──┘
//! ```

use std::time::{Duration, Instant};

/// Requests are counted for so long before anything is decided.
const WINDOW: Duration = Duration::from_millis(50);

/// With fewer reads in a window there is nothing worth saving.
const MANY_READS: u32 = 150;

/// One read in so many must leave more than one request in flight: otherwise the client waits for each answer.
const CROWDED: u32 = 10;

/// Of 100 requests, so many must still come while they gather. Poisson arrivals vary by 5 in a window.
const STILL_COME: u64 = 85;

/// Gathering is checked against not gathering this often.
const CHECK_AFTER: Duration = Duration::from_secs(1);

/// After a trial that failed; doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(64);

/// See the module documentation. A pure core: the time is given.
#[derive(Debug)]
pub struct Coalescing {
    pause: Duration,
    mode: Mode,
    window: Window,
    /// How long a failed trial is remembered.
    retry: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Mode {
    /// Nothing gathers, and nothing is tried before that time, if one is set.
    Plain(Option<Instant>),
    /// Requests gather for a window; before, so many came in a second.
    Trial(u64),
    /// Requests gather until that time.
    Gathering(Instant),
    /// They do not for a window; before, so many came in a second.
    Check(u64),
}

/// What has been read since it began.
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    reads: u32,
    requests: u32,
    /// Reads that left more than one request in flight.
    crowded: u32,
}

impl Window {
    fn is_busy(&self) -> bool {
        self.reads >= MANY_READS && self.crowded * CROWDED >= self.reads
    }

    fn per_second(&self, lasted: Duration) -> u64 {
        (u128::from(self.requests) * 1_000_000 / lasted.as_micros().max(1)) as u64
    }
}

impl Coalescing {
    /// Requests may gather for `pause`; never, when that is zero.
    pub fn new(pause: Duration) -> Self {
        Self { pause, mode: Mode::Plain(None), window: Window::default(), retry: FIRST_RETRY }
    }

    /// So many requests were read, and so many are in flight: how long the next ones are to gather.
    pub fn read(&mut self, now: Instant, requests: u32, in_flight: usize) -> Duration {
        if self.pause.is_zero() {
            return Duration::ZERO;
        }
        let crowded = in_flight > 1;
        self.window.reads += 1;
        self.window.requests += requests;
        self.window.crowded += u32::from(crowded);
        let lasted = now.saturating_duration_since(*self.window.began.get_or_insert(now));
        if lasted >= WINDOW {
            let window = std::mem::replace(&mut self.window, Window { began: Some(now), ..Window::default() });
            self.mode = match self.mode {
                // After a silence nothing can be compared.
                Mode::Trial(_) | Mode::Gathering(_) | Mode::Check(_) if lasted >= 2 * WINDOW => Mode::Plain(None),
                _ => self.judge(now, &window, lasted),
            };
        }
        let gathers = crowded && matches!(self.mode, Mode::Trial(_) | Mode::Gathering(_));
        if gathers { self.pause } else { Duration::ZERO }
    }

    fn judge(&mut self, now: Instant, window: &Window, lasted: Duration) -> Mode {
        let came = window.per_second(lasted);
        match self.mode {
            Mode::Plain(Some(until)) if now < until => self.mode,
            Mode::Plain(_) if window.is_busy() => Mode::Trial(came),
            Mode::Plain(_) => Mode::Plain(None),
            Mode::Trial(before) if came * 100 >= before * STILL_COME => {
                self.retry = FIRST_RETRY;
                Mode::Gathering(now + CHECK_AFTER)
            }
            Mode::Gathering(until) if now < until => self.mode,
            Mode::Gathering(_) => Mode::Check(came),
            Mode::Check(before) if before * 100 >= came * STILL_COME => Mode::Gathering(now + CHECK_AFTER),
            Mode::Trial(_) | Mode::Check(_) => {
                let until = now + self.retry;
                self.retry = (self.retry * 2).min(LAST_RETRY);
                Mode::Plain(Some(until))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAUSE: Duration = Duration::from_micros(200);

    /// A client whose next request comes so long after the last was sent, or, if it waits, after the last was read.
    #[derive(Clone, Copy)]
    struct Client {
        apart_us: u64,
        in_flight: usize,
        waits: bool,
    }

    const OPEN: Client = Client { apart_us: 100, in_flight: 2, waits: false };
    const CLOSED: Client = Client { apart_us: 50, in_flight: 2, waits: true };

    /// Requests read in so many seconds, and the part of the time in which they gathered.
    fn simulate(coalescing: &mut Coalescing, start: Instant, seconds: u64, client: Client) -> (u64, f64) {
        let end = start + Duration::from_secs(seconds);
        let apart = Duration::from_micros(client.apart_us);
        let (mut now, mut next, mut read, mut gathered) = (start, start, 0_u64, Duration::ZERO);
        while now < end {
            now = now.max(next);
            let mut requests = 0;
            while next <= now {
                next = if client.waits { now } else { next } + apart;
                requests += 1;
            }
            read += u64::from(requests);
            let pause = coalescing.read(now, requests, client.in_flight);
            gathered += pause;
            now += pause;
        }
        (read, gathered.as_secs_f64() / (now - start).as_secs_f64())
    }

    #[test]
    fn a_client_that_does_not_wait_for_answers_is_read_in_batches_and_loses_nothing() {
        let (read, gathered) = simulate(&mut Coalescing::new(PAUSE), Instant::now(), 10, OPEN);
        assert!(read >= 99_990, "{read}");
        assert!(gathered > 0.8, "{gathered}");
    }

    #[test]
    fn a_client_that_waits_for_answers_is_soon_left_alone() {
        let (read, gathered) = simulate(&mut Coalescing::new(PAUSE), Instant::now(), 60, CLOSED);
        assert!(read >= 60 * 20_000 * 98 / 100, "{read}");
        assert!(gathered < 0.01, "{gathered}");
    }

    #[test]
    fn a_client_that_begins_to_wait_for_answers_is_noticed() {
        let (mut coalescing, start) = (Coalescing::new(PAUSE), Instant::now());
        simulate(&mut coalescing, start, 5, OPEN);
        let (_, gathered) = simulate(&mut coalescing, start + Duration::from_secs(5), 30, CLOSED);
        assert!(gathered < 0.05, "{gathered}");
    }

    #[test]
    fn one_request_at_a_time_and_few_requests_never_gather() {
        for client in [Client { in_flight: 1, ..CLOSED }, Client { apart_us: 1000, ..OPEN }] {
            assert_eq!(simulate(&mut Coalescing::new(PAUSE), Instant::now(), 5, client).1, 0.0);
        }
    }

    #[test]
    fn nothing_gathers_when_it_is_switched_off() {
        assert_eq!(simulate(&mut Coalescing::new(Duration::ZERO), Instant::now(), 5, OPEN).1, 0.0);
    }

    proptest! {
        #[test]
        fn no_load_makes_anybody_wait_longer_than_the_pause(
            reads in prop::collection::vec((0_u64..100_000, 0_u32..5000, 0_usize..5000), 0..2000),
        ) {
            let mut coalescing = Coalescing::new(PAUSE);
            let mut now = Instant::now();
            for (apart, requests, in_flight) in reads {
                now += Duration::from_micros(apart);
                let pause = coalescing.read(now, requests, in_flight);
                prop_assert!(pause.is_zero() || pause == PAUSE && in_flight > 1);
            }
        }
    }
}
