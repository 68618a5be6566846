//! The same nine steps, written down: what was looked at, what decided, what would have to change.

mod listener;
mod words;

use crate::decide::{Found, Question, Reason, decide};
use crate::name::Permission;
use crate::node::Node;
use crate::resource::{Parent, Resource};
use crate::subject::Grantee;
use listener::Listener;
use serde_json::Value;
use uuid::Uuid;

pub use words::grantee;

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
    let mut listener = Listener::new(question);
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

impl Explanation {
    /// The binding that decided.
    pub fn binding(&self) -> Option<&Looked> {
        let (part, looked) = self.deciding?;
        self.parts.get(part)?.looked.get(looked)
    }
}
