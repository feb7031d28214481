//! The whole path: the real executable serving fs.read over stdio, beside the least that can; and beside itself with
//! nobody watching.

#[path = "parts/bare_loop.rs"]
mod bare_loop;
#[path = "parts/bare_tool.rs"]
mod bare_tool;
#[path = "parts/client.rs"]
mod client;
#[path = "parts/compare.rs"]
mod compare;
#[path = "parts/fixture.rs"]
mod fixture;
#[path = "parts/unwatched.rs"]
mod unwatched;

use std::path::Path;
use std::process::{Command, ExitCode};

use client::Client;
use compare::Compare;
use unwatched::Unwatched;

/// As the first argument, it makes this executable the bare server.
const BARE_LOOP: &str = "serve-bare-loop";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(BARE_LOOP) {
        let folder = arguments.next().expect("the folder to serve follows");
        bare_loop::serve(Path::new(&folder)).expect("the client reads and writes");
        return ExitCode::SUCCESS;
    }
    let folder = fixture::Folder::new();
    let server = Path::new(env!("CARGO_BIN_EXE_nurones-mcp"));
    let own = std::env::current_exe().expect("this executable has a path");
    let mut ours = Client::start(Command::new(server).arg("--allow").arg(folder.path()));
    let mut bare = Client::start(Command::new(own).arg(BARE_LOOP).arg(folder.path()));
    let mut compare = Compare::new("stdio");
    for in_flight in [1, 64, 256] {
        compare.pair(
            &format!("stdio_{in_flight}"),
            |calls| ours.call(calls, in_flight),
            |calls| bare.call(calls, in_flight),
        );
    }
    let mut off = Unwatched::new(server, &folder.path());
    let mut unwatched = Client::start(&mut off.server);
    off.switch_off();
    let mut watched = Client::start(&mut unwatched::watched(server, &folder.path()));
    compare.pair("watched_64", |calls| watched.call(calls, 64), |calls| unwatched.call(calls, 64));
    compare.finish()
}
