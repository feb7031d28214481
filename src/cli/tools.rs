//! `tools`: what would be served, and what not, and why.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::exit::{Exit, complain, harmless, print, run_on_control_plane};
use crate::config::Config;
use crate::runtime;
use crate::wasi::catalogue::Catalogue;
use crate::wasi::error::LoadError;
use crate::wasi::lazy_tool::LazyTool;

/// Arguments of `tools`.
#[derive(Debug, Args)]
pub struct ToolsArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Loads every tool and reports.
pub fn run(config: &Config, args: &ToolsArgs) -> Exit {
    run_on_control_plane(report(config, args))
}

async fn report(config: &Config, args: &ToolsArgs) -> Exit {
    // A server would not start with them.
    if let Err(mistakes) = runtime::rules(config) {
        mistakes.iter().for_each(|mistake| complain(mistake));
        return Exit::Usage;
    }
    let loader = match super::loader(config) {
        Ok(loader) => loader,
        Err(exit) => return exit,
    };
    let catalogue = match runtime::catalogue(config, &loader) {
        Ok(catalogue) => catalogue,
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| complain(mistake));
            return Exit::Usage;
        }
    };
    catalogue.load_all().await;
    let text = if args.json { as_json(&catalogue) } else { as_text(config, &catalogue) };
    if print(text.as_bytes()).is_err() {
        return Exit::ClientGone;
    }
    if refused(&catalogue).next().is_none() { Exit::Done } else { Exit::Failed }
}

fn served(catalogue: &Catalogue) -> impl Iterator<Item = &Arc<LazyTool>> {
    catalogue.tools.iter().filter(|tool| tool.refusal().is_none())
}

/// The manifests that are not served, with the reasons.
fn refused(catalogue: &Catalogue) -> impl Iterator<Item = (&Path, &LoadError)> {
    let late = catalogue.tools.iter().filter_map(|tool| Some((tool.manifest.source.as_path(), tool.refusal()?)));
    catalogue.refused.iter().map(|refused| (refused.source.as_path(), &refused.error)).chain(late)
}

fn as_text(config: &Config, catalogue: &Catalogue) -> String {
    let mut lines = Vec::new();
    for tool in served(catalogue) {
        let manifest = &tool.manifest;
        lines.push(format!(
            "{}  ({} {}, {}, permissions: {}, {}, from {})",
            manifest.published_name(),
            manifest.name,
            manifest.version,
            tool.kind.words(),
            manifest.permissions.words(),
            if tool.is_warm() { "warm" } else { "fresh" },
            manifest.source.display(),
        ));
        lines.push(format!("    {}", tool.definition().description));
    }
    for (source, error) in refused(catalogue) {
        lines.push(format!("not served: {}", source.display()));
        lines.push(format!("    {error}"));
    }
    lines.push(match config.policy.grants() {
        [] => "allowed directories: none; tools can reach no file until you start with --allow DIR".to_owned(),
        grants => {
            let names: Vec<String> = grants.iter().map(ToString::to_string).collect();
            format!("allowed directories: {}", names.join(", "))
        }
    });
    lines.iter().map(|line| harmless(line) + "\n").collect()
}

fn as_json(catalogue: &Catalogue) -> String {
    let tools: Vec<_> = served(catalogue)
        .map(|tool| {
            json!({
                "name": tool.manifest.published_name(),
                "ownName": tool.manifest.name,
                "version": tool.manifest.version.to_string(),
                "kind": tool.kind.words(),
                "permissions": tool.manifest.permissions.words(),
                "manifest": tool.manifest.source.display().to_string(),
                "description": tool.definition().description,
                "inputSchema": *tool.definition().input_schema,
            })
        })
        .collect();
    let refused: Vec<_> = refused(catalogue)
        .map(|(source, error)| json!({ "manifest": source.display().to_string(), "reason": error.to_string() }))
        .collect();
    let report = json!({ "tools": tools, "refused": refused });
    serde_json::to_string_pretty(&report).expect("a JSON value is serialisable") + "\n"
}
