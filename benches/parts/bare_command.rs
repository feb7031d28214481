//! The least that can run a command guest: wasmtime and WASI preview 1, a new Store for each run.

use std::path::{Path, PathBuf};

use wasmtime::{Engine, InstancePre, Linker, Module, Store};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};

use crate::bare_tool::{NO_DEADLINE, folder_only};

/// Bytes the command may print.
const OUTPUT_BYTES: usize = 4 << 20;

/// A compiled command.
pub struct BareCommand {
    engine: Engine,
    pre: InstancePre<WasiP1Ctx>,
    folder: PathBuf,
}

impl BareCommand {
    /// Compiles `module`, which will see `folder` as its one directory.
    pub fn new(engine: &Engine, module: &[u8], folder: &Path) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        p1::add_to_linker_async(&mut linker, |wasi: &mut WasiP1Ctx| wasi)?;
        let pre = linker.instantiate_pre(&Module::from_binary(engine, module)?)?;
        Ok(Self { engine: engine.clone(), pre, folder: folder.to_owned() })
    }

    /// Runs the command once; returns what it printed.
    pub async fn run(&self, arguments: &'static str) -> wasmtime::Result<Vec<u8>> {
        let stdout = MemoryOutputPipe::new(OUTPUT_BYTES);
        let mut wasi = folder_only(&self.folder)?;
        wasi.stdin(MemoryInputPipe::new(arguments)).stdout(stdout.clone());
        let mut store = Store::new(&self.engine, wasi.build_p1());
        store.set_epoch_deadline(NO_DEADLINE);
        let instance = self.pre.instantiate_async(&mut store).await?;
        instance.get_typed_func::<(), ()>(&mut store, "_start")?.call_async(&mut store, ()).await?;
        drop(store);
        Ok(stdout.try_into_inner().expect("the Store that shared it is gone").into())
    }
}
