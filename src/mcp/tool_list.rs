//! The list of tools as clients see it, and telling them when it has changed.
//!
//! It is there at once. A tool that nobody has asked yet what it is stands in it with what its manifest says, until it
//! has been compiled and asked in the background; one that turns out to be unusable goes. Clients of the older era are
//! told by `notifications/tools/list_changed`, those since 2026-07-28 by how long the list may be kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rmcp::model::{ListToolsResult, PaginatedRequestParams, Tool};
use rmcp::{ErrorData, Peer, RoleServer};

use super::tools;
use crate::actors::shared::Shared;

/// How long a client may keep the list, in milliseconds, once every tool has said what it is: from then on only a tool
/// that turns out to be unusable changes it.
const TTL_MS: u64 = 300_000;

/// How long until then.
const PROVISIONAL_TTL_MS: u64 = 1_000;

/// The list for one connection.
pub struct ToolList {
    shared: Arc<Shared>,
    /// The list, and the number of changes it contains.
    rendered: Mutex<Option<(u64, Arc<Vec<Tool>>)>>,
    announcing: AtomicBool,
}

impl ToolList {
    /// The list of the tools of `shared`.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, rendered: Mutex::new(None), announcing: AtomicBool::new(false) }
    }

    /// Every tool that is served and that the user may call, as far as is known now.
    pub fn tools(&self) -> Arc<Vec<Tool>> {
        // Read first: a change during rendering makes the next caller render again.
        let changes = *self.shared.loader.changes().borrow();
        let mut rendered = self.rendered.lock();
        match &*rendered {
            Some((then, tools)) if *then == changes => Arc::clone(tools),
            _ => {
                let tools: Arc<Vec<Tool>> =
                    Arc::new(self.shared.table.listed().map(|tool| tools::listed(tool)).collect());
                *rendered = Some((changes, Arc::clone(&tools)));
                tools
            }
        }
    }

    /// The one page there is.
    ///
    /// # Errors
    /// When another is asked for.
    pub fn page(&self, request: Option<&PaginatedRequestParams>) -> Result<ListToolsResult, ErrorData> {
        if request.is_some_and(|request| request.cursor.is_some()) {
            return Err(ErrorData::invalid_params("unknown cursor: the list has one page; leave the cursor out", None));
        }
        Ok(ListToolsResult::with_all_items(self.tools().as_ref().clone()))
    }

    /// How long a client may keep the page, in milliseconds.
    pub fn ttl_ms(&self) -> u64 {
        if self.shared.table.is_settled() { TTL_MS } else { PROVISIONAL_TTL_MS }
    }

    /// Tells `peer` of every change from now on.
    pub fn announce(&self, peer: &Peer<RoleServer>) {
        if self.announcing.swap(true, Ordering::SeqCst) {
            return;
        }
        let (mut changes, peer) = (self.shared.loader.changes(), peer.clone());
        tokio::spawn(async move {
            while changes.changed().await.is_ok() && peer.notify_tool_list_changed().await.is_ok() {}
        });
    }
}
