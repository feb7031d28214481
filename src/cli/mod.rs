//! The command line: what can be said, and one file per command.

mod audit;
mod call;
mod compile;
mod context;
mod demo;
mod drill;
mod drilled;
mod events;
pub mod exit;
mod explain;
mod folder_copy;
pub mod interruption;
mod lock;
mod log;
mod own_tool;
mod policy;
mod replay;
mod serve;
mod sign;
mod tools;
mod trust;
mod validate;

use std::env::VarError;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, Flags, VARIABLES};
use crate::runtime;
use crate::wasi::compiler::CompileIn;
use crate::wasi::loader::Loader;
use exit::Exit;

/// Serves tools to MCP clients over stdio. Each tool is a WASI guest in its own warm, supervised sandbox.
///
/// Without a command it is the server: put `nurones-mcp --allow DIR` into your client's configuration. The tools
/// fs_read and fs_write are built in; without --allow they can reach nothing.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
Examples:
  nurones-mcp --allow ~/notes                       serve; ~/notes can be read
  nurones-mcp --allow ~/notes:rw --tools ./mytools  serve; ~/notes can be written; more tools
  nurones-mcp --config .mcp/config.json             serve as a project's config says
  nurones-mcp call fs.read '{\"path\":\"README.md\"}' --allow .
  nurones-mcp tools --tools ./mytools               what would be served, and what not, and why
  nurones-mcp validate ./mytools/*                  what each module needs, and how fast it is
  nurones-mcp policy explain --tool fs.write --user guest --config .mcp/config.json
  nurones-mcp explain CALL_ID --config F            the story of one audited call
  nurones-mcp events --type child_exited            what happened, if a journal is kept
  nurones-mcp lock --config .mcp/config.json         write down what every tool is; later, `lock accept TOOL`
  nurones-mcp log check FILE                        whether a supervision log keeps its rules

Environment (a flag wins over it, it wins over the config file):
  FS_ALLOWLIST=DIR,DIR:rw     like --allow        CONTEXT_ENGINE=on|off   like --context-engine
  NURONES_CONFIG=FILE         like --config       NURONES_TOOLS=DIR,DIR   like --tools
  NURONES_SUPERVISION_LOG=F   like --supervision-log              NURONES_USER=NAME   like --user
  NURONES_MAX_INFLIGHT=N      requests in flight before calls are refused (2048)
  NURONES_CACHE_DIR=DIR       where compiled modules are kept (~/.cache/nurones-mcp/modules)
  NURONES_STATE_DIR=DIR       like --state-dir
  NURONES_EVENTS_JOURNAL=off|critical|all   which events are kept there (off)
  OTEL_EXPORTER_OTLP_ENDPOINT=URL  send a span per tool call there: OTLP over http:// (off)
  NURONES_LOG=FILTER          log on standard error, for example `debug` or `nurones_mcp=debug`

Exit codes:
  0 done   1 the tool failed (call), a manifest was refused (tools, validate), a rule is broken (log check),
    a drill failed (drill), it is denied (policy explain), a tool lacks something (policy check), the journal has a
    gap (events --check), the trail is broken (audit check), there is no such call (explain), it ended otherwise (replay),
    tools are not what the lock says (lock)
  64 usage or configuration, a file that cannot be read (log)
  69 the call was refused   70 internal failure   74 the client closed its end too early
  128+N ended at once by a second signal N";

#[derive(Debug, Args)]
struct Options {
    /// Read FILE, usually `.mcp/config.json`; manifests in `tools/`, `policies.json` and `context-default.json` beside it
    /// count too.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Load every `*.json` manifest in DIR; may be repeated. `wasm://` entries are relative to DIR.
    #[arg(long = "tools", alias = "tools-dir", global = true, value_name = "DIR")]
    tools: Vec<PathBuf>,
    /// Let tools read DIR, or read and write it with `:rw`; may be repeated. Relative paths of tools start at the
    /// first.
    #[arg(long, global = true, value_name = "DIR[:rw]")]
    allow: Vec<String>,
    /// The seed's form of --allow: several directories, separated by commas.
    #[arg(long, global = true, hide = true, value_name = "DIR,DIR:rw")]
    fs_allowlist: Option<String>,
    /// Who calls, as the policy names its users; a client cannot say that.
    #[arg(long, global = true, value_name = "NAME")]
    user: Option<String>,
    /// Append what is started, what ends and why to FILE, one JSON object per line.
    #[arg(long, global = true, value_name = "FILE")]
    supervision_log: Option<PathBuf>,
    /// Keep in DIR what outlives the server: the audit trail, the journal, and the answers of calls with idempotency keys
    /// (~/.local/state/nurones-mcp).
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Whether the context engine is on; recorded for now.
    #[arg(long, global = true, value_name = "on|off")]
    context_engine: Option<String>,
    /// Go by what FILE says tools were accepted as (`nurones.lock` beside the config file, if there is one); `lock` writes it.
    #[arg(long, global = true, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// Compile every module anew and keep nothing on disk.
    #[arg(long, global = true)]
    no_cache: bool,
}

impl Options {
    fn resolve(self) -> Result<Config, ConfigError> {
        let flags = Flags {
            config: self.config,
            tools: self.tools,
            allow: self.allow,
            fs_allowlist: self.fs_allowlist,
            user: self.user,
            supervision_log: self.supervision_log,
            context_engine: self.context_engine,
            state_dir: self.state_dir,
            lock: self.lock,
            no_cache: self.no_cache,
        };
        let cwd = std::env::current_dir()
            .map_err(|error| ConfigError { mistakes: vec![format!("the working folder is gone: {error}")] })?;
        // Unset and unreadable are not the same: a lost FS_ALLOWLIST would only look like a denial.
        let unreadable = VARIABLES.iter().filter(|name| matches!(std::env::var(name), Err(VarError::NotUnicode(_))));
        let mistakes: Vec<String> = unreadable.map(|name| format!("{name}: must be UTF-8")).collect();
        if !mistakes.is_empty() {
            return Err(ConfigError { mistakes });
        }
        Config::resolve(&flags, |name| std::env::var(name).ok(), &cwd)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Call one tool once and print its result.
    Call(call::CallArgs),
    /// Show which tools would be served, and which manifests not, with the reason.
    Tools(tools::ToolsArgs),
    /// Say what modules and manifests are, what they need, how fast they are, and why they would be refused.
    Validate(validate::ValidateArgs),
    /// Say which rule decides about a call, or what the whole policy comes to.
    Policy(policy::PolicyArgs),
    /// Look through the audit trail, or look whether it is whole.
    Audit(audit::AuditArgs),
    /// Tell the story of one audited call.
    Explain(explain::ExplainArgs),
    /// Make an audited call again, in a copy of the directories it had.
    Replay(replay::ReplayArgs),
    /// Show what happened, from the journal; also while servers run.
    Events(events::EventsArgs),
    /// Write down what every tool is, so that one that changes is not served until somebody accepts it.
    Lock(lock::LockArgs),
    /// Sign a module or a manifest, or make a key to do that with.
    Sign(sign::SignArgs),
    /// Say whose signatures count.
    Trust(trust::TrustArgs),
    /// Show what the context engine did to the tools' knobs, set them, or undo it.
    Context(context::ContextArgs),
    /// Check a supervision log, or show what happened as a timeline.
    Log(log::LogArgs),
    /// Show a whole session: list, write, read, a denied escape, a crash and its repair, 10 s of 10,000 reads a second.
    Demo,
    /// Make things go wrong, one at a time, and tell whether every promise held.
    Drill(drill::DrillArgs),
    /// Compile the module on standard input; the server runs this in a process of its own.
    #[command(hide = true)]
    Compile,
    /// Serve, with failpoints that the other end of two inherited pipes arms; `drill` runs this.
    #[command(hide = true)]
    Drilled(drilled::DrilledArgs),
}

/// What turns modules into guests, for commands without a server; why there is none has been said.
fn loader(config: &Config) -> Result<Arc<Loader>, Exit> {
    runtime::loader(config, CompileIn::own_process()).map_err(|error| {
        exit::complain(&error.to_string());
        Exit::Internal
    })
}

/// Runs the command line `args`.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            return exit::usage(&error);
        }
    };
    match &cli.command {
        Some(Command::Demo) => return demo::run(),
        Some(Command::Compile) => return compile::run(),
        Some(Command::Log(args)) => return log::run(args),
        Some(Command::Sign(args)) => return sign::run(args),
        _ => {}
    }
    let config_file = cli.options.config.clone().or_else(|| std::env::var_os("NURONES_CONFIG").map(PathBuf::from));
    let config = match cli.options.resolve() {
        Ok(config) => config,
        Err(error) => {
            for mistake in error.mistakes {
                exit::complain(&mistake);
            }
            return Exit::Usage;
        }
    };
    config.redaction.install();
    match cli.command {
        None => serve::run(&config, None),
        Some(Command::Drilled(args)) => serve::run_drilled(&config, &args),
        Some(Command::Call(args)) => call::run(config, &args),
        Some(Command::Tools(args)) => tools::run(&config, &args),
        Some(Command::Validate(args)) => validate::run(&config, &args),
        Some(Command::Policy(args)) => policy::run(&config, &args),
        Some(Command::Audit(args)) => audit::run(&config, &args),
        Some(Command::Explain(args)) => explain::run(&config, &args),
        Some(Command::Replay(args)) => replay::run(config, &args),
        Some(Command::Events(args)) => events::run(&config, &args),
        Some(Command::Lock(args)) => lock::run(&config, &args),
        Some(Command::Trust(args)) => trust::run(&config, &args),
        Some(Command::Sign(args)) => sign::run(&args),
        Some(Command::Context(args)) => context::run(&config, &args),
        Some(Command::Drill(args)) => drill::run(&config, config_file.as_deref(), args),
        Some(Command::Demo) => demo::run(),
        Some(Command::Compile) => compile::run(),
        Some(Command::Log(args)) => log::run(&args),
    }
}
