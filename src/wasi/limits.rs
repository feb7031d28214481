//! What one guest may use, and the limiter that says no.
//!
//! wasmtime's own defaults are generous (a guest may hold a million handles), so every limit is set for every Store.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// The most one call and one Store of a tool may use. Defaults and reasons are in `config::defaults`.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Wall-clock time of one call, instantiation included.
    pub deadline: Duration,
    /// Size of a linear memory, in bytes.
    pub memory_bytes: usize,
    /// Size of a result, and of what a command prints, in bytes.
    pub output_bytes: usize,
    /// Core instances in one Store; a component built by a compiler toolchain has about five.
    pub instances: usize,
    /// Tables in one Store.
    pub tables: usize,
    /// Elements of one table.
    pub table_elements: usize,
    /// WASI resources a guest holds at once: open files, directories, streams.
    pub handles: usize,
}

impl Limits {
    /// Linear memories in one Store. `memory_bytes` holds per memory, so their number is capped too.
    pub const MEMORIES: usize = 4;
    /// Bytes of randomness per request; one request cannot be interrupted, and 64 MiB would take 200 ms.
    pub const RANDOM_BYTES: u64 = 64 << 10;
    /// Bytes of standard error kept per call; the rest is dropped and counted.
    pub const STDERR_BYTES: usize = 16 << 10;
    /// Lines a tool may log per call; the rest is dropped and counted.
    pub const LOG_LINES: usize = 64;
    /// Bytes kept of one logged line.
    pub const LOG_LINE_BYTES: usize = 1024;
    /// Component-model handles per Store. wasmtime allows 100,000.
    pub const COMPONENT_HANDLES: usize = 1024;
    /// Added to the output limit for the host-call fuel, or a result of exactly the limit would trap.
    const FUEL_SLACK_BYTES: usize = 64 << 10;

    /// Bytes a guest may move to the host in one host call or result.
    pub fn hostcall_fuel(&self) -> usize {
        self.output_bytes + Self::FUEL_SLACK_BYTES
    }
}

/// How long an instance is used again. Defaults and reasons are in `config::defaults`.
#[derive(Debug, Clone, PartialEq)]
pub struct Reuse {
    /// Calls.
    pub calls: u64,
    /// Time since it was built.
    pub age: Duration,
    /// Bytes its memories may have kept after a call; memory never shrinks.
    pub memory_bytes: usize,
    /// Time without a call after which it is dropped.
    pub idle: Duration,
}

/// What a limiter refused in the life of its Store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Denials {
    /// Growth of a memory or a table.
    pub memory: bool,
    /// It was the caller's own budget that refused it, not the tool's limit.
    pub by_budget: bool,
}

/// Enforces the memory and table limits of one Store and remembers refusals, so that the trap that usually follows a
/// failed allocation can be told from a plain crash.
#[derive(Debug)]
pub struct Limiter {
    memory_bytes: usize,
    table_elements: usize,
    tables: usize,
    instances: usize,
    /// Bytes that the Store's memories have now.
    allocated: usize,
    /// What the caller of this call allows all of them together.
    budget: Option<usize>,
    denials: Denials,
}

impl Limiter {
    /// A limiter for a new Store.
    pub fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            tables: limits.tables,
            instances: limits.instances,
            allocated: 0,
            budget: None,
            denials: Denials::default(),
        }
    }

    /// What was refused so far.
    pub fn denials(&self) -> Denials {
        self.denials
    }

    /// Begins a call, whose caller allows `budget` bytes of memory; earlier refusals are forgotten.
    pub fn begin(&mut self, budget: Option<usize>) {
        self.denials = Denials::default();
        self.budget = budget;
    }

    /// Bytes that the Store's memories have now.
    pub fn allocated(&self) -> usize {
        self.allocated
    }

    fn decide(&mut self, what: &str, desired: usize, limit: usize, maximum: Option<usize>) -> bool {
        let allowed = desired <= limit;
        if !allowed {
            self.denials.memory = true;
            tracing::debug!(what, desired, limit, "growth refused");
        }
        // Past its own declared maximum a guest simply gets -1: that is no denial of ours.
        allowed && maximum.is_none_or(|maximum| desired <= maximum)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let all = self.allocated.saturating_add(desired.saturating_sub(current));
        if self.budget.is_some_and(|budget| all > budget) {
            self.denials = Denials { memory: true, by_budget: true };
            return Ok(false);
        }
        let allowed = self.decide("memory", desired, self.memory_bytes, maximum);
        if allowed {
            self.allocated = all;
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.decide("table", desired, self.table_elements, maximum))
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        Limits::MEMORIES
    }
}
