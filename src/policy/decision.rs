//! Whether a call may be made, and which rule says so.

use super::place::RuleRef;
use super::role::Role;
use super::rules::{Destructive, Rules};
use super::tool_glob::ToolGlob;
use crate::frame::{HIGHEST_RISK, Stage};
use crate::wasi::manifest::Permissions;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Who calls, as whoever started the server says.
    pub user: Option<&'a str>,
    /// The published name of the tool.
    pub tool: &'a str,
    /// What its manifest permits it.
    pub permissions: Permissions,
    /// The stage of the call's ContextFrame.
    pub stage: Stage,
    /// Its risk level.
    pub risk_level: u8,
    /// Whether it takes the write permission away.
    pub read_only: bool,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether the call may be made.
    pub allowed: bool,
    /// The rule that decided.
    pub rule: RuleRef,
    /// What it means here.
    pub why: String,
    /// What helps, if it is a denial.
    pub what_to_do: Option<String>,
    /// Every rule that was looked at, in order; the one that decided is among them.
    pub looked_at: Vec<RuleRef>,
}

impl Decision {
    /// What was decided and by which rule, in one line.
    pub fn words(&self) -> String {
        format!("{}, by the rule {} ({})", self.why, self.rule.brief(), self.rule.words)
    }

    /// A denial in one sentence, for whoever is denied.
    pub fn sentence(&self) -> String {
        let what_to_do = self.what_to_do.as_deref().unwrap_or_default();
        format!("{}; {what_to_do}", self.words())
    }
}

/// A denial, before it is known what was looked at.
struct Denial {
    rule: RuleRef,
    why: String,
    what_to_do: String,
}

/// A rule with a say in every call, once the role has had its own.
type Step = fn(&Rules, &Request<'_>, &mut Vec<RuleRef>) -> Result<(), Denial>;

const STEPS: [Step; 4] = [risk, prod, read_only, secrets];

impl Rules {
    /// Decides. The role comes first, as it decides what a user is shown at all; then each rule can only deny.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let mut looked_at = Vec::new();
        let allowing = self.by_role(request, &mut looked_at).and_then(|allowing| {
            STEPS.iter().try_for_each(|step| step(self, request, &mut looked_at)).map(|()| allowing)
        });
        let (allowed, rule, why, what_to_do) = match allowing {
            Ok(rule) => (true, rule, format!("{} may call {}", caller(request), request.tool), None),
            Err(Denial { rule, why, what_to_do }) => (false, rule, why, Some(what_to_do)),
        };
        if !looked_at.contains(&rule) {
            looked_at.push(rule.clone());
        }
        Decision { allowed, rule, why, what_to_do, looked_at }
    }

    /// Whether `user` may call this tool at all, whatever its frame; only what may be called is listed.
    pub fn lists(&self, user: Option<&str>, published: &str) -> bool {
        let request = Request {
            user,
            tool: published,
            permissions: Permissions::default(),
            stage: Stage::Dev,
            risk_level: 0,
            read_only: false,
        };
        self.by_role(&request, &mut Vec::new()).is_ok()
    }

    /// The rule of the caller's role that lets it call the tool.
    fn by_role(&self, request: &Request<'_>, looked_at: &mut Vec<RuleRef>) -> Result<RuleRef, Denial> {
        let Some(roles) = &self.roles else {
            let words = match self.is_written() {
                true => "no roles are written: everything the server was started with may be called",
                false => "no policy: everything the server was started with may be called",
            };
            return Ok(RuleRef::built_in(words));
        };
        let deny = |rule: RuleRef, what_to_do: &str| Denial {
            rule,
            why: format!("{} may not call {}", caller(request), request.tool),
            what_to_do: what_to_do.to_owned(),
        };
        let Some((role, rule)) = roles.of(request.user) else {
            return Err(deny(
                roles.otherwise.clone(),
                "whoever runs this server can start it with --user, or set rbac.defaultRole in its config",
            ));
        };
        looked_at.push(rule.clone());
        let Some(role) = roles.roles.get(role) else {
            return Err(deny(rule.clone(), "whoever runs this server can define that role"));
        };
        by_globs(role, request.tool, looked_at).map_err(|rule| {
            deny(rule, "call another tool; whoever runs this server can change the rule and start it again")
        })
    }
}

