//! `tools`: what would be served, and what not, and why.

use clap::Args;
use serde_json::json;

use super::exit::{Exit, complain, print};
use crate::config::Config;
use crate::wasi::catalogue::Catalogue;
use crate::wasi::engine::Engine;

/// Arguments of `tools`.
#[derive(Debug, Args)]
pub struct ToolsArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Loads every tool and reports.
pub fn run(config: &Config, args: &ToolsArgs) -> Exit {
    let engine = match Engine::new() {
        Ok(engine) => engine,
        Err(error) => {
            complain(&format!("cannot start the WebAssembly engine: {error:#}"));
            return Exit::Internal;
        }
    };
    let catalogue = Catalogue::load(&engine, &config.manifest_folders);
    let text = if args.json { as_json(&catalogue) } else { as_text(config, &catalogue) };
    if print(text.as_bytes()).is_err() {
        return Exit::ClientGone;
    }
    if catalogue.refused.is_empty() { Exit::Done } else { Exit::Failed }
}

fn as_text(config: &Config, catalogue: &Catalogue) -> String {
    let mut lines = Vec::new();
    for tool in &catalogue.tools {
        let manifest = &tool.manifest;
        lines.push(format!(
            "{}  ({} {}, {}, permissions: {}, {}, from {})",
            manifest.published_name(),
            manifest.name,
            manifest.version,
            tool.guest.kind(),
            manifest.permissions.words(),
            if tool.is_warm() { "warm" } else { "fresh" },
            manifest.source.display(),
        ));
        lines.push(format!("    {}", tool.definition.description));
    }
    for refused in &catalogue.refused {
        lines.push(format!("not served: {}\n    {}", refused.source.display(), refused.error));
    }
    lines.push(match config.policy.grants() {
        [] => "allowed directories: none; tools can reach no file until you start with --allow DIR".to_owned(),
        grants => {
            let names = grants.iter().map(|grant| {
                format!("{} ({})", grant.canonical.display(), if grant.writable { "read, write" } else { "read" })
            });
            format!("allowed directories: {}", names.collect::<Vec<_>>().join(", "))
        }
    });
    lines.join("\n") + "\n"
}

fn as_json(catalogue: &Catalogue) -> String {
    let tools: Vec<_> = catalogue
        .tools
        .iter()
        .map(|tool| {
            json!({
                "name": tool.manifest.published_name(),
                "ownName": tool.manifest.name,
                "version": tool.manifest.version.to_string(),
                "kind": tool.guest.kind(),
                "permissions": tool.manifest.permissions.words(),
                "manifest": tool.manifest.source.display().to_string(),
                "description": tool.definition.description,
                "inputSchema": tool.definition.input_schema,
            })
        })
        .collect();
    let refused: Vec<_> = catalogue
        .refused
        .iter()
        .map(|refused| json!({ "manifest": refused.source.display().to_string(), "reason": refused.error.to_string() }))
        .collect();
    let report = json!({ "tools": tools, "refused": refused });
    serde_json::to_string_pretty(&report).expect("a JSON value is serialisable") + "\n"
}
