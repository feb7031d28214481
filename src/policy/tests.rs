//! Rules as a whole: what they read, refuse and decide.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Request, Rules};
use crate::config::{Access, PolicySource};
use crate::frame::{HIGHEST_RISK, Stage};
use crate::wasi::manifest::Permissions;
use crate::wasi::sandbox::{Grant, Policy};

const BOTH: Permissions = Permissions { read: true, write: true };
const READ: Permissions = Permissions { read: true, write: false };

fn access(rules: &Value, user: Option<&str>, default_role: Option<&str>) -> Access {
    let source =
        PolicySource { path: "/p/.mcp/policies.json".into(), key: None, values: rules.as_object().unwrap().clone() };
    Access {
        user: user.map(str::to_owned),
        default_role: default_role.map(|role| (role.to_owned(), PathBuf::from("/p/.mcp/config.json"))),
        sources: vec![source],
        root: "/p".into(),
        decisive: Vec::new(),
    }
}

fn read(rules: &Value, user: Option<&str>, default_role: Option<&str>) -> Result<Rules, Vec<String>> {
    Rules::read(&access(rules, user, default_role), &Policy::default(), &|_| None)
}

fn call<'a>(user: Option<&'a str>, tool: &'a str, permissions: Permissions) -> Request<'a> {
    Request { user, tool, permissions, stage: Stage::Dev, risk_level: 0, read_only: false }
}

/// The pointer of the rule that decides about a call, and whether that is made.
fn decided(rules: &Rules, request: &Request<'_>) -> (bool, String) {
    let decision = rules.decide(request);
    assert!(decision.looked_at.contains(&decision.rule));
    (decision.allowed, if decision.rule.file.is_some() { decision.rule.pointer } else { "built in".to_owned() })
}

#[test]
fn the_seeds_policies_are_accepted_as_they_are() {
    let seed = json!({
        "roles": {"admin": ["*"], "operator": ["fs.read", "fs.list", "telemetry.push"], "reader": ["fs.read"]},
        "users": {"guest": "reader", "local:dev": "admin"},
        "fs_allowlist": ["/workspace", "/tmp"]
    });
    let rules = read(&seed, Some("guest"), Some("operator")).unwrap();
    assert_eq!(decided(&rules, &call(Some("guest"), "fs_read", READ)), (true, "/roles/reader/0".to_owned()));
    assert_eq!(decided(&rules, &call(Some("guest"), "fs_write", BOTH)), (false, "/roles/reader".to_owned()));
    assert_eq!(decided(&rules, &call(Some("local:dev"), "fs_write", BOTH)), (true, "/roles/admin/0".to_owned()));
    assert_eq!(decided(&rules, &call(None, "telemetry_push", READ)), (true, "/roles/operator/2".to_owned()));
}

#[test]
fn without_rules_everything_may_be_called() {
    let rules = Rules::default();
    let decision = rules.decide(&call(None, "fs_write", BOTH));
    assert!(decision.allowed);
    assert!(decision.rule.words.starts_with("no policy: everything the server was started with"));
}

#[test]
fn with_roles_everything_else_is_denied() {
    let rules = read(&json!({"roles": {"viewer": {"tools": ["fs.*"], "deny": ["fs.write"]}}}), None, None).unwrap();
    assert_eq!(decided(&rules, &call(None, "fs_read", READ)), (false, "/roles".to_owned()), "nobody has no role");
    assert_eq!(decided(&rules, &call(Some("x"), "fs_read", READ)), (false, "/roles".to_owned()), "nor has a stranger");
    let rules =
        read(&json!({"roles": {"viewer": {"tools": ["fs.*"], "deny": ["fs.write"]}}}), None, Some("viewer")).unwrap();
    assert_eq!(decided(&rules, &call(None, "fs_read", READ)), (true, "/roles/viewer/tools/0".to_owned()));
    assert_eq!(decided(&rules, &call(None, "fs_write", BOTH)), (false, "/roles/viewer/deny/0".to_owned()));
    assert_eq!(decided(&rules, &call(None, "net_get", READ)), (false, "/roles/viewer".to_owned()));
}

