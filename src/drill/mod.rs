//! Fault drills: each starts the real server under load, makes one thing go wrong, and looks whether the promises hold.
//!
//! ```text
//!  catalogue ── prepare ──► stage: folder, tools, config ──► session: server process, writer, reader, console
//!      │                                                        │ everything seen
//!      └── run(scene) ── calls, cancels, signals ──────────────►│
//!                                                            history ──► checker ◄── supervision log
//!                                                                           │
//!                                          report ◄── findings ◄────────────┘
//! ```
//!
//! The driver is a client like any other, but for the [`console`](console::Console), over which it arms failpoints. The
//! [`checker`] works from what was written down alone.
//!
//! # How to write a drill
//!
//! 1. Add a [`Drill`](catalogue::Drill) to the list of its family: `guests.rs`, `wire.rs`, …
//! 2. `prepare` sets the stage: `stage.probe(NAME, manifest keys)`, `stage.configure(SECTION, keys)`, `stage.budget`.
//! 3. `run` opens a session with `scene.open()`, does its worst with `session.call`, `ask`, `cancel`, `send_raw`,
//!    `signal`, `console.arm`, and ends with `scene.end(&session)`. `scene.rounds` makes a fault again and again beside
//!    healthy calls, with quiet times between. An `Err` ends the drill and fails it; everything is judged anyway.
//! 4. What it measures goes into `scene.findings`: `count` (gates), `time` (gates in a long run only), `check`.
//! 5. `own` says what a person's tool (`--tool`) does in it; a target is called as `stage.own_call()` says.
//! 6. The `mutant` breaks the server in the one way that this drill is there to find, by config, manifest or failpoint,
//!    and says which check notices. `drill --prove NAME` has to print PROVEN.
//!
//! A short form takes 2 to 6 seconds. No wait is without an end, with the mutant neither.

pub mod answer;
mod assemble;
mod bombs;
mod cached;
pub mod call;
pub mod catalogue;
pub mod checker;
pub mod console;
mod control;
mod crash_loop;
pub mod findings;
mod garbage;
mod gauges;
mod guests;
pub mod history;
mod modules;
mod overload;
pub mod page;
pub mod past;
pub mod report;
pub mod scene;
pub mod session;
mod soak;
pub mod stage;
mod stalls;
pub mod supervision;
mod sweep;
mod traffic;
mod trend;
mod tries;
mod wire;
mod workers;
