//! `drill`: makes things go wrong and tells whether the promises held.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use super::exit::{Exit, complain, print};
use super::interruption;
use super::own_tool::own_tool;
use crate::config::Config;
use crate::drill::catalogue::{self, Drill, Options, Outcome, Part};
use crate::drill::page::page;
use crate::drill::report;
use crate::drill::stage::Stop;
use crate::load::parse_duration;

/// What `drill` is told.
#[derive(Debug, Args)]
pub struct DrillArgs {
    /// Drills by number or name, for example D03 or runaway-loop.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Say which drills there are.
    #[arg(long, conflicts_with_all = ["names", "all"])]
    list: bool,
    /// Run all of them; the short forms together take a few minutes.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Print one JSON object per drill.
    #[arg(long)]
    json: bool,
    /// Run each drill against a server that is broken in the way the drill is there to find; it has to notice.
    #[arg(long)]
    prove: bool,
    /// How long each fault lasts, as 30s or 60m. Then times count too, which a short run only shows.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Write a page about it to FILE.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Drill your own tool, as --config, --tools and --allow serve it: it becomes the background load, and the target
    /// where that makes sense.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Arguments for your tool with which a call goes well, as a JSON object.
    #[arg(long, value_name = "JSON", requires = "tool", value_parser = parse_arguments)]
    args: Option<Map<String, Value>>,
    /// Keep what the drills worked with and wrote down in DIR, which must not exist yet.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn parse_arguments(text: &str) -> Result<Map<String, Value>, String> {
    let wrong = || "must be a JSON object, for example '{\"path\":\"README.md\"}'".to_owned();
    serde_json::from_str(text).map_err(|_| wrong())
}

/// Runs the drills. `config_file` is where `config` comes from, if from a file.
pub fn run(config: &Config, config_file: Option<&Path>, args: DrillArgs) -> Exit {
    if args.list {
        let lines: String = catalogue::all().map(|d| format!("{} {:<18} {}\n", d.id, d.name, d.about)).collect();
        return printed(&lines);
    }
    let drills = match chosen(&args) {
        Ok(drills) if drills.is_empty() => {
            complain("say which drills by number or name, or --all; `nurones-mcp drill --list` shows them");
            return Exit::Usage;
        }
        Ok(drills) => drills,
        Err(unknown) => {
            complain(&format!("there is no drill {unknown}; see `nurones-mcp drill --list`"));
            return Exit::Usage;
        }
    };
    let arguments = args.args.clone().unwrap_or_default();
    let own = match args.tool.as_ref().map(|tool| own_tool(config, config_file, tool, arguments)).transpose() {
        Ok(own) => own,
        Err(problem) => {
            complain(&problem);
            return Exit::Usage;
        }
    };
    let folder = match Folder::make(args.keep.as_deref()) {
        Ok(folder) => folder,
        Err(problem) => {
            complain(&problem);
            return Exit::Usage;
        }
    };
    // Before the work is done for which there is then no page.
    if let Some(file) = &args.html
        && let Err(error) = std::fs::File::create(file)
    {
        return no_page(file, &error);
    }
    let options = Options { duration: args.duration, prove: args.prove, own, stop: Stop::default() };
    // The first ends the drill that runs, and with it its servers.
    let stop = options.stop.clone();
    interruption::listen(move || stop.ask());
    let mut outcomes = Vec::new();
    for drill in drills {
        if options.stop.is_asked() {
            break;
        }
        if announce(drill, &args) != Exit::Done {
            return Exit::ClientGone;
        }
        let outcome = drill.take_place(&folder.path, &options);
        let said = if args.json { report::json_line(&outcome) + "\n" } else { report::text(&outcome) };
        if printed(&said) != Exit::Done {
            return Exit::ClientGone;
        }
        outcomes.push(outcome);
    }
    conclude(&outcomes, &args, &options)
}

fn no_page(file: &Path, error: &std::io::Error) -> Exit {
    complain(&format!("cannot write {}: {error}; name another file with --html", file.display()));
    Exit::Usage
}

fn conclude(outcomes: &[Outcome], args: &DrillArgs, options: &Options) -> Exit {
    let good = outcomes.iter().filter(|outcome| outcome.is_good()).count();
    if !args.json {
        let what = if args.prove { "proven" } else { "passed" };
        let said = printed(&format!("{good} of {} {what}\n", outcomes.len()));
        if said != Exit::Done {
            return said;
        }
    }
    if let Some(file) = &args.html
        && let Err(error) = std::fs::write(file, page(outcomes))
    {
        return no_page(file, &error);
    }
    if options.stop.is_asked() || good < outcomes.len() { Exit::Failed } else { Exit::Done }
}

fn announce(drill: &Drill, args: &DrillArgs) -> Exit {
    if args.json {
        return Exit::Done;
    }
    let with = if args.prove { format!("; with {}", drill.mutant.what) } else { String::new() };
    let own = match (&args.tool, drill.own) {
        (None, _) => "",
        (Some(_), Part::Target) => "; your tool is the target",
        (Some(_), Part::Background) => "; your tool is called in the background",
        (Some(_), Part::Nothing) => "; your tool has no part in it",
    };
    printed(&format!("     {} {}: {}{with}{own}\n", drill.id, drill.name, drill.about))
}

fn printed(text: &str) -> Exit {
    if print(text.as_bytes()).is_err() { Exit::ClientGone } else { Exit::Done }
}

/// The drills that are named, each once, by number.
fn chosen(args: &DrillArgs) -> Result<Vec<&'static Drill>, &str> {
    let mut wanted = BTreeSet::new();
    for name in &args.names {
        wanted.insert(catalogue::named(name).ok_or(name.as_str())?.id);
    }
    Ok(catalogue::all().filter(|drill| args.all || wanted.contains(drill.id)).collect())
}

/// Where drills work. Removed at the end, unless it is to be kept.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(keep: Option<&Path>) -> Result<Self, String> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("nurones-drill-{}", uuid::Uuid::now_v7())),
        };
        let made = std::fs::create_dir(&path);
        made.map_err(|error| format!("cannot make the folder {}: {error}; name another with --keep", path.display()))?;
        Ok(Self { path, keep: keep.is_some() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
