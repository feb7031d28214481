//! Frames: what clients say, and what the defaults add.

use serde_json::json;

use super::*;

#[test]
fn what_a_client_leaves_out_comes_from_the_defaults() {
    let seed = json!({"reason_trace_id":"bootstrap-000","tenant_id":"default","stage":"dev","risk_level":0,
        "context_confidence":0.7,"ts":"auto","flags":{"read_only":true}});
    let defaults = FrameDefaults::from_map(seed.as_object().unwrap()).unwrap();
    let given = json!({"tenant_id": "acme", "flags": {"allow_autotune": false}, "x-custom": [1]});
    let frame = defaults.frame(Some(&given)).unwrap();
    assert_eq!(&*frame.tenant_id, "acme");
    assert!(frame.read_only, "naming one flag must not reset the other");
    assert_eq!(&*frame.reason_trace_id, "bootstrap-000");
    assert_eq!(frame.values()["x-custom"], json!([1]));
    assert_ne!(frame.values()["ts"], "auto");
    assert_eq!(frame.values()["reason_trace_id"], "bootstrap-000");
}

#[test]
fn every_wrong_key_is_named() {
    let given = json!({"stage": "qa", "risk_level": 3, "novelty_score": 2, "flags": {"read_only": "yes"},
        "budgets": {"cpu_ms": 0}, "tenant_id": ""});
    let mistakes = FrameDefaults::built_in().frame(Some(&given)).unwrap_err();
    let mut keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["budgets.cpu_ms", "flags.read_only", "novelty_score", "risk_level", "stage", "tenant_id"]);
    assert!(FrameDefaults::built_in().frame(Some(&json!("frame"))).is_err());
}

#[test]
fn a_call_that_says_nothing_has_the_frame_of_one_that_says_an_empty_one() {
    let values = |defaults: &FrameDefaults, given: Option<&Value>| {
        let frame = defaults.frame(given).unwrap();
        let mut values = frame.values();
        assert_eq!(values["reason_trace_id"], *frame.reason_trace_id);
        assert_eq!(serde_json::to_string(&values).unwrap(), *frame.json(), "sorted, and without spaces");
        for key in ["reason_trace_id", "ts"] {
            let said = values[key].to_string();
            values.insert(key.to_owned(), Value::from(said.chars().map(|_| 'x').collect::<String>()));
        }
        (values, frame.tenant_id, frame.read_only, frame.budget, frame.deadline)
    };
    let all =
        json!({"reason_trace_id":"a\"b","tenant_id":"t","ts":"2026-01-01","budgets":{"cpu_ms":5,"deadline_ms":7}});
    let late = json!({"ts": "auto", "zz": [1, {"a": null}], "a": "first", "flags": {"read_only": true}});
    for given in [json!({}), all, late] {
        let defaults = FrameDefaults::from_map(given.as_object().unwrap()).unwrap();
        assert_eq!(values(&defaults, None), values(&defaults, Some(&json!({}))), "{given}");
    }
}

#[test]
fn binding_defaults_can_be_made_stricter_and_never_laxer() {
    let strict = json!({"stage": "staging", "risk_level": 1, "flags": {"read_only": true}});
    let defaults = FrameDefaults::from_map(strict.as_object().unwrap()).unwrap();
    let lax = json!({"stage": "dev", "risk_level": 0, "flags": {"read_only": false}});
    let said = |defaults: &FrameDefaults, given: &Value| {
        let frame = defaults.frame(Some(given)).unwrap();
        let values = frame.values();
        assert_eq!(values["stage"], frame.stage.as_str());
        assert_eq!(values["risk_level"], frame.risk_level);
        assert_eq!(values["flags"]["read_only"], frame.read_only);
        (frame.stage, frame.risk_level, frame.read_only)
    };
    assert_eq!(said(&defaults, &lax), (Stage::Dev, 0, false), "without a policy they are defaults and no rule");
    let binding = defaults.binding();
    assert_eq!(said(&binding, &lax), (Stage::Staging, 1, true));
    assert_eq!(said(&binding, &json!({"stage": "prod", "risk_level": 2})), (Stage::Prod, 2, true));
    assert_eq!(said(&binding, &json!({"flags": null})), (Stage::Staging, 1, true));
}

#[test]
fn each_call_without_a_trace_id_gets_its_own() {
    let frame = || FrameDefaults::built_in().frame(None).unwrap();
    assert_ne!(frame().reason_trace_id, frame().reason_trace_id);
}

#[test]
fn a_call_moves_knobs_unless_it_is_risky_or_says_no() {
    let tunable = |given: serde_json::Value| FrameDefaults::built_in().frame(Some(&given)).unwrap().is_tunable();
    assert!(tunable(json!({})) && tunable(json!({"flags": {"allow_autotune": true}})));
    assert!(!tunable(json!({"flags": {"allow_autotune": false}})));
    assert!(!tunable(json!({"risk_level": 1})));
}
