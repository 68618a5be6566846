//! The same nine steps, written down: what was looked at, what decided, what would have to change.

use crate::decide::{Found, Question, Reason, Source, Trace, decide};
use crate::model::{Model, RolePermission};
use crate::name::{Kind, Permission, Vocabulary};
use crate::node::Node;
use crate::resource::{Parent, Resource};
use crate::role::Gives;
use crate::subject::{Binding, Grantee, What};
use serde_json::{Value, json};
use uuid::Uuid;

/// What each step asks, by number from 1.
pub const STEPS: [&str; 9] = [
    "the principal is active",
    "the resource exists",
    "the principal is inside the tenant",
    "the resource is not deleted",
    "no explicit deny",
    "a binding gives the permission",
    "confidentiality",
    "conditions",
    "MFA",
];

/// The table whose row a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `authz.principal_role_assignment`
    Assignment,
    /// The resource's owner column.
    Ownership,
    /// `authz.resource_access_grant`
    Grant,
    /// `authz.resource_access_rule`
    Rule,
    /// `authz.privileged_access_session`
    Session,
}

impl Origin {
    /// As it is called in an explanation.
    pub const fn name(self) -> &'static str {
        match self {
            Origin::Assignment => "role_assignment",
            Origin::Ownership => "ownership",
            Origin::Grant => "access_grant",
            Origin::Rule => "access_rule",
            Origin::Session => "privileged_session",
        }
    }
}

/// A source that was looked at and gave (or denied) something.
#[derive(Clone, Debug)]
pub struct Looked {
    /// What it was looked at for: the permission asked for, or `view_restricted` and its like.
    pub wanted: Permission,
    /// Which kind of source.
    pub origin: Origin,
    /// Primary key of its row; `None` for ownership.
    pub id: Option<Uuid>,
    /// Is it a deny rule?
    pub deny: bool,
    /// Priority of a rule.
    pub priority: Option<i32>,
    /// The role that it gives the permission through.
    pub role: Option<crate::name::Role>,
    /// Whom it addresses.
    pub grantee: Option<Grantee>,
    /// The node that it is at; `None` = platform, or every resource of a type.
    pub at: Option<Node>,
    /// Under conditions?
    pub conditional: bool,
    /// Conditions that were evaluated, and what came out.
    pub conditions: Vec<(String, Result<bool, String>)>,
    /// What comes with it.
    pub obligations: Option<Value>,
}

/// One step of one part.
#[derive(Clone, Debug)]
pub struct Step {
    /// 1 to 9.
    pub number: u8,
    /// Did it pass?
    pub passed: bool,
    /// What was seen.
    pub note: String,
}

/// The nine steps about one resource: the one asked about, then its parent, and so on.
#[derive(Clone, Debug)]
pub struct Part {
    /// The permission.
    pub permission: Permission,
    /// The resource, if it was found.
    pub node: Option<Node>,
    /// Steps as far as they were taken.
    pub steps: Vec<Step>,
    /// Sources that gave something.
    pub looked: Vec<Looked>,
}

/// A decision with everything that led to it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The answer.
    pub reason: Reason,
    /// Child first.
    pub parts: Vec<Part>,
    /// The binding that decided: part and position in [`Part::looked`].
    pub deciding: Option<(usize, usize)>,
}

/// Decides, and tells how.
pub fn explain(question: &Question<'_>) -> Explanation {
    let mut listener = Listener {
        model: question.model,
        question,
        parts: Vec::new(),
    };
    let reason = decide(question, &mut listener);
    let parts = listener.parts;
    let deciding = match reason {
        Reason::Allowed => deciding_allow(&parts[0], asked_about(question, 0)).map(|i| (0, i)),
        Reason::ExplicitDeny => {
            let last = parts.len() - 1;
            deciding_deny(&parts[last], asked_about(question, last)).map(|i| (last, i))
        }
        _ => None,
    };
    Explanation {
        reason,
        parts,
        deciding,
    }
}

/// The resource of a part: the one asked about, its parent, and so on.
fn asked_about<'a>(question: &Question<'a>, part: usize) -> Option<&'a Resource> {
    match question.resource {
        Found::Resource(resource) => nth_parent(resource, part),
        Found::Nothing(_) => None,
    }
}

fn nth_parent(resource: &Resource, n: usize) -> Option<&Resource> {
    (0..n).try_fold(resource, |r, _| match &r.parent {
        Parent::Resource(parent) => Some(&**parent),
        Parent::None | Parent::Missing => None,
    })
}

/// How far out of the chain a source is; the platform and rules about every resource of a type come last.
fn distance(looked: &Looked, resource: Option<&Resource>) -> usize {
    let chain = resource.map_or(&[][..], |r| &r.chain);
    match (&looked.at, looked.origin) {
        (_, Origin::Ownership) => 0,
        (Some(node), _) => chain.iter().position(|n| n == node).unwrap_or(chain.len()),
        (None, _) => chain.len(),
    }
}

