//! The least that can serve fs.read over stdio: read a line, call the guest, write a line. One thread, no supervision,
//! no limits, no cancellation. What the whole server is measured against.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bare_tool::BareTool;
use crate::fixture;

/// Bytes read or written at once, as in the server.
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

/// Serves fs.read on `folder` until the input ends. Whatever the request, the tool is fs.read.
pub fn serve(folder: &Path) -> io::Result<()> {
    let engine = nurones_mcp::wasi::engine::Engine::new().expect("wasmtime runs here");
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        let tool = BareTool::new(engine.raw(), &fixture::guest("fs-read"), folder).await;
        answer_all(&mut tool.expect("the guest can be instantiated")).await
    })
}

async fn answer_all(tool: &mut BareTool) -> io::Result<()> {
    let mut input = BufReader::with_capacity(CHUNK_BYTES, io::stdin().lock());
    let mut output = BufWriter::with_capacity(CHUNK_BYTES, io::stdout().lock());
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let request: Request<'_> = serde_json::from_str(&line)?;
        if let Some(id) = request.id {
            let arguments = request.params.and_then(|params| params.arguments);
            let result = match arguments.filter(|_| request.method == "tools/call") {
                Some(arguments) => {
                    let text = serde_json::to_string(&tool.call(arguments.get()).await)?;
                    format!(r#"{{"content":[{{"type":"text","text":{text}}}]}}"#)
                }
                None => "{}".to_owned(),
            };
            writeln!(output, r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)?;
        }
        line.clear();
        // Answers go out together when no further request has come.
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
    Ok(())
}
