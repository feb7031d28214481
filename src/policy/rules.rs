//! All that is written, read and checked as a whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::place::{Place, RuleRef};
use super::role::Role;
use super::tool_rule::{Surroundings, ToolRule, above};
use crate::config::Access;
use crate::fields::Fields;
use crate::frame::Allowance;
use crate::wasi::manifest::{Permissions, published_name};
use crate::wasi::sandbox::Policy;

/// The name under which stands what is said of tenants that are not named.
const OTHERS: &str = "*";

/// What becomes of destructive calls at stage prod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destructive {
    /// They are made.
    Allow,
    /// Somebody has to agree first.
    Approval,
    /// They are not made.
    Deny,
}

/// Roles and who has them.
#[derive(Debug)]
pub(super) struct Roles {
    pub roles: BTreeMap<String, Role>,
    /// Users with the name of their role.
    pub users: BTreeMap<String, (String, RuleRef)>,
    /// The role of whoever is not named.
    pub default: Option<(String, RuleRef)>,
    /// What those are told who have none.
    pub otherwise: RuleRef,
}

impl Roles {
    /// The name of a user's role, and the rule that gives it.
    pub fn of(&self, user: Option<&str>) -> Option<&(String, RuleRef)> {
        user.map_or(self.default.as_ref(), |user| self.users.get(user))
    }
}

/// See the module documentation. The default is no rules: everything that the server was started with is granted.
#[derive(Debug, Default)]
pub struct Rules {
    /// Who calls.
    pub user: Option<String>,
    /// Absent means that anybody may call any tool.
    pub(super) roles: Option<Roles>,
    /// The most precise first.
    pub(super) tools: Vec<ToolRule>,
    pub(super) prod: Option<(Destructive, RuleRef)>,
    /// What tenants may use.
    tenants: BTreeMap<String, Allowance>,
    is_written: bool,
}

impl Rules {
    /// Reads what `access` holds. `allowed` are the directories that the server allows, `env` is its environment.
    ///
    /// # Errors
    /// Every mistake, each with its file and key.
    pub fn read(access: &Access, allowed: &Policy, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<String>> {
        let mut reading = Reading { around: Surroundings { root: &access.root, allowed, env }, mistakes: Vec::new() };
        let mut written = Written::default();
        for source in &access.sources {
            let place = Place::new(&source.path, source.key);
            reading.source(&place, &source.values, &mut written);
        }
        let mut rules = Self { user: access.user.clone(), is_written: access.has_rules(), ..Self::default() };
        rules.roles = reading.roles(access, &written);
        rules.tools = reading.tools(written.tools);
        rules.prod = written.prod;
        rules.tenants = reading.tenants(&written.tenants);
        reading.guard(access);
        if reading.mistakes.is_empty() { Ok(rules) } else { Err(reading.mistakes) }
    }

    /// Every secret that tools get, by name.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tools.iter().flat_map(ToolRule::secrets)
    }

    /// What the calls of `tenant` may use together.
    pub fn allowance(&self, tenant: &str) -> Allowance {
        match self.tenants.is_empty() {
            true => Allowance::default(),
            false => self.tenants.get(tenant).or_else(|| self.tenants.get(OTHERS)).copied().unwrap_or_default(),
        }
    }

    /// Whether any rule is written.
    pub fn is_written(&self) -> bool {
        self.is_written
    }

    /// The name of the caller's role, if it has one.
    pub fn role(&self) -> Option<&str> {
        self.roles.as_ref()?.of(self.user.as_deref()).map(|(role, _)| role.as_str())
    }

    /// What is said of the tool of this published name: of several that mean it, the most precise.
    pub fn of_tool(&self, published: &str) -> Option<&ToolRule> {
        self.tools.iter().find(|tool| tool.glob.matches(published))
    }

    /// Whether a tool counts as destructive, and by which rule. Its own word is not asked: it could lie its way out.
    pub(super) fn is_destructive(&self, published: &str, permissions: Permissions) -> bool {
        let said = self.of_tool(published).and_then(|tool| tool.destructive.as_ref());
        said.map_or(permissions.write, |(destructive, _)| *destructive)
    }
}