#[test]
fn the_highest_risk_blocks_what_may_destroy_whatever_the_tool_says_of_itself() {
    let at = |rules: &Rules, tool, permissions, risk_level| {
        decided(rules, &Request { risk_level, ..call(None, tool, permissions) })
    };
    let none = Rules::default();
    assert!(at(&none, "fs_write", BOTH, 1).0);
    assert_eq!(at(&none, "fs_write", BOTH, 2), (false, "built in".to_owned()));
    assert!(at(&none, "fs_read", READ, 2).0);
    let said = json!({"tools": {"append": {"destructive": false}, "send": {"destructive": true}}});
    let said = read(&said, None, None).unwrap();
    assert!(at(&said, "append", BOTH, 2).0);
    assert!(!at(&said, "send", READ, 2).0);
    let limited = json!({"roles": {"r": {"tools": ["*"], "max_risk": 0}}});
    let limited = read(&limited, None, Some("r")).unwrap();
    assert_eq!(at(&limited, "fs_read", READ, 1), (false, "/roles/r/max_risk".to_owned()));
}

#[test]
fn at_prod_the_policy_says_what_becomes_of_destructive_calls() {
    for (said, allowed) in [("allow", true), ("approval", false), ("deny", false)] {
        let rules = read(&json!({"prod": {"destructive": said}}), None, None).unwrap();
        let at = |stage, permissions| rules.decide(&Request { stage, ..call(None, "fs_write", permissions) });
        let decision = at(Stage::Prod, BOTH);
        assert_eq!(decision.allowed, allowed, "{said}");
        assert_eq!(decision.why.contains("clients cannot be asked"), said == "approval", "{}", decision.why);
        assert!(at(Stage::Staging, BOTH).allowed);
        assert!(at(Stage::Prod, READ).allowed);
    }
}

#[test]
fn every_mistake_is_said_at_once_with_its_place() {
    let rules = json!({
        "roles": {"a": {"tool": []}, "b": ["fs read"], "c": 7, "d": {"tools": ["*"], "max_risk": 3}},
        "users": {"u": "nobody", "v": {"role": "a", "extra": 1}},
        "tools": {
            "t": {
                "filesystem": [{"dir": "/", "access": "rwx"}], "env": ["A B", "NURONES_X"], "secrets": [{"name": "X"}]
            },
            "f": {"network": [{"host": "a/b"}], "secrets": [{"name": "Y", "from": "vault:y"}], "destructive": "no"},
            "t*x": {}
        },
        "prod": {"destructive": "ask"},
        "role": {}
    });
    let said = read(&rules, None, Some("e")).unwrap_err().join("\n");
    for part in [
        "/p/.mcp/policies.json: `roles.a.tool` is not a known key",
        "`roles.a.tools` is missing",
        "`roles.b.0`",
        "`roles.c`",
        "`roles.d.max_risk`",
        "`users.u` names the role `nobody`",
        "`users.v.extra`",
        "`tools.t.filesystem.0.access`",
        "`tools.t.env.0`",
        "`tools.t.env.1`",
        "`tools.t.secrets.0.from` is missing",
        "`tools.f.network.0.host`",
        "`tools.f.secrets.0.from`",
        "`tools.f.destructive`",
        "`tools.t*x`",
        "`prod.destructive`",
        "`role` is not a known key",
        "/p/.mcp/config.json: `rbac.defaultRole` names the role `e`",
    ] {
        assert!(said.contains(part), "{part} not in:\n{said}");
    }
}

#[test]
fn what_is_said_in_both_files_is_a_mistake() {
    let said =
        json!({"roles": {"r": ["*"]}, "users": {"u": "r"}, "tools": {"fs.read": {}}, "prod": {"destructive": "deny"}});
    let mut access = access(&said, None, Some("r"));
    let values =
        json!({"roles": {"r": ["*"]}, "users": {"u": "r"}, "tools": {"fs_read": {}}, "prod": {"destructive": "deny"}});
    let values = values.as_object().unwrap().clone();
    access.sources.push(PolicySource { path: "/p/.mcp/config.json".into(), key: Some("policies"), values });
    let mistakes = Rules::read(&access, &Policy::default(), &|_| None).unwrap_err().join("\n");
    for key in ["roles.r", "users.u", "tools.fs_read", "prod"] {
        assert!(mistakes.contains(&format!("/p/.mcp/config.json: `policies.{key}`")), "{key} not in:\n{mistakes}");
    }
}

#[test]
fn a_user_whom_the_policy_does_not_name_is_a_mistake() {
    let rules = json!({"roles": {"r": ["*"]}, "users": {"guest": "r"}});
    let said = read(&rules, Some("gest"), Some("r")).unwrap_err().join("\n");
    assert!(said.contains("`gest`") && said.contains("guest"), "{said}");
}

