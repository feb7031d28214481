//! `policy`: which rule decides about a call, and what the whole policy comes to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::{Exit, complain, harmless, print, run_on_control_plane};
use crate::config::Config;
use crate::frame::{ContextFrame, Stage};
use crate::policy::{Decision, Destination, Reach, Request, RuleRef, Rules};
use crate::runtime;
use crate::wasi::catalogue::Catalogue;
use crate::wasi::lazy_tool::LazyTool;
use crate::wasi::sandbox::Policy;

/// Arguments of `policy`.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Say whether a call would be made, and which rule decides; --user says whose.
    Explain(ExplainArgs),
    /// Read all rules, and say for each tool what it comes to for the user.
    Check,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// The tool, for example `fs.write`.
    #[arg(long)]
    tool: String,
    /// The stage of the call's ContextFrame.
    #[arg(long, value_parser = ["dev", "staging", "prod"])]
    stage: Option<String>,
    /// Its risk level.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=2))]
    risk: Option<u8>,
    /// As if the frame said `read_only`.
    #[arg(long)]
    read_only: bool,
    /// Also say whether the tool may read and write this path.
    #[arg(long)]
    path: Option<PathBuf>,
    /// Also say whether the tool may go there.
    #[arg(long)]
    url: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(config: &Config, args: &PolicyArgs) -> Exit {
    let rules = match runtime::rules(config) {
        Ok(rules) => rules,
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| complain(mistake));
            return Exit::Usage;
        }
    };
    // Reading a catalogue needs the control plane's runtime, though nothing is compiled.
    run_on_control_plane(async {
        let loader = match super::loader(config) {
            Ok(loader) => loader,
            Err(exit) => return exit,
        };
        let catalogue = Catalogue::read(&loader, &config.manifest_folders);
        match &args.command {
            PolicyCommand::Explain(args) => explain(config, &rules, &catalogue, args),
            PolicyCommand::Check => check(config, &rules, &catalogue),
        }
    })
}

/// The request that a call of `tool` with this frame makes to the rules.
fn request<'a>(rules: &'a Rules, published: &'a str, tool: &LazyTool, frame: &ContextFrame) -> Request<'a> {
    Request {
        user: rules.user.as_deref(),
        tool: published,
        permissions: tool.manifest.permissions,
        stage: frame.stage,
        risk_level: frame.risk_level,
        read_only: frame.read_only,
    }
}

/// The directories that the sandbox of a tool has, and the rule that says so.
fn directories(config: &Config, rules: &Rules, published: &str) -> (Arc<Policy>, RuleRef) {
    let narrowed = rules.of_tool(published).and_then(|rule| rule.directories.clone());
    narrowed.unwrap_or_else(|| {
        let words = "a tool of which no rule names directories sees all that are allowed";
        (Arc::new(config.policy.clone()), RuleRef::built_in(words))
    })
}

fn explain(config: &Config, rules: &Rules, catalogue: &Catalogue, args: &ExplainArgs) -> Exit {
    let published = crate::wasi::manifest::published_name(&args.tool);
    let Some(tool) = catalogue.tools.iter().find(|tool| tool.manifest.published_name() == published) else {
        let known: Vec<String> = catalogue.tools.iter().map(|tool| tool.manifest.published_name()).collect();
        complain(&format!("there is no tool {}; known tools: {}", args.tool, known.join(", ")));
        return Exit::Usage;
    };
    let frame = match frame(config, args) {
        Ok(frame) => frame,
        Err(problem) => {
            complain(&problem);
            return Exit::Usage;
        }
    };
    let destination = match args.url.as_deref().map(Destination::parse).transpose() {
        Ok(destination) => destination,
        Err(problem) => {
            complain(&problem);
            return Exit::Usage;
        }
    };
    let request = request(rules, &published, tool, &frame);
    let mut answers = vec![Answer::of_call(rules.decide(&request))];
    let (directories, rule) = directories(config, rules, &published);
    if let Some(path) = &args.path {
        answers.extend(Answer::of_path(&request, &directories, &rule, path));
    }
    if let Some(destination) = &destination {
        answers.push(Answer::of_destination(rules, &published, destination));
    }
    let text = if args.json { as_json(rules, &frame, &answers) } else { as_text(rules, &published, &frame, &answers) };
    if print(text.as_bytes()).is_err() {
        return Exit::ClientGone;
    }
    if answers.iter().all(|answer| answer.allowed) { Exit::Done } else { Exit::Failed }
}