/// What the sources hold, each thing once.
#[derive(Default)]
struct Written<'a> {
    roles: Vec<(Place, &'a Map<String, Value>)>,
    users: Vec<(Place, &'a Map<String, Value>)>,
    tools: Vec<(Place, &'a Map<String, Value>)>,
    tenants: Vec<(Place, &'a Map<String, Value>)>,
    prod: Option<(Destructive, RuleRef)>,
}

struct Reading<'a> {
    around: Surroundings<'a>,
    mistakes: Vec<String>,
}

impl Reading<'_> {
    fn source<'a>(&mut self, place: &Place, values: &'a Map<String, Value>, written: &mut Written<'a>) {
        let mut fields = Fields::new("", values);
        // Read by whoever read the file.
        fields.value("fs_allowlist");
        for (key, section) in [
            ("roles", &mut written.roles),
            ("users", &mut written.users),
            ("tools", &mut written.tools),
            ("tenants", &mut written.tenants),
        ] {
            match fields.value(key) {
                None => {}
                Some(Value::Object(map)) => section.push((place.at(key), map)),
                Some(_) => self.mistakes.push(place.at(key).mistake("must be an object")),
            }
        }
        if let Some(value) = fields.value("prod") {
            let prod = place.at("prod");
            let read = prod.read(value, &mut self.mistakes, |fields, _| read_prod(fields, &prod)).flatten();
            match (&written.prod, read) {
                (Some(_), Some(_)) => self.mistakes.push(prod.mistake("is in the config file too; keep one of them")),
                (None, Some(read)) => written.prod = Some(read),
                (_, None) => {}
            }
        }
        let known = ["fs_allowlist", "prod", "roles", "tenants", "tools", "users"];
        for key in values.keys().filter(|key| !known.contains(&key.as_str())) {
            let problem = format!("is not a known key; known here: {}", known.join(", "));
            self.mistakes.push(place.at(key).mistake(&problem));
        }
    }

    fn roles(&mut self, access: &Access, written: &Written<'_>) -> Option<Roles> {
        let (first, _) = written.roles.first()?;
        let otherwise = first.rule("who has no role may call nothing");
        let mut roles = Roles { roles: BTreeMap::new(), users: BTreeMap::new(), default: None, otherwise };
        let mut defined: BTreeSet<&String> = BTreeSet::new();
        for (place, name, value) in entries(&written.roles) {
            if !defined.insert(name) {
                self.mistakes.push(place.mistake("is in the config file too; keep one of them"));
            } else if let Some(role) = Role::read(name, value, &place, &mut self.mistakes) {
                roles.roles.insert(name.clone(), role);
            }
        }
        for (place, name, value) in entries(&written.users) {
            let Some((role, rule)) = self.user(&place, name, value) else { continue };
            if !defined.contains(&role) {
                self.mistakes.push(place.mistake(&unknown_role(&role, &defined)));
            } else if roles.users.insert(name.clone(), (role, rule)).is_some() {
                self.mistakes.push(place.mistake("is in the config file too; keep one of them"));
            }
        }
        if let Some((role, file)) = &access.default_role {
            let place = Place::new(file, Some("rbac")).at("defaultRole");
            if !defined.contains(role) {
                self.mistakes.push(place.mistake(&unknown_role(role, &defined)));
            }
            let rule = place.rule(format!("who is not named has the role {role}"));
            roles.default = Some((role.clone(), rule));
        }
        if let Some(user) = &access.user
            && !roles.users.contains_key(user)
        {
            let known: Vec<&str> = roles.users.keys().map(String::as_str).collect();
            let place = written.users.last().map_or_else(|| first.clone(), |(place, _)| place.clone());
            self.mistakes.push(place.mistake(&format!(
                "does not name the user `{user}` (--user, NURONES_USER or rbac.user); add it, or use one of: {}",
                known.join(", ")
            )));
        }
        Some(roles)
    }

    /// `"reader"`, as the seed has it, or `{"role": "reader"}`.
    fn user(&mut self, place: &Place, name: &str, value: &Value) -> Option<(String, RuleRef)> {
        let role = match value {
            Value::String(role) => role.clone(),
            value => {
                let read =
                    |fields: &mut Fields<'_>, _: &mut Vec<String>| fields.required_string("role").map(str::to_owned);
                place.read(value, &mut self.mistakes, read)??
            }
        };
        let rule = place.rule(format!("the user {name} has the role {role}"));
        Some((role, rule))
    }

    fn tools(&mut self, written: Vec<(Place, &Map<String, Value>)>) -> Vec<ToolRule> {
        let mut tools: Vec<ToolRule> = Vec::new();
        for (place, name, value) in entries(&written) {
            let Some(tool) = ToolRule::read(name, value, &place, &self.around, &mut self.mistakes) else { continue };
            if tools.iter().any(|known| known.glob == tool.glob) {
                let name = published_name(name);
                self.mistakes.push(place.mistake(&format!("says something of {name} a second time; keep one of them")));
            }
            tools.push(tool);
        }
        tools.sort_by_key(|tool| std::cmp::Reverse(tool.glob.precision()));
        tools
    }

    fn tenants(&mut self, written: &[(Place, &Map<String, Value>)]) -> BTreeMap<String, Allowance> {
        let mut tenants = BTreeMap::new();
        for (place, name, value) in entries(written) {
            let read = place.read(value, &mut self.mistakes, |fields, _| Allowance::read(fields));
            if tenants.insert(name.clone(), read.unwrap_or_default()).is_some() {
                self.mistakes.push(place.mistake("is in the config file too; keep one of them"));
            }
        }
        tenants
    }

    /// A tool that can write where it is decided what it may do can grant itself everything, at the latest at the next
    /// start. So the server does not start.
    fn guard(&mut self, access: &Access) {
        if !access.has_rules() {
            return;
        }
        for path in &access.decisive {
            if let Some(writable) = above(self.around.allowed, path).find(|grant| grant.writable) {
                self.mistakes.push(format!(
                    "{}: lies in {}, which tools may write: they could grant themselves more; allow that for reading \
                     only, or allow only the folders that tools have to write",
                    path.display(),
                    writable.canonical.display()
                ));
            }
        }
    }
}

fn read_prod(fields: &mut Fields<'_>, place: &Place) -> Option<(Destructive, RuleRef)> {
    let (destructive, words) = match fields.required_string("destructive")? {
        "allow" => (Destructive::Allow, "at stage prod, destructive tools may be called"),
        "approval" => (Destructive::Approval, "at stage prod, calls of destructive tools need approval"),
        "deny" => (Destructive::Deny, "at stage prod, no destructive tool is called"),
        other => {
            fields.mistake("destructive", format!(r#"must be "allow", "approval" or "deny", not "{other}""#));
            return None;
        }
    };
    Some((destructive, place.at("destructive").rule(words)))
}

/// Every entry of every section, with its place.
fn entries<'a>(
    sections: &'a [(Place, &'a Map<String, Value>)],
) -> impl Iterator<Item = (Place, &'a String, &'a Value)> {
    sections.iter().flat_map(|(place, map)| map.iter().map(|(name, value)| (place.at(name), name, value)))
}

fn unknown_role(role: &str, known: &BTreeSet<&String>) -> String {
    let known: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
    format!("names the role `{role}`, which there is not; define it under roles, or use one of: {}", known.join(", "))
}
