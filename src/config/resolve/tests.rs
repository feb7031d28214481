//! Which source wins, and that all mistakes come together.

use super::*;

fn project(config: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join(".mcp/tools")).unwrap();
    std::fs::create_dir(root.path().join("data")).unwrap();
    std::fs::write(root.path().join(".mcp/config.json"), config).unwrap();
    root
}

fn resolve(root: &Path, flags: Flags, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Config::resolve(&flags, env, root)
}

fn with_config() -> Flags {
    Flags { config: Some(".mcp/config.json".into()), ..Flags::default() }
}

#[test]
fn the_seeds_config_is_accepted_as_it_is() {
    let root = project(
        r#"{"profile":"dev","server":{"port":50550},"transports":["stdio","ws"],"rbac":{"defaultRole":"operator"},
            "observability":{"otelExporter":"http://localhost:4318"},
            "context_engine":{"enabled":true,"changeCapPctPerDay":10,"minConfidence":0.6},
            "performance":{"maxInflight":2048,"batchSize":64,"queueWatermark":0.75}}"#,
    );
    let config = resolve(root.path(), with_config(), &[]).unwrap();
    assert!(config.tuning.enabled);
    let codel = Some(CodelPolicy { target: defaults::CODEL_TARGET, interval: defaults::CODEL_INTERVAL });
    let coalesce = defaults::COALESCE;
    let performance = Performance { max_inflight: 2048, batch_size: 64, queue_watermark: 0.75, codel, coalesce };
    assert_eq!(config.performance, performance);
    assert_eq!(config.manifest_folders.len(), 1);
    assert!(config.policy.grants().is_empty());
}

#[test]
fn without_config_nothing_is_read_from_the_working_folder() {
    let root = project(r#"{"policies":{"fs_allowlist":["data:rw"]}}"#);
    let config = resolve(root.path(), Flags::default(), &[]).unwrap();
    assert!(config.policy.grants().is_empty());
    assert!(config.manifest_folders.is_empty());
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let root = project(r#"{"policies":{"fs_allowlist":["data:rw"]},"context_engine":{"enabled":true}}"#);
    let writable = |flags, env: &[(&str, &str)]| resolve(root.path(), flags, env).unwrap().policy.grants()[0].writable;
    assert!(writable(with_config(), &[]));
    assert!(!writable(with_config(), &[("FS_ALLOWLIST", "data")]));
    let flag = Flags { allow: vec!["data:rw".to_owned()], ..with_config() };
    assert!(writable(flag, &[("FS_ALLOWLIST", "data")]));
    assert!(!resolve(root.path(), with_config(), &[("CONTEXT_ENGINE", "off")]).unwrap().tuning.enabled);
}

#[test]
fn every_mistake_of_every_source_is_reported_at_once() {
    let root = project(r#"{"performance":{"maxInflight":0,"queueWatermark":7},"polices":{}}"#);
    std::fs::write(root.path().join(".mcp/context-default.json"), r#"{"risk_level":9}"#).unwrap();
    let flags = Flags { allow: vec!["missing".to_owned()], ..with_config() };
    let error = resolve(root.path(), flags, &[("CONTEXT_ENGINE", "maybe")]).unwrap_err().to_string();
    for part in [
        "performance.maxInflight",
        "performance.queueWatermark",
        "`polices`",
        "--allow",
        "CONTEXT_ENGINE",
        "context-default.json: `risk_level`",
    ] {
        assert!(error.contains(part), "{part} not in:\n{error}");
    }
}