/// Unconditional before conditional, without obligations before with, then by origin, then from the resource
/// outwards. Of rules only the highest priority counts: the others lost.
fn deciding_allow(part: &Part, resource: Option<&Resource>) -> Option<usize> {
    let looked = &part.looked;
    let wanted = |l: &&Looked| l.wanted == part.permission;
    let highest = looked.iter().filter(wanted).filter_map(|l| l.priority).max();
    let allows = |l: &Looked| {
        !l.deny
            && (l.origin != Origin::Rule || l.priority == highest)
            && (!l.conditional || l.conditions.iter().any(|(_, outcome)| *outcome == Ok(true)))
    };
    (0..looked.len())
        .filter(|&i| wanted(&&looked[i]) && allows(&looked[i]))
        .min_by_key(|&i| {
            let l = &looked[i];
            (
                l.conditional,
                l.obligations.is_some(),
                l.origin,
                distance(l, resource),
                l.id,
            )
        })
}

fn deciding_deny(part: &Part, resource: Option<&Resource>) -> Option<usize> {
    let looked = &part.looked;
    (0..looked.len())
        .filter(|&i| looked[i].wanted == part.permission && looked[i].deny)
        .min_by_key(|&i| {
            let l = &looked[i];
            (l.priority.map(|p| -i64::from(p)), distance(l, resource), l.id)
        })
}

struct Listener<'q, 'a> {
    model: &'a Model,
    question: &'q Question<'a>,
    parts: Vec<Part>,
}

impl Listener<'_, '_> {
    fn part(&mut self) -> &mut Part {
        self.parts.last_mut().expect("`about` comes first")
    }

    /// Where the same source was noted for the same permission.
    fn find(&mut self, like: &Looked) -> Option<usize> {
        let same = |l: &Looked| l.wanted == like.wanted && l.origin == like.origin && l.id == like.id;
        self.part().looked.iter().position(same)
    }

    /// Of several ways through one role, the obligations of the one that asks for least.
    fn least(&self, looked: &Looked, counts: impl Fn(&RolePermission) -> bool) -> Option<Value> {
        let q = self.question;
        q.composition
            .ways(self.model, looked.role?, looked.wanted, q.at)
            .filter(|way| counts(way))
            .map(|way| way.obligations.as_deref().cloned())
            .min_by_key(Option::is_some)
            .flatten()
    }
}

impl Trace for Listener<'_, '_> {
    const LISTENING: bool = true;

    fn about(&mut self, permission: Permission, resource: Found<'_>) {
        self.parts.push(Part {
            permission,
            node: match resource {
                Found::Resource(r) => Some(r.node()),
                Found::Nothing(_) => None,
            },
            steps: Vec::new(),
            looked: Vec::new(),
        });
    }

    fn step(&mut self, number: u8, passed: bool, note: impl FnOnce() -> String) {
        let note = note();
        self.part().steps.push(Step { number, passed, note });
    }

    fn source(&mut self, wanted: Permission, source: Source<'_>, gives: Gives) {
        let mut looked = look(source);
        looked.wanted = wanted;
        looked.conditional = gives == Gives::Conditionally;
        if gives == Gives::Always {
            looked.obligations = self.least(&looked, |way| way.condition.is_none());
        }
        // One row may reach the principal in several ways, and one permission be asked for in several steps.
        if self.find(&looked).is_none() {
            self.part().looked.push(looked);
        }
    }

    fn condition(&mut self, wanted: Permission, source: Source<'_>, text: &str, outcome: &Result<bool, String>) {
        let mut same = look(source);
        same.wanted = wanted;
        let Some(i) = self.find(&same) else {
            return;
        };
        let first = self.part().looked[i].conditions.iter().all(|(_, o)| *o != Ok(true));
        if *outcome == Ok(true) {
            // A way whose condition is false lifts no obligation of one whose condition is true.
            let comes_with = self.least(&same, |way| way.condition.as_ref().is_some_and(|c| c.source() == text));
            let looked = &mut self.part().looked[i];
            if first || comes_with.is_none() {
                looked.obligations = comes_with;
            }
        }
        let heard = (text.to_owned(), outcome.clone());
        let conditions = &mut self.part().looked[i].conditions;
        if !conditions.contains(&heard) {
            conditions.push(heard);
        }
    }
}

fn look(source: Source<'_>) -> Looked {
    let blank = Looked {
        wanted: Permission(0),
        origin: Origin::Ownership,
        id: None,
        deny: false,
        priority: None,
        role: None,
        grantee: None,
        at: None,
        conditional: false,
        conditions: Vec::new(),
        obligations: None,
    };
    match source {
        Source::Ownership(role) => Looked {
            role: Some(role),
            ..blank
        },
        Source::Session(s) => Looked {
            origin: Origin::Session,
            id: Some(s.id),
            at: s.scope.clone(),
            ..blank
        },
        Source::Binding(Binding { id, what, grantee, .. }, node) => {
            let bound = Looked {
                id: Some(*id),
                grantee: Some(*grantee),
                at: node.cloned(),
                ..blank
            };
            match *what {
                What::Role(role) => Looked {
                    origin: Origin::Assignment,
                    role: Some(role),
                    ..bound
                },
                What::Grant(_) => Looked {
                    origin: Origin::Grant,
                    ..bound
                },
                What::Rule { deny, priority, .. } => Looked {
                    origin: Origin::Rule,
                    deny,
                    priority: Some(priority),
                    ..bound
                },
            }
        }
    }
}