/// The frame that a client's call would have that says what the arguments say.
fn frame(config: &Config, args: &ExplainArgs) -> Result<ContextFrame, String> {
    let mut said = json!({});
    if let Some(stage) = &args.stage {
        said["stage"] = stage.as_str().into();
    }
    if let Some(risk) = args.risk {
        said["risk_level"] = risk.into();
    }
    if args.read_only {
        said["flags"] = json!({ "read_only": true });
    }
    config
        .frame_defaults
        .frame(Some(&said))
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// One question and its answer.
struct Answer {
    what: &'static str,
    allowed: bool,
    rule: RuleRef,
    why: String,
    what_to_do: Option<String>,
    looked_at: Vec<RuleRef>,
}

impl Answer {
    fn of_call(decision: Decision) -> Self {
        let Decision { allowed, rule, why, what_to_do, looked_at } = decision;
        Self { what: "call", allowed, rule, why, what_to_do, looked_at }
    }

    /// Whether the path can be read, and if the tool may write at all, whether it can be written.
    fn of_path(request: &Request<'_>, directories: &Policy, rule: &RuleRef, path: &Path) -> Vec<Self> {
        let permissions = request.permissions;
        let reach = Reach::of(directories, path);
        let answer = |what, may: bool, writes: bool| {
            let shown = path.display();
            let (allowed, why, what_to_do) = match &reach {
                _ if !may => (false, format!("the manifest or the frame takes the permission to {what} away"), None),
                Reach::Inside(grant, place) if !writes || grant.writable => {
                    (true, format!("{shown} leads to {} in {grant}", place.display()), None)
                }
                Reach::Inside(grant, place) => {
                    (false, format!("{shown} leads to {} in {grant}", place.display()), Some("grant it with rw"))
                }
                Reach::Outside => (
                    false,
                    format!("{shown} lies in no directory that the tool sees"),
                    Some("grant its directory with --allow, and in the tool's rule if it has one"),
                ),
                Reach::LeadsOut(grant, by) => (
                    false,
                    format!("{shown} leads out of {}, by {by}", grant.canonical.display()),
                    Some("name what it leads to, and grant that"),
                ),
            };
            let what_to_do = what_to_do.map(str::to_owned);
            Self { what, allowed, rule: rule.clone(), why, what_to_do, looked_at: vec![rule.clone()] }
        };
        // WASI knows no directory that can be written and not read.
        let mut answers = vec![answer("read", permissions.read || permissions.write && !request.read_only, false)];
        if permissions.write {
            answers.push(answer("write", !request.read_only, true));
        }
        answers
    }

    fn of_destination(rules: &Rules, published: &str, to: &Destination) -> Self {
        let granted = rules.of_tool(published).map(|rule| rule.network.as_slice()).unwrap_or_default();
        let looked_at = granted.iter().map(|(_, rule)| rule.clone()).collect();
        let denied = |rule, why: String, what_to_do: &str| Self {
            what: "network",
            allowed: false,
            rule,
            why,
            what_to_do: Some(what_to_do.to_owned()),
            looked_at,
        };
        match granted.iter().find(|(grant, _)| grant.covers(to)) {
            Some((_, rule)) => denied(
                rule.clone(),
                format!("a rule names {to}, but network guests are not built yet"),
                "wait for a version that has them",
            ),
            None if to.is_private() => denied(
                RuleRef::built_in("private addresses are reached only by a rule that names them whole"),
                format!("no rule names {to}, and network guests are not built yet"),
                "name its host, port and scheme in the tool's network rule",
            ),
            None => denied(
                RuleRef::built_in("nothing on the network is reached without a rule"),
                format!("no rule names {to}, and network guests are not built yet"),
                "name its host, port and scheme in the tool's network rule",
            ),
        }
    }
}

/// Who calls, in words.
fn caller(rules: &Rules) -> String {
    let user = rules.user.as_deref().map_or_else(|| "nobody in particular".to_owned(), |user| format!("user {user}"));
    rules.role().map_or_else(|| user.clone(), |role| format!("{user}, role {role}"))
}

fn as_text(rules: &Rules, published: &str, frame: &ContextFrame, answers: &[Answer]) -> String {
    let ContextFrame { stage, risk_level, read_only, .. } = frame;
    let stage: Stage = *stage;
    let mut lines = vec![format!(
        "{published}, called by {}; stage {}, risk_level {risk_level}{}",
        caller(rules),
        stage.as_str(),
        if *read_only { ", read-only" } else { "" }
    )];
    for answer in answers {
        let verdict = if answer.allowed { "allowed" } else { "denied" };
        lines.push(format!("{}: {verdict}: {}", answer.what, answer.why));
        lines.push(format!("    by       {}", answer.rule));
        lines.extend(answer.what_to_do.as_ref().map(|what| format!("    do       {what}")));
        lines.extend(answer.looked_at.iter().map(|rule| format!("    looked   {rule}")));
    }
    lines.iter().map(|line| harmless(line) + "\n").collect()
}

fn rule_json(rule: &RuleRef) -> Value {
    let file = rule.file.as_ref().map(|file| file.display().to_string());
    json!({ "file": file, "pointer": file.as_ref().map(|_| &rule.pointer), "says": rule.words })
}

fn as_json(rules: &Rules, frame: &ContextFrame, answers: &[Answer]) -> String {
    let answers: Vec<Value> = answers
        .iter()
        .map(|answer| {
            json!({
                "question": answer.what,
                "allowed": answer.allowed,
                "rule": rule_json(&answer.rule),
                "why": answer.why,
                "whatToDo": answer.what_to_do,
                "lookedAt": answer.looked_at.iter().map(rule_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    let report = json!({
        "user": rules.user,
        "role": rules.role(),
        "stage": frame.stage.as_str(),
        "riskLevel": frame.risk_level,
        "readOnly": frame.read_only,
        "allowed": answers.iter().all(|answer| answer["allowed"] == true),
        "answers": answers,
    });
    serde_json::to_string_pretty(&report).expect("a JSON value is serialisable") + "\n"
}

fn check(config: &Config, rules: &Rules, catalogue: &Catalogue) -> Exit {
    let frame = config.frame_defaults.frame(None).expect("a frame that says nothing has no mistakes");
    let mut lines: Vec<String> =
        config.access.sources.iter().map(|source| format!("rules: {}", source.path.display())).collect();
    if !rules.is_written() {
        lines.push("no rule is written; every tool may be called".to_owned());
    }
    lines.push(format!("calls are made by {}", caller(rules)));
    let mut lacking = false;
    for tool in &catalogue.tools {
        let published = tool.manifest.published_name();
        let decision = rules.decide(&request(rules, &published, tool, &frame));
        lines.push(format!("{published}: {}: {}", if decision.allowed { "allowed" } else { "denied" }, decision.rule));
        let (directories, _) = directories(config, rules, &published);
        let seen: Vec<String> = directories.grants().iter().map(ToString::to_string).collect();
        lines.push(format!("    sees {}", if seen.is_empty() { "no directory".to_owned() } else { seen.join(", ") }));
        if let Some(rule) = rules.of_tool(&published) {
            lines.extend(rule.variables.iter().map(|rule| format!("    {}", rule.words)));
            lines.extend(
                rule.network.iter().map(|(_, rule)| format!("    {}; network guests are not built yet", rule.words)),
            );
            lines.extend(rule.missing().map(|why| format!("    cannot be called: {why}")));
            lacking |= rule.missing().is_some();
        }
    }
    let text: String = lines.iter().map(|line| harmless(line) + "\n").collect();
    match print(text.as_bytes()) {
        Err(_) => Exit::ClientGone,
        Ok(()) if lacking => Exit::Failed,
        Ok(()) => Exit::Done,
    }
}
