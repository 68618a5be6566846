//! Where a subject has a permission for sure: a subset that needs no decision row by row.
//!
//! The other side of [`crate::reach::reach`]: a place too few costs time, a place too many would show rows. Only what is simple
//! is certain: roles and grants that give without a condition, at nodes that no rule is about.

use crate::model::{Model, Privilege};
use crate::name::{Kind, Permission};
use crate::node::Node;
use crate::role::{Composition, Gives};
use crate::subject::{Binding, BindingIndex, Subject, What};
use crate::time::Instant;
use uuid::Uuid;

/// Where something is held: in the whole tenant, or at nodes and at what they contain.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// In the whole tenant.
    pub everywhere: bool,
    /// At these nodes.
    pub nodes: Vec<Node>,
}

/// What is certain about a permission in one tenant.
#[derive(Clone, Debug, Default)]
pub struct Certain {
    /// The permission.
    pub permission: Held,
    /// What opens restricted rows.
    pub restricted: Held,
    /// What opens sealed rows.
    pub sealed: Held,
    /// Nodes that rules are about: at them and at what they contain nothing is certain.
    pub doubtful: Vec<Node>,
}

/// What is to be certain.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Of this permission.
    pub permission: Permission,
    /// In this tenant.
    pub tenant: Uuid,
    /// Was a second factor used?
    pub mfa_used: bool,
    /// Then.
    pub at: Instant,
}

/// What is certain for rows of the permission's type in the tenant, which exists, that are not soft-deleted and have no
/// parent. `everybody` are the rules of the tenant that address everybody. `None`: nothing is.
///
/// It stays right as long as no binding of `subject` or `everybody` begins or ends.
pub fn certain(
    model: &Model,
    composition: &Composition,
    subject: &Subject,
    everybody: Option<&BindingIndex>,
    wanted: &Wanted,
) -> Option<Certain> {
    let Wanted {
        permission,
        tenant,
        mfa_used,
        at,
    } = *wanted;
    let definition = model.definition(permission)?;
    if !subject.is_active(at) || definition.requires_mfa && !(subject.mfa_enrolled && mfa_used) {
        return None;
    }
    let member = subject.is_member(tenant, at);
    let resource_type = model.resource_type(definition.kind);
    let cleared = |level: fn(&crate::model::ResourceType) -> u8| subject.clearance >= resource_type.map_or(0, level);
    let opens = |privilege, cleared: bool| model.privilege(definition.kind, privilege).filter(|_| cleared);
    let restricted = opens(Privilege::ViewRestricted, cleared(|t| t.clearance_restricted));
    let sealed = opens(Privilege::ViewSealed, cleared(|t| t.clearance_sealed));

    let whole = Node::uuid(Kind::TENANT, tenant);
    let mut found = Certain::default();
    for index in [Some(&subject.index), everybody].into_iter().flatten() {
        for (node, binding) in index.everything() {
            if binding.tenant != Some(tenant) || !binding.valid.contains(at) {
                continue;
            }
            match (node, binding.what) {
                (Some(node), What::Rule { .. }) => found.doubtful.push(node.clone()),
                // About every resource of a type.
                (None, What::Rule { .. }) => return None,
                (Some(node), _) if member => {
                    for (held, wanted) in found.each(permission, restricted, sealed) {
                        if always(model, composition, binding, wanted) {
                            if *node == whole {
                                held.everywhere = true;
                            } else if node.kind != Kind::TENANT {
                                held.nodes.push(node.clone());
                            }
                        }
                    }
                }
                _ => {}
            }
        }
    }
    for binding in subject.index.platform() {
        if binding.tenant.is_none() && binding.valid.contains(at) {
            for (held, wanted) in found.each(permission, restricted, sealed) {
                held.everywhere |= always(model, composition, binding, wanted);
            }
        }
    }
    // Who is no member comes in by a platform role that has the permission, and then has it everywhere.
    (member || found.permission.everywhere).then_some(found)
}

impl Certain {
    /// What is held, with what it takes; nothing holds what is not defined.
    fn each(
        &mut self,
        permission: Permission,
        restricted: Option<Permission>,
        sealed: Option<Permission>,
    ) -> impl Iterator<Item = (&mut Held, Permission)> {
        [
            (&mut self.permission, Some(permission)),
            (&mut self.restricted, restricted),
            (&mut self.sealed, sealed),
        ]
        .into_iter()
        .filter_map(|(held, wanted)| Some((held, wanted?)))
    }
}

/// Does the binding give the permission without a condition?
fn always(model: &Model, composition: &Composition, binding: &Binding, wanted: Permission) -> bool {
    match binding.what {
        What::Role(role) => composition.gives(role, wanted) == Gives::Always,
        What::Grant(held) => model.implies(held, wanted),
        What::Rule { .. } => false,
    }
}
