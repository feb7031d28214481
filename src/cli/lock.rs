//! `lock`: writes down what every tool is, and shows what has changed before it is accepted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::exit::{Exit, complain, harmless, print, run_on_control_plane};
use crate::config::Config;
use crate::pins::{Lock, Pin, visible};
use crate::runtime;
use crate::wasi::catalogue::Catalogue;
use crate::wasi::lazy_tool::LazyTool;
use crate::wasi::manifest::published_name;

/// Arguments of `lock`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct LockArgs {
    /// Only compare: write nothing.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<LockCommand>,
}

#[derive(Debug, Subcommand)]
enum LockCommand {
    /// Show how tools differ from what was accepted of them, and accept them as they are.
    Accept {
        /// Tools, for example `fs.write`; one that is gone is taken out of the lock.
        #[arg(required_unless_present = "all", value_name = "TOOL")]
        names: Vec<String>,
        /// All that differ.
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
    /// Show what was accepted.
    Show,
}

/// Runs the command.
pub fn run(config: &Config, args: &LockArgs) -> Exit {
    let Some(path) = &config.pinning.lock else {
        complain("there is no place for a lock; name one with --lock FILE, or the project with --config FILE");
        return Exit::Usage;
    };
    let known = match Lock::read(path) {
        Ok(known) => known,
        Err(problem) => {
            complain(&problem);
            return Exit::Usage;
        }
    };
    match (&args.command, known) {
        (Some(LockCommand::Show), Some(lock)) => show(&lock),
        (Some(_), None) => missing(path),
        (None, None) if args.check => missing(path),
        (command, known) => run_on_control_plane(async {
            match Tools::look(config).await {
                Ok(tools) => Job { path, known, tools }.run(args.check, command.as_ref()),
                Err(exit) => exit,
            }
        }),
    }
}

fn missing(path: &Path) -> Exit {
    complain(&format!("there is no lock {}; write it with `nurones-mcp lock`", path.display()));
    Exit::Usage
}

fn show(lock: &Lock) -> Exit {
    let lines = lock.tools.iter().flat_map(|(name, pin)| {
        let mut lines = vec![
            format!("{name}  (permissions: {})", pin.permissions),
            format!("    module  sha256 {}", pin.module),
            format!("    face    sha256 {}", pin.face.fingerprint()),
        ];
        lines.extend(pin.face.description.lines().map(|line| format!("    {line}")));
        lines
    });
    say(lines)
}

fn say(lines: impl IntoIterator<Item = String>) -> Exit {
    let text: String = lines.into_iter().map(|line| harmless(&visible(&line)) + "\n").collect();
    if print(text.as_bytes()).is_ok() { Exit::Done } else { Exit::ClientGone }
}

/// What tools are now.
struct Tools {
    pins: BTreeMap<String, Pin>,
    /// Those that would not be served with any lock, and why.
    unusable: Vec<(PathBuf, String)>,
}

impl Tools {
    /// Loads every tool and asks it what it is.
    async fn look(config: &Config) -> Result<Self, Exit> {
        let usage = |mistakes: Vec<String>| {
            mistakes.iter().for_each(|mistake| complain(mistake));
            Exit::Usage
        };
        let pins = runtime::pins_but_the_lock(config).map_err(usage)?;
        if let Some(problem) = config.pinning.lock.as_ref().and_then(|path| runtime::rewritable(config, path)) {
            return Err(usage(vec![problem]));
        }
        let loader = super::loader(config)?;
        let catalogue = Catalogue::read_locking(&loader, &config.manifest_folders, &pins);
        catalogue.load_all().await;
        let refused = catalogue.refused.iter().map(|refused| (refused.source.clone(), refused.error.to_string()));
        let mut tools = Self { pins: BTreeMap::new(), unusable: refused.collect() };
        for tool in &catalogue.tools {
            tools.add(tool);
        }
        Ok(tools)
    }