#[test]
fn a_secret_that_cannot_be_had_denies_its_tool_and_no_other() {
    let root = tempfile::tempdir().unwrap();
    let open = root.path().join("open");
    std::fs::write(&open, "hunter2\n").unwrap();
    set_mode(&open, 0o644);
    for (from, part) in [
        ("env:ABSENT", "ABSENT is not set"),
        ("keyring:no-such-key", "nurones-mcp:no-such-key"),
        ("file:missing", "No such file"),
        (&format!("file:{}", open.display()), "chmod 600"),
    ] {
        let rules = json!({"tools": {"t": {"secrets": [{"name": "TOKEN", "from": from}]}}});
        let rules = read(&rules, None, None).unwrap();
        let decision = rules.decide(&call(None, "t", READ));
        assert!(!decision.allowed && decision.why.contains(part), "{from}: {}", decision.why);
        assert_eq!(decision.rule.pointer, "/tools/t/secrets/0");
        assert!(rules.decide(&call(None, "other", READ)).allowed);
    }
    set_mode(&open, 0o600);
    let rules = json!({"tools": {"t": {"secrets": [{"name": "TOKEN", "from": format!("file:{}", open.display())}]}}});
    let rules = read(&rules, None, None).unwrap();
    let expected = [("TOKEN".to_owned(), "hunter2".to_owned())];
    assert_eq!(rules.of_tool("t").unwrap().environment.variables(), expected);
    assert!(!format!("{rules:?}").contains("hunter2"));
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_is_only_narrowed() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    for folder in ["ro/sub", "rw/sub", "other"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::os::unix::fs::symlink(root.join("other"), root.join("rw/link")).unwrap();
    let grant = |name: &str, writable| Grant::open(Path::new(name), &root, writable).unwrap();
    let allowed = Policy::new(vec![grant("ro", false), grant("rw", true)]);
    let with = |dir: &str, mode: &str| {
        let mut access = access(&json!({"tools": {"t": {"filesystem": [{"dir": dir, "access": mode}]}}}), None, None);
        access.root.clone_from(&root);
        Rules::read(&access, &allowed, &|_| None)
    };
    let seen = |dir: &str, mode: &str| {
        let rules = with(dir, mode).unwrap();
        let (policy, _) = rules.of_tool("t").unwrap().directories.as_ref().unwrap();
        policy.grants().iter().map(|grant| (grant.canonical.clone(), grant.writable)).collect::<Vec<_>>()
    };
    assert_eq!(seen("rw/sub", "rw"), [(root.join("rw/sub"), true)]);
    assert_eq!(seen("rw", "ro"), [(root.join("rw"), false)]);
    assert_eq!(seen("ro/sub", "ro"), [(root.join("ro/sub"), false)]);
    for (dir, mode, part) in [
        ("ro", "rw", "for reading only"),
        ("ro/sub", "rw", "for reading only"),
        ("other", "ro", "does not allow"),
        (".", "ro", "does not allow"),
        ("rw/link", "ro", "does not allow"),
        ("rw/../other", "ro", "does not allow"),
        ("missing", "ro", "cannot be opened"),
    ] {
        let said = with(dir, mode).unwrap_err().join("\n");
        assert!(said.contains(part), "{dir} {mode}: {said}");
    }
}

#[test]
fn what_decides_may_not_lie_where_tools_may_write() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("p/.mcp/tools")).unwrap();
    std::fs::create_dir_all(root.join("elsewhere")).unwrap();
    std::fs::write(root.join("elsewhere/real.json"), "{}").unwrap();
    std::os::unix::fs::symlink(root.join("elsewhere/real.json"), root.join("p/.mcp/policies.json")).unwrap();
    let with = |allowed: &str, writable, decisive: &str| {
        let mut access = access(&json!({"prod": {"destructive": "deny"}}), None, None);
        access.decisive = vec![root.join(decisive)];
        let policy = Policy::new(vec![Grant::open(Path::new(allowed), &root, writable).unwrap()]);
        Rules::read(&access, &policy, &|_| None).map_err(|mistakes| mistakes.join("\n"))
    };
    for (allowed, decisive) in [
        ("p", "p/.mcp/policies.json"),
        ("p/.mcp", "p/.mcp/policies.json"),
        ("elsewhere", "p/.mcp/policies.json"),
        ("p", "p/.mcp/context-default.json"),
        ("p/.mcp/tools", "p/.mcp/tools"),
        (".", "p/.mcp/tools"),
    ] {
        let said = with(allowed, true, decisive).unwrap_err();
        assert!(said.contains("grant themselves more"), "{allowed}: {said}");
        assert!(with(allowed, false, decisive).is_ok(), "{allowed}: for reading it may");
    }
    assert!(with("elsewhere", true, "p/.mcp/tools").is_ok());
    let only_allowed = access(&json!({"fs_allowlist": []}), None, None);
    let only_allowed = Access { decisive: vec![root.join("p/.mcp/tools")], ..only_allowed };
    let policy = Policy::new(vec![Grant::open(Path::new("p"), &root, true).unwrap()]);
    assert!(Rules::read(&only_allowed, &policy, &|_| None).is_ok(), "without rules there is nothing to guard");
}

