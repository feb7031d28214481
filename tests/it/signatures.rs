//! Signatures of modules: whose count, and what is not served without.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::output::Output;
use crate::support::{Sandbox, ServerCommand};
use crate::wat_guests::printing;

/// A project that wants signatures as `require` says, with `said`, a command.
fn project(require: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let config = json!({"signatures": {"require": require}, "state": {"dir": "state"}, "tools": ["tools"]});
    sandbox.write(".mcp/config.json", config.to_string());
    say(&sandbox, "said it", "Says it");
    sandbox
}

fn say(sandbox: &Sandbox, text: &str, description: &str) {
    let extra = json!({"description": description, "entry": "wasm://tools/said.wasm"});
    sandbox.wat_tool("said", &printing(text, ""), extra);
}

fn with_config(sandbox: &Sandbox) -> ServerCommand {
    let mut server = ServerCommand::bare();
    server.command().env_remove("NURONES_STATE_DIR");
    server.arg("--config").arg(sandbox.path(".mcp/config.json"));
    server
}

/// Makes a key and returns its public half.
fn new_key(sandbox: &Sandbox, name: &str) -> String {
    let output = ServerCommand::bare().args(["sign", "--new-key"]).arg(sandbox.path(name)).run("");
    assert_eq!(output.code(), 0, "{}", output.stderr);
    output.stdout.trim_end().to_owned()
}

fn sign(sandbox: &Sandbox, file: &str, key: &str) -> Output {
    ServerCommand::bare().arg("sign").arg(sandbox.path(file)).arg("--key").arg(sandbox.path(key)).run("")
}

fn trust(sandbox: &Sandbox, args: &[&str]) -> Output {
    with_config(sandbox).arg("trust").args(args).run("")
}

