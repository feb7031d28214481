//! The command line, and the plan and server it stands for.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use nurones_mcp::load::{Arrivals, Call, Mode, Plan, parse_duration};
use serde_json::{Map, Value, json};

/// Measures how fast an MCP server answers calls of one tool over stdio.
///
/// Without options: 10,000 reads a second of a 1 KiB file for 10 seconds, by the nurones-mcp beside this program.
/// Calls are made at a set rate (--rate), or so that a set number is always in flight (--in-flight).
#[derive(Debug, Parser)]
#[command(name = "nurones-load", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Args {
    /// Open loop: calls per second, whatever the server does; latency counts from when a call was due. [default:
    /// 10000]
    #[arg(long, value_name = "N", conflicts_with = "in_flight")]
    rate: Option<f64>,
    /// Closed loop: calls in flight; the next is sent when one is answered.
    #[arg(long, value_name = "N")]
    in_flight: Option<usize>,
    /// How calls of an open loop are spaced: evenly, or as independent callers would.
    #[arg(long, value_enum, default_value = "fixed", conflicts_with = "in_flight")]
    arrivals: Spacing,
    /// What the randomness of `--arrivals poisson` starts from; the same seed makes the same arrivals.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long to measure: a number with ms, s or m.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// How long to do the same before that without counting.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    warm_up: Duration,
    /// How long to wait for missing answers after the end; then they are lost.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    drain: Duration,
    /// The tool.
    #[arg(long, value_name = "NAME", default_value = "fs.read")]
    tool: String,
    /// Its arguments, as a JSON object. Without a server command, the server may read the working folder.
    #[arg(long, value_name = "JSON", value_parser = parse_arguments)]
    args: Option<Map<String, Value>>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Any MCP server that speaks over standard input and output, with its arguments.
    #[arg(last = true, value_name = "SERVER")]
    server: Vec<OsString>,
}

const AFTER_HELP: &str = "\
Examples:
  nurones-load                                             our server at 10,000 calls a second
  nurones-load --in-flight 64 --duration 30s               as fast as it goes with 64 calls in flight
  nurones-load --rate 2000 --arrivals poisson --args '{\"path\":\"README.md\"}'
  nurones-load --in-flight 64 --tool read_text_file --args '{\"path\":\"/data/a.txt\"}' \\
      -- npx -y @modelcontextprotocol/server-filesystem /data

Ctrl-C stops sending, waits for what is in flight, and reports; a second one ends at once.

Exit codes:
  0 measured, every call answered   1 calls were lost, or the server ended   64 usage
  69 the server does not start, or the first call fails   74 nobody reads standard output";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Spacing {
    Fixed,
    Poisson,
}

fn parse_arguments(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        Ok(_) => Err("must be a JSON object, for example '{\"path\":\"README.md\"}'".to_owned()),
        Err(error) => Err(format!("is not JSON: {error}; write an object, for example '{{\"path\":\"README.md\"}}'")),
    }
}

/// What the command line stands for.
pub struct Job {
    pub plan: Plan,
    pub server: Command,
    /// Held until the end.
    _folder: Option<Folder>,
}

impl Args {
    /// Makes the plan and the server's command, and the file to read if none was named.
    pub fn job(&self) -> Result<Job, String> {
        let mode = match self.in_flight {
            Some(in_flight) => Mode::Closed { in_flight },
            None => Mode::Open {
                rate: self.rate.unwrap_or(10_000.0),
                arrivals: match self.arrivals {
                    Spacing::Fixed => Arrivals::Fixed,
                    Spacing::Poisson => Arrivals::Poisson,
                },
                seed: self.seed,
            },
        };
        let (server, folder) = self.server()?;
        let arguments = match (&self.args, &folder) {
            (Some(arguments), _) => arguments.clone(),
            (None, Some(folder)) => folder.arguments(),
            (None, None) => Map::new(),
        };
        let call = Call { tool: self.tool.clone(), arguments };
        let plan = Plan { mode, duration: self.duration, warm_up: self.warm_up, drain: self.drain, call };
        Ok(Job { plan, server, _folder: folder })
    }

    fn server(&self) -> Result<(Command, Option<Folder>), String> {
        if let Some((program, args)) = self.server.split_first() {
            let mut server = Command::new(program);
            server.args(args);
            return Ok((server, None));
        }
        let own = std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
        let mut server = Command::new(own.with_file_name("nurones-mcp"));
        if self.args.is_some() {
            server.args(["--allow", "."]);
            return Ok((server, None));
        }
        let folder = Folder::create().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
        server.arg("--allow").arg(&folder.0).env_remove("NURONES_CONFIG");
        Ok((server, Some(folder)))
    }
}

/// A folder with a file to read; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn create() -> std::io::Result<Self> {
        let folder = Self(std::env::temp_dir().join(format!("nurones-load-{}", uuid::Uuid::now_v7())));
        std::fs::create_dir(&folder.0)?;
        std::fs::write(folder.file(), "0123456789abcde\n".repeat(64))?;
        Ok(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("one-kib.txt")
    }

    fn arguments(&self) -> Map<String, Value> {
        Map::from_iter([("path".to_owned(), json!(self.file()))])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans temporary folders.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
