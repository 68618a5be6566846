//! Where a subject may have a permission: a superset that can be looked for by index.
//!
//! Row security narrows a scan to these places and decides each row that is left. So a place too many costs time, a
//! place too few would hide rows: whatever [`crate::decide()`] allows lies in the reach.

use crate::model::{Model, Privilege};
use crate::name::{Kind, Permission};
use crate::node::Node;
use crate::role::{Composition, Gives};
use crate::subject::{Binding, BindingIndex, PrivilegedSession, Subject, What};
use crate::time::Instant;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Where a permission may be held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// At the platform: wherever a resource is.
    pub everywhere: bool,
    /// In whole tenants.
    pub tenants: BTreeSet<Uuid>,
    /// At nodes, and at what they contain; with the tenant, where the binding has one.
    pub nodes: BTreeSet<(Option<Uuid>, Node)>,
    /// At resources that the subject (or a team or organization that it is in) owns.
    pub owned: bool,
}

impl Reach {
    /// Nowhere at all?
    pub fn is_nowhere(&self) -> bool {
        *self == Reach::default()
    }
}

/// Where `subject` may have `permission` at `at`. `rules_for_all` gives the rules of a tenant that address everybody.
pub fn reach<'r>(
    model: &Model,
    composition: &Composition,
    subject: &Subject,
    rules_for_all: impl Fn(Uuid) -> Option<&'r BindingIndex>,
    permission: Permission,
    at: Instant,
) -> Reach {
    let mut reach = Reach::default();
    if !subject.is_active(at) {
        return reach;
    }
    let gives = |b: &Binding| {
        b.valid.contains(at)
            && match b.what {
                What::Role(role) => composition.gives(role, permission) != Gives::No,
                What::Grant(held) => model.implies(held, permission),
                What::Rule {
                    deny, permission: p, ..
                } => !deny && p.is_none_or(|p| p == permission),
            }
    };
    let counts = |b: &Binding| gives(b) && b.tenant.is_some_and(|t| subject.is_member(t, at));

    reach.everywhere = subject.index.platform().iter().any(gives);
    let mut add = |index: &BindingIndex| {
        for (node, binding) in index.everything() {
            if !counts(binding) {
                continue;
            }
            match node {
                Some(node) if node.kind == Kind::TENANT => reach.tenants.extend(binding.tenant),
                Some(node) => {
                    reach.nodes.insert((binding.tenant, node.clone()));
                }
                // A rule about every resource of a type.
                None => reach.tenants.extend(binding.tenant),
            }
        }
    };
    add(&subject.index);
    for tenant in subject.tenants(at) {
        rules_for_all(tenant).into_iter().for_each(&mut add);
    }
    // What is not held in memory can be anywhere in its tenants.
    if !subject.large.is_empty() {
        reach.tenants.extend(subject.tenants(at));
    }
    for session in subject
        .sessions
        .iter()
        .filter(|s| s.valid.contains(at) && s.gives(model, permission))
    {
        match (
            session.scope.as_ref().filter(|node| node.kind != Kind::PLATFORM),
            session.tenant,
        ) {
            (None, None) => reach.everywhere = true,
            (None, Some(tenant)) => {
                reach.tenants.insert(tenant);
            }
            (Some(node), tenant) => {
                reach.nodes.insert((tenant, node.clone()));
            }
        }
    }
    // An owner role counts at what the resource contains as well, so the types of its parents matter, too.
    reach.owned = model
        .resource_types()
        .filter_map(|t| t.owner_role)
        .any(|role| composition.gives(role, permission) != Gives::No);
    reach
}

impl PrivilegedSession {
    /// Does the session, where it covers a resource, give the permission?
    pub fn gives(&self, model: &Model, permission: Permission) -> bool {
        model.definition(permission).is_some_and(|d| {
            if d.opens_confidential() {
                self.includes_sensitive
            } else {
                self.break_glass || d.read_only
            }
        })
    }
}

/// Has `subject` the permission on every resource of its type in whatever tenant, so that no row needs a look?
///
/// Right for rows whose tenant exists, and as long as no rule addresses everybody anywhere (both the caller knows).
/// `by_level` and `by_deletion` say whether rows of the type can be confidential or soft-deleted.
pub fn holds_everywhere(
    model: &Model,
    composition: &Composition,
    subject: &Subject,
    permission: Permission,
    (by_level, by_deletion): (bool, bool),
    mfa_used: bool,
    at: Instant,
) -> bool {
    let Some(definition) = model.definition(permission) else {
        return false;
    };
    let always = |permission: Permission| {
        subject.index.platform().iter().any(|b| match b.what {
            What::Role(role) => b.valid.contains(at) && composition.gives(role, permission) == Gives::Always,
            _ => false,
        })
    };
    let privilege = |p| model.privilege(definition.kind, p).is_some_and(always);
    let clearance = model
        .resource_type(definition.kind)
        .map_or(0, |t| t.clearance_restricted.max(t.clearance_sealed));
    subject.is_active(at)
        && always(permission)
        && !subject
            .index
            .everything()
            .any(|(_, b)| matches!(b.what, What::Rule { .. }))
        && (!by_level
            || privilege(Privilege::ViewRestricted)
                && privilege(Privilege::ViewSealed)
                && subject.clearance >= clearance)
        && (!by_deletion || privilege(Privilege::ViewDeleted))
        && (!definition.requires_mfa || subject.mfa_enrolled && mfa_used)
}
