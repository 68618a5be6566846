//! The nine steps. This is the one implementation of the rule in `docs/decision-rule.md`.

mod reason;
mod source;
mod step;
mod trace;
mod weight;

use crate::condition::Attributes;
use crate::model::Model;
use crate::name::Permission;
use crate::resource::{Parent, Resource};
use crate::role::Composition;
use crate::subject::{Binding, BindingIndex, Subject};
use crate::time::Instant;

pub use reason::Reason;
pub use source::Source;
pub use trace::{Silent, Trace};

/// What was found where the resource was looked for.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// It.
    Resource(&'a Resource),
    /// Nothing; why, for the explanation.
    Nothing(&'a str),
}

/// May this subject do this to that resource, then?
pub struct Question<'a> {
    /// Roles, permissions, resource types.
    pub model: &'a Model,
    /// Role composition, valid at `at`.
    pub composition: &'a Composition,
    /// The principal; `None` = unknown.
    pub subject: Option<&'a Subject>,
    /// Bindings kept outside of the subject: rules that address everybody in the resource's tenant, and grants of
    /// [`Subject::large`] on this chain.
    pub elsewhere: [Option<&'a BindingIndex>; 2],
    /// What it wants to do.
    pub permission: Permission,
    /// To what.
    pub resource: Found<'a>,
    /// Does the request's context say that a second factor was used?
    pub mfa_used: bool,
    /// For conditions.
    pub attributes: &'a dyn Attributes,
    /// Do privileged sessions count? Not where authority is handed on: what is lent for an hour cannot be given away.
    pub sessions: bool,
    /// When.
    pub at: Instant,
}

/// Answers the question.
pub fn decide<T: Trace>(question: &Question<'_>, trace: &mut T) -> Reason {
    let mut permission = question.permission;
    let mut found = question.resource;
    loop {
        trace.about(permission, found);
        let reason = Decision::steps(question, permission, found, trace);
        if reason != Reason::Allowed {
            return reason;
        }
        // A child is never more visible than its parent.
        let Found::Resource(resource) = found else {
            return reason;
        };
        match &resource.parent {
            Parent::None => return reason,
            Parent::Missing => found = Found::Nothing("its parent is not there"),
            Parent::Resource(parent) => match question.model.view_permission(parent.kind) {
                None => return reason,
                Some(view) => {
                    permission = view;
                    found = Found::Resource(parent);
                }
            },
        }
    }
}

/// As many as any but a crowded chain has.
const RUNS: usize = 8;

/// One resource under decision, after steps 1 and 2.
struct Decision<'q, 'a> {
    q: &'q Question<'a>,
    subject: &'a Subject,
    resource: &'a Resource,
    /// Do bindings inside the tenant count?
    member: bool,
    /// Runs of bindings at nodes of the chain, from the resource outwards, with the node's place in the chain. Found
    /// once, looked at for every permission that the decision asks for.
    runs: [(usize, &'a [Binding]); RUNS],
    /// How many runs there are.
    found: usize,
    /// Where in the chain to go on looking, where there are more runs than that.
    rest: usize,
    /// Is there a source besides runs and the platform's bindings?
    rare: bool,
}
