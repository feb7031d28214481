//! One tool's part of the rules, made ready for calls.

use std::sync::{Arc, OnceLock};

use super::decision::{Decision, Request};
use super::rules::Rules;
use super::tool_rule::ToolRule;
use crate::frame::{Allowance, ContextFrame, HIGHEST_RISK, Stage};
use crate::wasi::environment::Environment;
use crate::wasi::manifest::{Manifest, Permissions};
use crate::wasi::sandbox::Policy;

const RISKS: usize = HIGHEST_RISK as usize + 1;

/// As many calls as differ to the rules: stage × risk level × read-only.
const CALLS: usize = Stage::ALL.len() * RISKS * 2;

/// See the module documentation.
pub struct Rights {
    rules: Arc<Rules>,
    published: String,
    permissions: Permissions,
    /// Whether the user is told of the tool.
    pub is_listed: bool,
    /// The only directories of its sandbox, if the rules name some.
    pub directories: Option<Arc<Policy>>,
    /// What its sandbox has in its environment.
    pub environment: Environment,
    /// The sentence of each denial. Most tools are never called, so they are made with the first call.
    denials: OnceLock<Box<[Option<Box<str>>; CALLS]>>,
}

impl Rights {
    /// The rights of the tool of `manifest`.
    pub fn new(rules: &Arc<Rules>, manifest: &Manifest) -> Self {
        let published = manifest.published_name();
        let rule = rules.of_tool(&published);
        Self {
            is_listed: rules.lists(rules.user.as_deref(), &published),
            directories: rule.and_then(|rule| rule.directories.as_ref()).map(|(policy, _)| Arc::clone(policy)),
            environment: rule.map(|rule: &ToolRule| rule.environment.clone()).unwrap_or_default(),
            rules: Arc::clone(rules),
            published,
            permissions: manifest.permissions,
            denials: OnceLock::new(),
        }
    }

    /// What the caller is told, if a call with this frame may not be made.
    pub fn denial(&self, frame: &ContextFrame) -> Option<&str> {
        let call = index(frame.stage, frame.risk_level, frame.read_only);
        self.denials.get_or_init(|| self.all_denials())[call].as_deref()
    }

    /// What the rules say of a call with this frame, and why.
    pub fn decision(&self, frame: &ContextFrame) -> Decision {
        self.decide(frame.stage, frame.risk_level, frame.read_only)
    }

    /// Who calls, as whoever started the server says.
    pub fn user(&self) -> Option<&str> {
        self.rules.user.as_deref()
    }

    /// The caller's role.
    pub fn role(&self) -> Option<&str> {
        self.rules.role()
    }

    /// What the calls of the frame's tenant may use together: what it allows itself, and never more than the rules do.
    pub fn allowance(&self, frame: &ContextFrame) -> Allowance {
        frame.allowance.strictest(self.rules.allowance(&frame.tenant_id))
    }

    fn all_denials(&self) -> Box<[Option<Box<str>>; CALLS]> {
        let mut denials = Box::new([const { None }; CALLS]);
        for stage in Stage::ALL {
            for risk_level in 0..=HIGHEST_RISK {
                for read_only in [false, true] {
                    let decision = self.decide(stage, risk_level, read_only);
                    if !decision.allowed {
                        denials[index(stage, risk_level, read_only)] = Some(decision.sentence().into());
                    }
                }
            }
        }
        denials
    }

    fn decide(&self, stage: Stage, risk_level: u8, read_only: bool) -> Decision {
        self.rules.decide(&Request {
            user: self.rules.user.as_deref(),
            tool: &self.published,
            permissions: self.permissions,
            stage,
            risk_level,
            read_only,
        })
    }
}

fn index(stage: Stage, risk_level: u8, read_only: bool) -> usize {
    (stage as usize * RISKS + usize::from(risk_level)) * 2 + usize::from(read_only)
}
