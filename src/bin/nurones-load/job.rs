//! What the command line stands for: servers, each with its plan, and what must hold.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use nurones_mcp::cli::exit::Exit;
use nurones_mcp::load::{Arrivals, Call, Claim, Contender, Mode, Plan, Rate, json_inside};
use serde_json::{Map, json};

use crate::args::{Args, Spacing};
use crate::files;

/// See the module documentation.
pub struct Job {
    /// One server, without a name, or several to compare.
    pub contenders: Vec<Contender>,
    /// Whether they are compared.
    pub is_comparison: bool,
    /// Held until the end.
    _folder: Option<Folder>,
}

/// Why there is nothing to do, and how the program ends then.
pub struct Refused(pub Exit, pub String);

impl From<String> for Refused {
    fn from(problem: String) -> Self {
        Self(Exit::Usage, problem)
    }
}

impl Job {
    /// Makes the plans and the commands, and the file to read if none was named.
    pub fn new(args: &Args) -> Result<Self, Refused> {
        let plan = plan(args)?;
        let names: Vec<&str> = args.compare.iter().map(|compared| compared.name.as_str()).collect();
        check_names(args, &names)?;
        if names.is_empty() {
            return Self::single(args, plan);
        }
        let contenders = args.compare.iter().map(|compared| {
            let mut server = Command::new(&compared.command[0]);
            server.args(&compared.command[1..]);
            check_calls(args, &compared.name)?;
            let plan = Plan { calls: calls(args, Some(&compared.name), None), ..plan.clone() };
            plan.check()?;
            Ok(Contender { name: compared.name.clone(), server, plan })
        });
        let contenders = contenders.collect::<Result<Vec<Contender>, String>>()?;
        check_files(args, &contenders)?;
        Ok(Self { contenders, is_comparison: true, _folder: None })
    }

    fn single(args: &Args, plan: Plan) -> Result<Self, Refused> {
        let (server, folder) = single_server(args).map_err(|problem| Refused(Exit::Unavailable, problem))?;
        let plan = Plan { calls: calls(args, None, folder.as_ref()), ..plan };
        plan.check()?;
        let contenders = vec![Contender { name: String::new(), server, plan }];
        check_files(args, &contenders)?;
        Ok(Self { contenders, is_comparison: false, _folder: folder })
    }
}

/// Names must differ, and what is said about a server must be about one of them.
fn check_names(args: &Args, names: &[&str]) -> Result<(), String> {
    let different: BTreeSet<&&str> = names.iter().collect();
    if names.len() == 1 || different.len() < names.len() {
        return Err("comparing needs two servers or more, with different names; give --compare again".to_owned());
    }
    for server in args.calls.iter().filter_map(|named| named.server.as_deref()) {
        if !names.contains(&server) {
            return Err(format!("there is a call for {server:?}, which is not compared; name a server of --compare"));
        }
    }
    args.asserts.iter().try_for_each(|claim: &Claim| claim.check(names))
}

/// Among calls that are named, `server` must not be left with one that nobody named.
fn check_calls(args: &Args, server: &str) -> Result<(), String> {
    let is_for = |name: Option<&str>| name.is_none_or(|name| name == server);
    if args.calls.is_empty() || args.calls.iter().any(|named| is_for(named.server.as_deref())) {
        return Ok(());
    }
    Err(format!(
        "there is no call for {server:?}; add --call '{server}: TOOL JSON', or one without a name for every server"
    ))
}

/// Files that nothing names would not be read, and nobody would know.
fn check_files(args: &Args, contenders: &[Contender]) -> Result<(), String> {
    let mut calls = contenders.iter().flat_map(|contender| &contender.plan.calls);
    if args.files.is_none() || calls.any(|call| call.arguments.need_files()) {
        return Ok(());
    }
    let example = r#"--args '{"path":"{{file}}"}'"#;
    Err(format!(
        "no call has a {{{{file}}}} that --files could stand for; write one, as in {example}, or leave --files out"
    ))
}

/// All but the calls.
fn plan(args: &Args) -> Result<Plan, String> {
    let arrivals = match args.arrivals {
        Spacing::Fixed => Arrivals::Fixed,
        Spacing::Poisson => Arrivals::Poisson,
    };
    let changing = args.ramp.as_ref().or(args.steps.as_ref()).cloned();
    let mode = match args.in_flight {
        Some(in_flight) => Mode::Closed { in_flight },
        None => Mode::Open { rate: changing.unwrap_or(Rate::Steady(args.rate.unwrap_or(10_000.0))), arrivals },
    };
    let files = args.files.as_deref().map(files::files).transpose()?.unwrap_or_default();
    Ok(Plan {
        mode,
        duration: args.duration,
        warm_up: args.warm_up,
        drain: args.drain,
        calls: Vec::new(),
        files: files.iter().map(|file| json_inside(file)).collect(),
        connections: args.connections,
        protocol: args.protocol.0,
        seed: args.seed,
    })
}

/// What `server` is called with: what is for it alone, or else what is for all.
fn calls(args: &Args, server: Option<&str>, folder: Option<&Folder>) -> Vec<Call> {
    let of = |name: Option<&str>| -> Vec<Call> {
        let named = args.calls.iter().filter(|named| named.server.as_deref() == name);
        named.map(|named| named.call.clone()).collect()
    };
    let own = server.map(|server| of(Some(server))).filter(|own| !own.is_empty());
    let calls = own.unwrap_or_else(|| of(None));
    if !calls.is_empty() {
        return calls;
    }
    let plain = Call::new(&args.tool, &folder.map(Folder::arguments).unwrap_or_default());
    vec![match &args.args {
        Some(arguments) => Call { arguments: arguments.clone(), ..plain },
        None => plain,
    }]
}

fn single_server(args: &Args) -> Result<(Command, Option<Folder>), String> {
    if let Some((program, arguments)) = args.server.split_first() {
        let mut server = Command::new(program);
        server.args(arguments);
        return Ok((server, None));
    }
    let own = std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
    let mut server = Command::new(own.with_file_name("nurones-mcp"));
    if args.args.is_some() || !args.calls.is_empty() {
        server.args(["--allow", "."]);
        return Ok((server, None));
    }
    let folder = Folder::create().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    server.arg("--allow").arg(&folder.0).env_remove("NURONES_CONFIG");
    Ok((server, Some(folder)))
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

    fn arguments(&self) -> Map<String, serde_json::Value> {
        Map::from_iter([("path".to_owned(), json!(self.file()))])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans temporary folders.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
