//! The one wasmtime Engine of the process, and the clock that lets guests be interrupted.
//!
//! The Engine is hardened by switching off every WebAssembly proposal that our guests do not need. The ticker raises
//! the epoch every [`TICK`]; a guest in a loop yields at each tick, which is when its deadline is looked at.
//!
//! Rule: the ticker holds the engine weakly, and sleeps when no guest runs, so an idle server does not wake the CPU.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use wasmtime::{Config, EngineWeak};

/// Time between two epochs: how long a looping guest may run past its deadline before anyone can look.
pub const TICK: Duration = Duration::from_millis(2);

/// Stack a guest may use; deeper recursion is a trap. Host calls run on the rest of the fiber's 2 MiB.
const GUEST_STACK_BYTES: usize = 512 << 10;

/// Ticks without a running guest before the ticker goes to sleep (100 ms).
const IDLE_TICKS: u32 = 50;

/// The process-wide Engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    ticker: Arc<Ticker>,
}

impl Engine {
    /// Builds the Engine and starts its ticker.
    ///
    /// # Errors
    /// When this machine cannot run the generated code, or no thread can be started.
    pub fn new() -> wasmtime::Result<Self> {
        let inner = wasmtime::Engine::new(&hardened())?;
        let ticker = Ticker::start(inner.weak())?;
        Ok(Self { inner, ticker })
    }

    /// The wasmtime engine, for compiling and instantiating.
    pub fn raw(&self) -> &wasmtime::Engine {
        &self.inner
    }

    /// Keeps the epoch ticking until the returned guard is dropped. Hold one around every entry into a guest.
    pub fn running(&self) -> Running<'_> {
        self.ticker.running.fetch_add(1, Ordering::SeqCst);
        if self.ticker.asleep.load(Ordering::SeqCst) {
            self.ticker.wake();
        }
        Running { ticker: &self.ticker }
    }
}

/// An engine of the same settings that only compiles, without a clock.
///
/// # Errors
/// As [`Engine::new`].
pub fn for_compiling() -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&hardened())
}

/// wasmtime's configuration: only what the guests need, every stack and backtrace bounded.
///
/// `multi_memory` stays on, because composed components need it (without it the compiler panics on them); the number
/// of memories is capped by the limiter instead. The cargo features behind the switched-off proposals stay compiled
/// in: builds without them have had aborts of their own.
fn hardened() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .wasm_gc(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        .wasm_component_model_async(false)
        .concurrency_support(false)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .wasm_backtrace_max_frames(NonZeroUsize::new(16));
    config
}

/// A guest may be running; see [`Engine::running`].
pub struct Running<'a> {
    ticker: &'a Ticker,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.ticker.running.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Ticker {
    running: AtomicUsize,
    asleep: AtomicBool,
    thread: parking_lot::Mutex<Option<thread::Thread>>,
}

impl Ticker {
    fn start(engine: EngineWeak) -> std::io::Result<Arc<Self>> {
        let ticker = Arc::new(Self {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            thread: parking_lot::Mutex::new(None),
        });
        let shared = Arc::downgrade(&ticker);
        let handle = thread::Builder::new().name("epoch-ticker".to_owned()).spawn(move || {
            let mut idle = 0;
            while let (Some(engine), Some(ticker)) = (engine.upgrade(), shared.upgrade()) {
                engine.increment_epoch();
                drop(engine);
                idle = if ticker.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
                if idle > IDLE_TICKS {
                    ticker.sleep();
                    idle = IDLE_TICKS;
                }
                drop(ticker);
                thread::sleep(TICK);
            }
        })?;
        *ticker.thread.lock() = Some(handle.thread().clone());
        Ok(ticker)
    }

    /// Parks until a guest runs, or for a second, so that the thread notices when the Engine is gone. `running` is read again after `asleep` is set, and [`Engine::running`] reads them in
    /// the other order, so one of the two always sees the other.
    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        if self.running.load(Ordering::SeqCst) == 0 {
            thread::park_timeout(Duration::from_secs(1));
        }
        self.asleep.store(false, Ordering::SeqCst);
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.lock().as_ref() {
            thread.unpark();
        }
    }
}
