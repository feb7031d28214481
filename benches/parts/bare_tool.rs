//! The least that can call a warm tool: wasmtime, WASI and the generated bindings, without limits, deadlines or capture.
//! What the runtime adds to a call is measured against this.

use std::path::{Path, PathBuf};

use nurones_mcp::wasi::contract::bindings::nurones::tool::types::{Content, LogLevel, Outcome};
use nurones_mcp::wasi::contract::bindings::nurones::tool::{files, host, types};
use nurones_mcp::wasi::contract::bindings::{FileTool, FileToolPre};
use nurones_mcp::wasi::files::open_below;
use wasmtime::component::{Component, HasSelf, Linker, Resource};
use wasmtime::{Engine, Store};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::{FsPerms, ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, p2};

/// Ticks until a guest would be interrupted: never.
pub const NO_DEADLINE: u64 = u64::MAX / 2;

/// A linked tool, from which instances are made.
pub struct BareGuest {
    engine: Engine,
    pre: FileToolPre<State>,
    folder: PathBuf,
}

impl BareGuest {
    /// Compiles `module`, which will see `folder` as its one directory.
    pub fn new(engine: &Engine, module: &[u8], folder: &Path) -> wasmtime::Result<Self> {
        Self::link(engine, &Component::from_binary(engine, module)?, folder)
    }

    /// Links what is compiled.
    pub fn link(engine: &Engine, component: &Component, folder: &Path) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        p2::add_to_linker_async(&mut linker)?;
        host::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        files::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        let pre = FileToolPre::new(linker.instantiate_pre(component)?)?;
        Ok(Self { engine: engine.clone(), pre, folder: folder.to_owned() })
    }

    /// A new Store with an instance.
    pub async fn instantiate(&self) -> wasmtime::Result<BareTool> {
        let wasi = folder_only(&self.folder)?.build();
        let mut store = Store::new(&self.engine, State { wasi, table: ResourceTable::new() });
        store.set_epoch_deadline(NO_DEADLINE);
        let guest = self.pre.instantiate_async(&mut store).await?;
        Ok(BareTool { store, guest })
    }
}

/// A tool in a plain Store.
pub struct BareTool {
    store: Store<State>,
    guest: FileTool,
}

impl BareTool {
    /// Compiles `module` and instantiates it with `folder` as its one directory.
    pub async fn new(engine: &Engine, module: &[u8], folder: &Path) -> wasmtime::Result<Self> {
        BareGuest::new(engine, module, folder)?.instantiate().await
    }

    /// Runs the tool once; its result must be text.
    pub async fn call(&mut self, arguments: &str) -> String {
        let called = self.guest.call_call(&mut self.store, arguments, "{}", None).await;
        match called.expect("the guest does not trap").expect("the tool succeeds") {
            Outcome::Complete(completion) => match completion.content.into_iter().next() {
                Some(Content::Text(text)) => text,
                other => panic!("not a text: {other:?}"),
            },
            Outcome::InputRequired(_) => panic!("the tool asks back"),
        }
    }
}

/// A WASI context that grants one folder, and reads it on the calling thread, as the embedded tools do.
pub fn folder_only(folder: &Path) -> wasmtime::Result<WasiCtxBuilder> {
    let mut wasi = WasiCtxBuilder::new();
    let name = folder.to_str().expect("the folder's name is UTF-8");
    wasi.allow_blocking_current_thread(true).preopened_dir(folder, name, FsPerms::ReadOnly)?;
    Ok(wasi)
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for State {}

impl host::Host for State {
    fn progress(&mut self, _: f64, _: Option<f64>, _: Option<String>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn log(&mut self, _: LogLevel, _: String) -> wasmtime::Result<()> {
        Ok(())
    }

    fn output_limit(&mut self) -> wasmtime::Result<u64> {
        Ok(4 << 20)
    }
}

impl files::Host for State {
    fn open_regular(
        &mut self,
        directory: Resource<Descriptor>,
        path: String,
    ) -> wasmtime::Result<Result<files::Opened, files::Unopened>> {
        open_below(&mut self.table, &directory, &path)
    }

    fn copy_mode(&mut self, _: Resource<Descriptor>, _: Resource<Descriptor>) -> wasmtime::Result<Result<(), String>> {
        Ok(Err("not needed here".to_owned()))
    }
}
