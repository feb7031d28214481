//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Parser, ValueEnum};
use nurones_mcp::load::{Arguments, Claim, Protocol, Rate, parse_duration, parse_rate};

use crate::call::NamedCall;

/// Measures how fast MCP servers answer calls of tools over stdio.
///
/// Without options: 10,000 reads a second of a 1 KiB file for 10 seconds, by the nurones-mcp beside this program.
/// Calls are made at a set rate (--rate, --ramp, --steps), or so that a set number is always in flight (--in-flight).
#[derive(Debug, Parser)]
#[command(name = "nurones-load", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(group = ArgGroup::new("load").args(["rate", "ramp", "steps", "in_flight"]))]
pub struct Args {
    /// Open loop: calls per second, whatever the server does; latency counts from when a call was due. [default:
    /// 10k]
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Open loop whose rate grows, or falls, in a straight line: 1k..50k. Reported in ten parts.
    #[arg(long, value_name = "FROM..TO", value_parser = parse_ramp)]
    pub ramp: Option<Rate>,
    /// Open loop with one rate after the other, each for the same part of the duration: 1k,2k,5k.
    #[arg(long, value_name = "N,N,…", value_parser = parse_steps)]
    pub steps: Option<Rate>,
    /// Closed loop: calls in flight; the next is sent when one is answered.
    #[arg(long, value_name = "N")]
    pub in_flight: Option<usize>,
    /// How calls of an open loop are spaced: evenly, or as independent callers would.
    #[arg(long, value_enum, default_value = "fixed", conflicts_with = "in_flight")]
    pub arrivals: Spacing,
    /// What randomness starts from; the same seed makes the same calls at the same times.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How long to measure: a number with ms, s or m.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// How long to call before that without counting, at the rate it begins with.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub warm_up: Duration,
    /// How long to wait for missing answers after the end; then they are lost.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub drain: Duration,
    /// Connections that share the load. Each starts a server of its own.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub connections: usize,
    /// The version of MCP to speak: one that shakes hands, or 2026-07-28, that does not. [default: 2025-06-18]
    #[arg(long, value_name = "VERSION", default_value_t, hide_default_value = true)]
    pub protocol: ProtocolArg,
    /// The tool.
    #[arg(long, value_name = "NAME", default_value = "fs.read", conflicts_with = "calls")]
    pub tool: String,
    /// Its arguments, a JSON object with places to fill in. Without a server command, the server may read the working
    /// folder.
    #[arg(long, value_name = "JSON", value_parser = Arguments::parse, conflicts_with = "calls")]
    pub args: Option<Arguments>,
    /// A call of a mix: a tool and its arguments, perhaps a server and a weight before them. May be given again.
    #[arg(long = "call", value_name = "[SERVER:] [WEIGHT*]TOOL [JSON]")]
    pub calls: Vec<NamedCall>,
    /// What {{file}} stands for, in turn: a text file with one path per line, or a pattern like 'data/*.txt'.
    #[arg(long, value_name = "LIST|PATTERN")]
    pub files: Option<String>,
    /// A server to compare with others; give two or more. They are measured in turn, and set beside the first.
    #[arg(long, value_name = "NAME=COMMAND", value_parser = parse_compared, conflicts_with = "server")]
    pub compare: Vec<Compared>,
    /// How often each of the compared servers is measured.
    #[arg(long, value_name = "N", default_value_t = 3, requires = "compare", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub rounds: u16,
    /// What must hold, for example 'p99<5ms' or 'errors==0'; exit code 2 if it does not. May be given again.
    #[arg(long = "assert", value_name = "CLAIM")]
    pub asserts: Vec<Claim>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Write a page with pictures to this file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Any MCP server that speaks over standard input and output, with its arguments.
    #[arg(last = true, value_name = "SERVER")]
    pub server: Vec<OsString>,
}

const AFTER_HELP: &str = "\
Examples:
  nurones-load                                             our server at 10,000 calls a second
  nurones-load --in-flight 64 --duration 30s               as fast as it goes with 64 calls in flight
  nurones-load --ramp 1k..50k --duration 60s --html load.html
  nurones-load --rate 2k --files 'docs/*.md' --call '3*fs.read {\"path\":\"{{file}}\"}' \\
      --call 'fs.read {\"path\":\"README.md\"}'
  nurones-load --rate 5k --arrivals poisson --assert 'p99<5ms' --assert 'errors==0'
  nurones-load --in-flight 64 --tool read_text_file --args '{\"path\":\"/data/a.txt\"}' \\
      -- npx -y @modelcontextprotocol/server-filesystem /data
  nurones-load --in-flight 64 --assert 'ratio>5' \\
      --compare 'official=npx -y @modelcontextprotocol/server-filesystem /data' \\
      --call 'official: read_text_file {\"path\":\"/data/a.txt\"}' \\
      --compare 'ours=nurones-mcp --allow /data' --call 'ours: fs.read {\"path\":\"/data/a.txt\"}'

In arguments {{i}} is the number of the call, {{i%100}} its remainder, {{file}} the next of --files, and
{{random 100}} a number below 100. Before measuring each call is tried once, with the number 0.

Ctrl-C stops sending, waits for what is in flight, and reports; a second one ends at once.

Exit codes:
  0 measured, every call answered   1 calls were lost, or a server ended
  2 what was asserted does not hold   64 usage
  69 nothing was measured: a server does not start, a first call fails, or it was stopped too early
  74 standard output cannot be written";

/// How the calls of an open loop are spaced.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Spacing {
    Fixed,
    Poisson,
}

/// A server to compare: its name and its command.
#[derive(Debug, Clone)]
pub struct Compared {
    pub name: String,
    pub command: Vec<String>,
}

/// A [`Protocol`] that can be shown, as clap shows defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProtocolArg(pub Protocol);

impl std::str::FromStr for ProtocolArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl std::fmt::Display for ProtocolArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.version())
    }
}

fn parse_ramp(text: &str) -> Result<Rate, String> {
    let wrong = || format!("{text:?} is no ramp; write two rates, as in 1k..50k");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    Ok(Rate::Ramp { from: parse_rate(from).map_err(|_| wrong())?, to: parse_rate(to).map_err(|_| wrong())? })
}

fn parse_steps(text: &str) -> Result<Rate, String> {
    let rates: Result<Vec<f64>, String> = text.split(',').map(|rate| parse_rate(rate.trim())).collect();
    rates.map(Rate::Steps).map_err(|_| format!("{text:?} are no steps; write rates with commas, as in 1k,2k,5k"))
}

fn parse_compared(text: &str) -> Result<Compared, String> {
    let wrong = |what: &str| format!("{what}; write it as in 'ours=nurones-mcp --allow /data'");
    let (name, command) = text.split_once('=').ok_or_else(|| wrong("names no server and its command"))?;
    let name_is_plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    if !name_is_plain {
        return Err(wrong("a name has letters, digits, and - _ . only"));
    }
    let command = crate::words::words(command)?;
    if command.is_empty() {
        return Err(wrong("there is no command"));
    }
    Ok(Compared { name: name.to_owned(), command })
}
