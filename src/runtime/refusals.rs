//! Says of tools that turned out to be unusable after the start what is said at the start of the others.

use std::sync::Arc;

use crate::actors::shared::Shared;
use crate::actors::supervision_log::{Reason, Record};

/// Logs every refusal once, until the server ends.
pub fn watch(shared: &Arc<Shared>) {
    let mut changes = shared.loader.changes();
    // Weak: a server that is gone has nothing to say.
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        let mut said = std::collections::BTreeSet::new();
        loop {
            // Before the first change too: some are known from the start.
            let Some(shared) = shared.upgrade() else { return };
            for tool in shared.table.iter() {
                let Some(refusal) = tool.loaded.refusal() else { continue };
                if said.insert(tool.published.clone()) {
                    let manifest = tool.loaded.manifest.source.display();
                    tracing::error!(%manifest, "not served: {refusal}");
                    shared.log.record(Record {
                        reason: Some(Reason::new("load_failed", None, &refusal.to_string())),
                        ..Record::new("tool_refused", format!("root/tools/{}", tool.published).into())
                    });
                }
            }
            drop(shared);
            if changes.changed().await.is_err() {
                return;
            }
        }
    });
}