/// The first rule of a role that denies the tool, or else the first that allows it.
fn by_globs(role: &Role, tool: &str, looked_at: &mut Vec<RuleRef>) -> Result<RuleRef, RuleRef> {
    let mut first = |globs: &[(ToolGlob, RuleRef)]| {
        let position = globs.iter().position(|(glob, _)| glob.matches(tool));
        let looked = position.map_or(globs, |position| &globs[..=position]);
        looked_at.extend(looked.iter().map(|(_, rule)| rule.clone()));
        position.map(|position| globs[position].1.clone())
    };
    match first(&role.deny) {
        Some(denying) => Err(denying),
        None => first(&role.tools).ok_or_else(|| role.rule.clone()),
    }
}

fn caller(request: &Request<'_>) -> String {
    request.user.map_or_else(|| "whoever calls".to_owned(), |user| format!("the user {user}"))
}

/// How much risk the role may take, and that nothing destructive is done at the highest.
fn risk(rules: &Rules, request: &Request<'_>, looked_at: &mut Vec<RuleRef>) -> Result<(), Denial> {
    let role = rules.roles.as_ref().and_then(|roles| roles.roles.get(&roles.of(request.user)?.0));
    if let Some((most, rule)) = role.and_then(|role| role.max_risk.as_ref()) {
        looked_at.push(rule.clone());
        if request.risk_level > *most {
            return Err(Denial {
                rule: rule.clone(),
                why: format!("the call's risk_level is {}", request.risk_level),
                what_to_do: format!("make it at a risk_level of {most} or less, if it is one"),
            });
        }
    }
    if request.risk_level < HIGHEST_RISK || !rules.is_destructive(request.tool, request.permissions) {
        return Ok(());
    }
    Err(Denial {
        rule: RuleRef::built_in(format!("at risk_level {HIGHEST_RISK} no destructive tool is called")),
        why: format!("{} may change or remove things, and the call's risk_level is {HIGHEST_RISK}", request.tool),
        what_to_do: "lower the risk first, or let a person do it".to_owned(),
    })
}

fn prod(rules: &Rules, request: &Request<'_>, looked_at: &mut Vec<RuleRef>) -> Result<(), Denial> {
    let Some((destructive, rule)) = &rules.prod else { return Ok(()) };
    if request.stage != Stage::Prod {
        return Ok(());
    }
    looked_at.push(rule.clone());
    if *destructive == Destructive::Allow || !rules.is_destructive(request.tool, request.permissions) {
        return Ok(());
    }
    let (why, what_to_do) = match destructive {
        Destructive::Approval => (
            "needs approval, and clients cannot be asked for it yet",
            "have a person make the change, or try it at another stage",
        ),
        _ => ("is not called there", "have a person make the change, or try it at another stage"),
    };
    Err(Denial {
        rule: rule.clone(),
        why: format!("{} may change or remove things, and at stage prod such a tool {why}", request.tool),
        what_to_do: what_to_do.to_owned(),
    })
}

fn read_only(_: &Rules, request: &Request<'_>, _: &mut Vec<RuleRef>) -> Result<(), Denial> {
    let permissions = request.permissions;
    if !request.read_only || permissions.is_none() || !permissions.read_only().is_none() {
        return Ok(());
    }
    Err(Denial {
        rule: RuleRef::built_in("a read-only call loses the write permission of its tool"),
        why: "this call is read-only (flags.read_only of its ContextFrame), and the tool only writes".to_owned(),
        what_to_do: "leave the flag out, if that is what you mean".to_owned(),
    })
}

fn secrets(rules: &Rules, request: &Request<'_>, looked_at: &mut Vec<RuleRef>) -> Result<(), Denial> {
    let Some(tool) = rules.of_tool(request.tool) else { return Ok(()) };
    looked_at.push(tool.rule.clone());
    match &tool.missing {
        None => Ok(()),
        Some((rule, why)) => Err(Denial {
            rule: rule.clone(),
            why: why.clone(),
            what_to_do: "whoever runs this server can put that right and start it again".to_owned(),
        }),
    }
}
