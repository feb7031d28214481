//! The warm Stores of one worker, one per capability set.
//!
//! A Store's preopens are fixed when it is built, and a guest may keep data between calls. So a Store serves one
//! tenant and one set of permissions of one tool, and nobody else. Clients choose tenant ids, so their number is
//! bounded; the least recently used goes.

use std::sync::Arc;
use std::time::Instant;

use super::tool_table::ToolEntry;
use crate::config::defaults;
use crate::wasi::contract::bindings::FileToolPre;
use crate::wasi::engine::Engine;
use crate::wasi::error::Fault;
use crate::wasi::limits::Reuse;
use crate::wasi::manifest::Permissions;
use crate::wasi::store::{Sandbox, ToolState};
use crate::wasi::warm::WarmInstance;

/// What a Store may be shared between, besides the tool itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreKey {
    /// Whose calls.
    pub tenant_id: Arc<str>,
    /// With which permissions.
    pub permissions: Permissions,
}

/// See the module documentation; the most recently used is last.
#[derive(Default)]
pub struct WarmStores {
    stores: Vec<(StoreKey, WarmInstance)>,
}

impl WarmStores {
    /// Whether instances of `tool` outlive a call.
    pub fn keeps(tool: &ToolEntry) -> bool {
        tool.loaded.is_warm()
    }

    /// Whether there is an instance for `key`.
    pub fn has(&self, key: &StoreKey) -> bool {
        self.stores.iter().any(|(known, _)| known == key)
    }

    /// The instance for `key`, built if need be, or if it has grown beyond `most_memory` bytes.
    ///
    /// # Errors
    /// When it cannot be built.
    pub async fn get_or_build(
        &mut self,
        engine: &Engine,
        pre: &FileToolPre<ToolState>,
        sandbox: impl FnOnce() -> Sandbox,
        key: &StoreKey,
        most_memory: Option<usize>,
    ) -> Result<&mut WarmInstance, Fault> {
        if let Some(most) = most_memory {
            self.stores.retain(|(known, instance)| known != key || instance.memory_bytes() <= most);
        }
        match self.stores.iter().position(|(known, _)| known == key) {
            Some(last) if last + 1 == self.stores.len() => {}
            Some(position) => {
                let store = self.stores.remove(position);
                self.stores.push(store);
            }
            None => {
                let instance = WarmInstance::instantiate(engine, pre, &sandbox()).await?;
                if self.stores.len() == defaults::WARM_STORES {
                    self.stores.remove(0);
                }
                self.stores.push((key.clone(), instance));
            }
        }
        let (_, instance) = self.stores.last_mut().expect("a Store was just found or pushed");
        Ok(instance)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.stores.is_empty()
    }

    /// Drops every Store whose call did not return; says whether there was one.
    pub fn drop_torn(&mut self) -> bool {
        let before = self.stores.len();
        self.stores.retain(|(_, instance)| !instance.is_torn());
        self.stores.len() < before
    }

    /// Drops every Store that has served its time, or `calls` calls.
    pub fn drop_worn(&mut self, now: Instant, calls: u64, reuse: &Reuse) {
        self.stores.retain(|(_, instance)| !instance.is_worn(now, calls, reuse));
    }

    /// Drops every Store.
    pub fn drop_all(&mut self) {
        self.stores.clear();
    }
}