    fn add(&mut self, tool: &Arc<LazyTool>) {
        let (manifest, published) = (&tool.manifest, tool.manifest.published_name());
        let unusable = match (tool.refusal(), tool.fingerprint, tool.is_described()) {
            (Some(refusal), ..) => refusal.to_string(),
            (None, Some(module), true) => {
                let face = tool.definition().face(published.clone());
                let permissions = manifest.permissions.words().to_owned();
                self.pins.insert(published, Pin { module, permissions, face });
                return;
            }
            // The compiler could not do its work.
            _ => "it could not be asked what it is just now; try again".to_owned(),
        };
        self.unusable.push((manifest.source.clone(), unusable));
    }
}

struct Job<'a> {
    path: &'a Path,
    known: Option<Lock>,
    tools: Tools,
}

impl Job<'_> {
    fn run(self, check: bool, command: Option<&LockCommand>) -> Exit {
        for (source, problem) in &self.tools.unusable {
            complain(&format!("not served: {}: {problem}", source.display()));
        }
        let exit = match (command, &self.known) {
            (Some(LockCommand::Accept { names, .. }), Some(known)) => self.accept(known, names),
            (_, Some(known)) => self.compare(known, check),
            (_, None) => self.write(&Lock { tools: self.tools.pins.clone() }, Vec::new()),
        };
        if exit == Exit::Done && !self.tools.unusable.is_empty() { Exit::Failed } else { exit }
    }

    /// The names of all tools that differ from what was accepted, with the differences.
    fn differing(&self, known: &Lock) -> BTreeMap<String, Vec<String>> {
        let names = known.tools.keys().chain(self.tools.pins.keys());
        let lines =
            names.map(|name| (name.clone(), difference(name, known.tools.get(name), self.tools.pins.get(name))));
        lines.filter(|(_, lines)| !lines.is_empty()).collect()
    }

    fn compare(&self, known: &Lock, check: bool) -> Exit {
        let differing = self.differing(known);
        if differing.is_empty() {
            return say([format!("{} tool(s) are what {} says", known.tools.len(), self.path.display())]);
        }
        if say(differing.into_values().flatten()) == Exit::ClientGone {
            return Exit::ClientGone;
        }
        let not_written = if check { "" } else { "nothing was written; " };
        complain(&format!("{not_written}accept what you have looked at with `nurones-mcp lock accept TOOL`"));
        Exit::Failed
    }

    fn accept(&self, known: &Lock, named: &[String]) -> Exit {
        let mut differing = self.differing(known);
        let named: Vec<String> = named.iter().map(|name| published_name(name)).collect();
        let unknown: Vec<&String> = named
            .iter()
            .filter(|name| !known.tools.contains_key(*name) && !self.tools.pins.contains_key(*name))
            .collect();
        for name in &unknown {
            complain(&format!("there is no usable tool {name}; see `nurones-mcp tools`"));
        }
        if !unknown.is_empty() {
            return Exit::Usage;
        }
        if !named.is_empty() {
            differing.retain(|name, _| named.contains(name));
        }
        if differing.is_empty() {
            return say(["there is nothing to accept".to_owned()]);
        }
        let mut lock = known.clone();
        for name in differing.keys() {
            match self.tools.pins.get(name) {
                Some(pin) => lock.tools.insert(name.clone(), pin.clone()),
                None => lock.tools.remove(name),
            };
        }
        self.write(&lock, differing.into_values().flatten().collect())
    }

    fn write(&self, lock: &Lock, mut lines: Vec<String>) -> Exit {
        if let Err(problem) = lock.write(self.path) {
            complain(&problem);
            return Exit::Usage;
        }
        lines.push(format!("{} tool(s) are accepted in {}", lock.tools.len(), self.path.display()));
        say(lines)
    }
}

/// What a person is shown of one tool that differs.
fn difference(name: &str, old: Option<&Pin>, new: Option<&Pin>) -> Vec<String> {
    let mut lines = match (old, new) {
        (None, None) => return Vec::new(),
        (Some(_), None) => return vec![format!("{name}: is accepted, and not there any more or not usable")],
        (None, Some(_)) => vec![format!("{name}: is new")],
        (Some(old), Some(new)) if old == new => return Vec::new(),
        (Some(_), Some(_)) => vec![format!("{name}: has changed")],
    };
    let changes = match (old, new) {
        (Some(old), Some(new)) => old.changes(new),
        (_, new) => new.map(Pin::all).unwrap_or_default(),
    };
    let words = changes.iter().flat_map(|change| change.to_string().lines().map(str::to_owned).collect::<Vec<_>>());
    lines.extend(words.map(|line| format!("  {line}")));
    lines
}
