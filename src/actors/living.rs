//! Which actor lives where in the supervision tree, for an orderly end and for fault drills.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ractor::ActorCell;

/// See the module documentation.
#[derive(Default)]
pub struct Living {
    cells: Mutex<BTreeMap<Arc<str>, ActorCell>>,
}

impl Living {
    /// `cell` lives at `path` from now on.
    pub fn enter(&self, path: Arc<str>, cell: ActorCell) {
        self.cells.lock().insert(path, cell);
    }

    /// The actor at `path`.
    pub fn at(&self, path: &str) -> Option<ActorCell> {
        self.cells.lock().get(path).cloned()
    }

    /// Kills the actor at `path`; says whether there is one.
    pub fn kill(&self, path: &str) -> bool {
        self.at(path).is_some_and(|cell| {
            cell.kill();
            true
        })
    }
}