const TOOLS: [&str; 4] = ["fs_read", "fs_write", "net_get", "x"];
const GLOBS: [&str; 6] = ["*", "fs.*", "fs.read", "fs_write", "net.*", "x"];

/// Rules of two roles, with and without the entries that take something away.
fn any_rules() -> impl Strategy<Value = Value> {
    let globs = || proptest::collection::vec(proptest::sample::select(&GLOBS[..]), 0..4);
    let role = (globs(), globs(), proptest::option::of(0..=HIGHEST_RISK))
        .prop_map(|(tools, deny, max_risk)| json!({"tools": tools, "deny": deny, "max_risk": max_risk}));
    let prod = proptest::option::of(proptest::sample::select(&["allow", "approval", "deny"][..]));
    let destructive = proptest::option::of(any::<bool>());
    (role, prod, destructive).prop_map(|(role, prod, destructive)| {
        let prod = prod.map(|said| json!({"destructive": said}));
        let tools = json!({"fs.write": {"destructive": destructive}});
        json!({"roles": {"r": role}, "users": {"u": "r"}, "prod": prod, "tools": tools})
    })
}

fn any_call() -> impl Strategy<Value = Request<'static>> {
    let tool = proptest::sample::select(&TOOLS[..]);
    let user = proptest::sample::select(&[None, Some("u"), Some("stranger")][..]);
    let permissions = (any::<bool>(), any::<bool>()).prop_map(|(read, write)| Permissions { read, write });
    let stage = proptest::sample::select(&Stage::ALL[..]);
    (user, tool, permissions, stage, 0..=HIGHEST_RISK, any::<bool>()).prop_map(
        |(user, tool, permissions, stage, risk_level, read_only)| Request {
            user,
            tool,
            permissions,
            stage,
            risk_level,
            read_only,
        },
    )
}

proptest! {
    #[test]
    fn every_decision_names_a_rule_it_looked_at(rules in any_rules(), call in any_call(), default in any::<bool>()) {
        let rules = read(&rules, None, default.then_some("r")).unwrap();
        let decision = rules.decide(&call);
        prop_assert!(!decision.rule.words.is_empty() && !decision.why.is_empty());
        prop_assert!(decision.looked_at.contains(&decision.rule));
        prop_assert_eq!(decision.what_to_do.is_none(), decision.allowed);
        prop_assert!(!decision.allowed || rules.lists(call.user, call.tool), "what may be called is listed");
    }

    #[test]
    fn one_more_denial_never_allows_more(rules in any_rules(), call in any_call(), more in 0..GLOBS.len()) {
        let before = read(&rules, None, Some("r")).unwrap().decide(&call);
        let mut stricter = rules.clone();
        stricter["roles"]["r"]["deny"].as_array_mut().unwrap().push(json!(GLOBS[more]));
        let after = read(&stricter, None, Some("r")).unwrap().decide(&call);
        prop_assert!(before.allowed || !after.allowed, "{rules}: {call:?}");
        let mut stricter = rules;
        stricter["prod"] = json!({"destructive": "deny"});
        let after = read(&stricter, None, Some("r")).unwrap().decide(&call);
        prop_assert!(before.allowed || !after.allowed, "{call:?}");
    }

    #[test]
    fn a_stricter_frame_never_allows_more(rules in any_rules(), call in any_call(), stricter in any_call()) {
        let rules = read(&rules, None, Some("r")).unwrap();
        let stricter = Request {
            stage: call.stage.max(stricter.stage),
            risk_level: call.risk_level.max(stricter.risk_level),
            read_only: call.read_only || stricter.read_only,
            ..call
        };
        prop_assert!(rules.decide(&call).allowed || !rules.decide(&stricter).allowed, "{call:?}, {stricter:?}");
    }

    #[test]
    fn rules_allow_nothing_that_no_rules_deny(rules in any_rules(), call in any_call()) {
        // But for what a person says is not destructive, in so many words.
        let mut rules = rules;
        rules["tools"] = json!({});
        let rules = read(&rules, None, Some("r")).unwrap();
        prop_assert!(Rules::default().decide(&call).allowed || !rules.decide(&call).allowed, "{call:?}");
    }
}