fn is_served(sandbox: &Sandbox) -> Result<String, String> {
    let mut client = with_config(sandbox).start_session();
    let list = client.request("tools/list", json!({}));
    let is_listed = list["result"]["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "said");
    let answer = client.call("said", json!({}));
    assert_eq!(is_listed, answer["error"] == Value::Null, "{answer}");
    match answer["error"]["message"].as_str() {
        None => Ok(client.all_it_said()),
        Some(words) => {
            let said = client.all_it_said();
            assert!(said.contains("not served: "), "it is said at the start: {said}");
            Err(words.to_owned())
        }
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_module_that_somebody_trusted_has_signed_is_served_and_no_other() {
    let sandbox = project("all");
    let refused = is_served(&sandbox).unwrap_err();
    assert!(refused.contains("is not signed: there is no ") && refused.contains("nurones-mcp sign"), "{refused}");
    let public = new_key(&sandbox, "mine.key");
    assert_eq!(mode(&sandbox.path("mine.key")), 0o600);
    sign(&sandbox, "tools/said.wasm", "mine.key").assert_success();
    let refused = is_served(&sandbox).unwrap_err();
    assert!(refused.contains("which is not trusted") && refused.contains("trust add"), "{refused}");
    trust(&sandbox, &["add", "me", &public]).assert_success();
    assert_eq!(mode(&sandbox.path("state/trusted-keys.json")), 0o600);
    assert_eq!(mode(&sandbox.path("state")), 0o700);
    assert_eq!(is_served(&sandbox).unwrap(), "");
    assert!(trust(&sandbox, &["list"]).stdout.contains(&public));
    // Other bytes, and then with the signature of somebody who is not trusted.
    say(&sandbox, "other", "Says it");
    let refused = is_served(&sandbox).unwrap_err();
    assert!(refused.contains("signs a module with sha256"), "{refused}");
    new_key(&sandbox, "theirs.key");
    sign(&sandbox, "tools/said.wasm", "theirs.key").assert_success();
    assert!(is_served(&sandbox).unwrap_err().contains("which is not trusted"));
    // Theirs with my key's name on it.
    let theirs = sandbox.read_text("tools/said.wasm.sig");
    sign(&sandbox, "tools/said.wasm", "mine.key").assert_success();
    let line = |text: &str, name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let forged = theirs.replace(&line(&theirs, "key "), &line(&sandbox.read_text("tools/said.wasm.sig"), "key "));
    assert_eq!(is_served(&sandbox).unwrap(), "");
    sandbox.write("tools/said.wasm.sig", forged);
    assert!(is_served(&sandbox).unwrap_err().contains("damaged or forged"));
    for broken in ["", "nurones-mcp signature 1\n", "nurones-mcp signature 9\n"] {
        sandbox.write("tools/said.wasm.sig", broken);
        assert!(is_served(&sandbox).unwrap_err().contains("is no signature"));
    }
    sign(&sandbox, "tools/said.wasm", "mine.key").assert_success();
    trust(&sandbox, &["remove", "me"]).assert_success();
    assert!(is_served(&sandbox).unwrap_err().contains("which is not trusted"));
}

#[test]
fn a_signed_manifest_holds_its_words_too() {
    let sandbox = project("all");
    let public = new_key(&sandbox, "mine.key");
    trust(&sandbox, &["add", "me", &public]).assert_success();
    sign(&sandbox, "tools/said.wasm", "mine.key").assert_success();
    say(&sandbox, "said it", "Says other");
    assert_eq!(is_served(&sandbox).unwrap(), "", "a module's signature says nothing of the manifest");
    // An entry relative to a project is not found from `tools/` alone.
    let extra =
        json!({"description": "Says it", "entry": format!("wasm://{}", sandbox.path("tools/said.wasm").display())});
    sandbox.wat_tool("said", &printing("said it", ""), extra);
    sign(&sandbox, "tools/said.json", "mine.key").assert_success();
    assert_eq!(is_served(&sandbox).unwrap(), "");
    say(&sandbox, "said it", "Says other");
    let refused = is_served(&sandbox).unwrap_err();
    assert!(refused.contains("another name, description, schema or other permissions"), "{refused}");
}

#[test]
fn unless_they_are_required_signatures_are_said_at_most() {
    let sandbox = project("warn");
    let said = is_served(&sandbox).unwrap();
    assert!(said.contains("is not signed") && said.contains(r#"signatures.require is "warn""#), "{said}");
    let sandbox = project("off");
    sandbox.write("tools/said.wasm.sig", "nonsense");
    assert_eq!(is_served(&sandbox).unwrap(), "");
    let sandbox = project("perhaps");
    let output = with_config(&sandbox).run("");
    assert_eq!(output.code(), 64);
    assert!(output.stderr.contains(r#"`signatures.require` must be "off", "warn" or "all""#), "{}", output.stderr);
}

#[test]
fn keys_that_cannot_be_gone_by_are_no_keys_to_start_with() {
    let sandbox = project("all");
    let public = new_key(&sandbox, "mine.key");
    trust(&sandbox, &["add", "me", &public]).assert_success();
    let refused = |part: &str| {
        let output = with_config(&sandbox).run("");
        assert_eq!(output.code(), 64);
        assert!(output.stderr.contains(part), "{part} not in:\n{}", output.stderr);
    };
    let output = with_config(&sandbox).args(["--allow", &format!("{}:rw", sandbox.path("state").display())]).run("");
    assert_eq!(output.code(), 64);
    assert!(output.stderr.contains("they could accept themselves"), "{}", output.stderr);
    sandbox.write("state/trusted-keys.json", "{}");
    refused("cannot be used");
    std::fs::remove_file(sandbox.path("state/trusted-keys.json")).unwrap();
    std::os::unix::fs::symlink("nowhere", sandbox.path("state/trusted-keys.json")).unwrap();
    refused("symbolic link");
}

#[test]
fn keys_are_added_and_removed_by_name() {
    let sandbox = project("off");
    let (one, two) = (new_key(&sandbox, "one.key"), new_key(&sandbox, "two.key"));
    assert!(trust(&sandbox, &["list"]).stdout.contains("nobody is trusted"));
    for (args, code) in [
        (&["add", "me", &one][..], 0),
        (&["add", "me", &one], 0),
        (&["add", "me", &two], 64),
        (&["add", "you", "ssh-ed25519 AAAA"], 64),
        (&["add", "you", &two], 0),
        (&["remove", "me"], 0),
        (&["remove", "me"], 64),
    ] {
        let output = trust(&sandbox, args);
        assert_eq!(output.code(), code, "{args:?}: {}", output.stderr);
    }
    let listed = trust(&sandbox, &["list"]).stdout;
    assert!(listed.contains("you  ") && listed.contains(&two) && !listed.contains(&one), "{listed}");
}

#[test]
fn a_secret_key_is_not_overwritten_nor_used_when_others_may_read_it() {
    let sandbox = project("off");
    new_key(&sandbox, "mine.key");
    let before = sandbox.read("mine.key");
    let again = ServerCommand::bare().args(["sign", "--new-key"]).arg(sandbox.path("mine.key")).run("");
    assert_eq!((again.code(), sandbox.read("mine.key")), (64, before));
    std::fs::set_permissions(sandbox.path("mine.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let output = sign(&sandbox, "tools/said.wasm", "mine.key");
    assert_eq!(output.code(), 64);
    assert!(output.stderr.contains("chmod go="), "{}", output.stderr);
    assert!(!sandbox.path("tools/said.wasm.sig").exists());
    assert!(sign(&sandbox, "tools/said.wasm", "no.key").stderr.contains("--new-key"));
    assert_eq!(ServerCommand::bare().arg("sign").arg(sandbox.path("tools/said.wasm")).run("").code(), 64);
}