impl Looked {
    /// As JSON.
    pub fn json(&self, names: &Vocabulary) -> Value {
        let mut o = json!({
            "type": self.origin.name(),
            "id": self.id.map(|id| id.to_string()),
            "effect": if self.deny { "deny" } else { "allow" },
            "permission": names.permissions.name(self.wanted.0),
        });
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                o[key] = value;
            }
        };
        put("role", self.role.map(|r| names.roles.name(r.0).into()));
        put("grantee", self.grantee.map(|g| grantee(g, names).into()));
        put(
            "at",
            match (&self.at, self.origin) {
                (Some(node), _) => Some(names.show(node).into()),
                (None, Origin::Assignment) => Some(Kind::BUILT_IN[0].into()),
                (None, _) => None,
            },
        );
        put("priority", self.priority.map(Into::into));
        if !self.conditions.is_empty() {
            let conditions = self.conditions.iter().map(|(text, outcome)| match outcome {
                Ok(value) => json!({"condition": text, "value": value}),
                Err(error) => json!({"condition": text, "value": false, "error": error}),
            });
            put("conditions", Some(conditions.collect()));
        }
        put("obligations", self.obligations.clone());
        o
    }
}

/// `team:…`, `role:auditor`, `any`.
pub fn grantee(grantee: Grantee, names: &Vocabulary) -> String {
    match grantee {
        Grantee::Principal(id) => format!("principal:{id}"),
        Grantee::Team(id) => format!("team:{id}"),
        Grantee::Organization(id) => format!("organization:{id}"),
        Grantee::Role(role) => format!("role:{}", names.roles.name(role.0)),
        Grantee::Any => "any".to_owned(),
    }
}

impl Explanation {
    /// The binding that decided.
    pub fn binding(&self) -> Option<&Looked> {
        let (part, looked) = self.deciding?;
        self.parts.get(part)?.looked.get(looked)
    }

    /// The steps of every part as JSON, steps that were not reached included.
    pub fn steps_json(&self, names: &Vocabulary) -> Value {
        let step = |part: &Part, number: u8| {
            let taken = part.steps.iter().find(|s| s.number == number);
            json!({
                "step": number,
                "asks": STEPS[usize::from(number) - 1],
                "outcome": taken.map_or("not reached", |s| if s.passed { "pass" } else { "fail" }),
                "note": taken.map(|s| &s.note),
            })
        };
        self.parts
            .iter()
            .map(|part| {
                json!({
                    "permission": names.permissions.name(part.permission.0),
                    "resource": part.node.as_ref().map(|n| names.show(n)),
                    "steps": (1..=9).map(|n| step(part, n)).collect::<Vec<_>>(),
                    "looked_at": part.looked.iter().map(|l| l.json(names)).collect::<Vec<_>>(),
                })
            })
            .collect()
    }

    /// What would have to change for the answer to be an allow; `None` where it is one. `resource` is the one asked
    /// about.
    pub fn remedy(&self, names: &Vocabulary, resource: Option<&Resource>) -> Option<String> {
        let part = self.parts.last()?;
        let permission = names.permissions.name(part.permission.0);
        let kind = permission.rsplit_once('.').map_or(permission, |(kind, _)| kind);
        let scopes = || {
            resource
                .and_then(|r| nth_parent(r, self.parts.len() - 1))
                .map_or_else(String::new, |r| {
                    r.chain.iter().map(|n| names.show(n)).collect::<Vec<_>>().join(", ")
                })
        };
        Some(match self.reason {
            Reason::Allowed => return None,
            Reason::PrincipalInactive => "the principal must exist, have status active and not be locked".to_owned(),
            Reason::ResourceNotFound => part.steps.last().map_or_else(String::new, |s| s.note.clone()),
            Reason::OutsideTenant => format!(
                "an active membership in the resource's tenant, a platform role with {permission}, or a privileged session that covers the resource"
            ),
            Reason::ResourceDeleted => format!("{kind}.view_deleted on the resource, or its restoration"),
            Reason::ExplicitDeny => self.binding().map_or_else(
                || "the deny must be closed".to_owned(),
                |b| {
                    format!(
                        "rule {} must be closed, or an allow of a higher priority than {} added",
                        b.id.map_or_else(String::new, |id| id.to_string()),
                        b.priority.unwrap_or_default()
                    )
                },
            ),
            Reason::NoGrant => format!(
                "a role with {permission}, or a grant of it, at one of: {}, platform",
                scopes()
            ),
            Reason::Confidentiality => part.steps.last().map_or_else(String::new, |s| s.note.clone()),
            Reason::ConditionFailed => "one of the conditions must be true".to_owned(),
            Reason::MfaRequired => "MFA must be enrolled, and the context must say \"mfa\": true".to_owned(),
        })
    }
}
