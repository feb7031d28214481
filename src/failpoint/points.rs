//! All failpoints, by the file they stand in.

use super::point::{Failpoint, Sort};

/// Declares the points and the list of all of them.
macro_rules! points {
    ($($(#[$doc:meta])* $sort:ident $constant:ident = $name:literal;)*) => {
        $($(#[$doc])* pub static $constant: Failpoint = Failpoint::new(Sort::$sort, $name);)*
        /// Every failpoint.
        pub static ALL: &[&Failpoint] = &[$(&$constant),*];
    };
}

points! {
    /// `mcp::transport`: before the input is read.
    Fault INPUT_READ = "input.read";
    /// `mcp::connection`: before a batch of answers is written.
    Fault OUTPUT_WRITE = "output.write";
    /// `mcp::admission`: before a call is let in.
    Fault ADMIT = "admission.admit";
    /// `actors::tool_table`: before a call is put into its lane.
    Fault LANE_SEND = "lane.send";
    /// `actors::worker_thread`: before the thread is started.
    Fault WORKER_START = "worker.start";
    /// `actors::worker_thread`: when a new thread builds its first Store.
    Fault WORKER_INIT = "worker.init";
    /// `actors::worker_thread`: with a call just taken from the lane.
    Fault WORKER_RECV = "worker.recv";
    /// `actors::worker_thread`: before the guest is entered.
    Fault GUEST_ENTER = "guest.enter";
    /// `actors::worker_thread`: after the guest has returned, before the answer is given.
    Fault GUEST_LEAVE = "guest.leave";
    /// `wasi::contract`: in a host function the guest calls.
    Fault GUEST_IMPORT = "guest.import";
    /// `wasi::store`: before a Store is built.
    Fault STORE_BUILD = "store.build";
    /// `wasi::executor`: before an executor is made anew.
    Fault EXECUTOR_RENEW = "executor.renew";
    /// `actors::tool_supervisor`: before a worker's actor is spawned.
    Fault SUPERVISOR_SPAWN = "supervisor.spawn";
    /// `actors::tool_supervisor`: with a message or a child's end in hand.
    Fault SUPERVISOR_HANDLE = "supervisor.handle";
    /// `actors::tools_supervisor`: with a message or a child's end in hand.
    Fault TOOLS_HANDLE = "tools_supervisor.handle";
    /// `actors::tool_worker`: with a message in hand.
    Fault WORKER_HANDLE = "worker.handle";
    /// `actors::event_bus`: with an event in hand.
    Fault BUS_HANDLE = "event_bus.handle";
    /// `actors::root_supervisor`: before a control actor is spawned.
    Fault ROOT_SPAWN = "root.spawn";
    /// `wasi::cache`: before a compiled module is read.
    Fault CACHE_READ = "cache.read";
    /// `wasi::cache`: before a compiled module is written.
    Fault CACHE_WRITE = "cache.write";
    /// `wasi::cache`: after a compiled module is written, before it gets its name.
    Fault CACHE_RENAME = "cache.rename";
    /// `wasi::compiler`: before the compiler's process is started.
    Fault COMPILE_SPAWN = "compile.spawn";
    /// `keyed::clerk`: before the ledger is written.
    Fault LEDGER_WRITE = "ledger.write";
    /// `keyed::clerk`: after the ledger was written, before anybody is told.
    Fault LEDGER_WRITTEN = "ledger.written";
    /// `journal::file`: before events are written.
    Fault JOURNAL_INSERT = "journal.insert";
    /// `journal::file`: after events are written, before old ones are deleted.
    Fault JOURNAL_TRIM = "journal.trim";
    /// `journal::file`: after old events are deleted, before the commit.
    Fault JOURNAL_COMMIT = "journal.commit";
    /// `journal::file`: after the commit.
    Fault JOURNAL_COMMITTED = "journal.committed";
    /// `actors::supervision_log`: before a line is written.
    Fault LOG_WRITE = "log.write";

    /// `mcp::connection`: an answer is thrown away.
    Mutant LOSE_ANSWER = "mutant.lose_answer";
    /// `mcp::connection`: the output buffer has no bound.
    Mutant UNBOUNDED_OUTPUT = "mutant.unbounded_output";
    /// `mcp::connection`: a client that is gone is not noticed.
    Mutant IGNORE_BROKEN_PIPE = "mutant.ignore_broken_pipe";
    /// `mcp::transport`: bad lines are not answered.
    Mutant IGNORE_BAD_LINES = "mutant.ignore_bad_lines";
    /// `mcp::transport`: cancellations are not passed on.
    Mutant IGNORE_CANCEL = "mutant.ignore_cancel";
    /// `wasi::loader`: a module that changed on disk is run.
    Mutant TRUST_MODULES = "mutant.trust_modules";
    /// `wasi::cache`: a compiled module that is damaged stays where it is.
    Mutant KEEP_DAMAGED = "mutant.keep_damaged";
    /// `actors::supervision_log`: whoever records waits.
    Mutant SLOW_RECORD = "mutant.slow_record";
    /// `actors::worker_thread`: a warm Store survives its fault.
    Mutant KEEP_TORN_STORE = "mutant.keep_torn_store";
    /// `actors::worker_thread`: memory is lost with every call.
    Mutant LEAK = "mutant.leak";
    /// `actors`: supervisors, gate and event bus hear of nothing. For a bench, not for a drill: what all
    /// of it costs.
    Mutant UNWATCHED = "mutant.unwatched";
}

/// The point of this name.
pub fn named(name: &str) -> Option<&'static Failpoint> {
    ALL.iter().copied().find(|point| point.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own_that_says_its_sort() {
        for point in ALL {
            assert_eq!(ALL.iter().filter(|other| other.name == point.name).count(), 1, "{}", point.name);
            assert_eq!(point.name.starts_with("mutant."), point.sort == Sort::Mutant, "{}", point.name);
            assert!(std::ptr::eq(named(point.name).unwrap(), *point));
        }
    }
}
