//! The role DAG at an instant, flattened into bit sets.

use crate::bits::{Bits, reachable};
use crate::model::{Model, RolePermission};
use crate::name::{Permission, Role};
use crate::time::{Instant, Interval, constant_around};

/// What each role inherits and gives, right for every instant of `valid`.
#[derive(Clone, Debug)]
pub struct Composition {
    /// No role composition changes in this interval.
    pub valid: Interval,
    /// For each role: the roles that it is, itself included.
    inherits: Box<[Bits]>,
    /// For each role: permissions that it gives without condition.
    always: Box<[Bits]>,
    /// For each role: permissions that it gives under a condition only.
    sometimes: Box<[Bits]>,
}

/// How a role gives a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// It does not.
    No,
    /// Where a condition is true.
    Conditionally,
    /// Always.
    Always,
}

impl Composition {
    /// The composition of `model` at `at`.
    pub fn compile(model: &Model, at: Instant) -> Composition {
        let edges: Vec<_> = model
            .inheritance
            .iter()
            .filter(|i| i.valid.contains(at))
            .map(|i| (i.role.index(), i.inherits.index()))
            .collect();
        let inherits = reachable(model.names.roles.len(), &edges);

        let mut own_always = vec![Bits::default(); inherits.len()];
        let mut own_sometimes = own_always.clone();
        for rp in model.role_permissions.iter().filter(|rp| rp.valid.contains(at)) {
            let set = match rp.condition {
                None => &mut own_always[rp.role.index()],
                Some(_) => &mut own_sometimes[rp.role.index()],
            };
            model.implied(rp.permission).for_each(|p| {
                set.insert(p);
            });
        }
        let flatten = |own: &[Bits]| {
            inherits
                .iter()
                .map(|roles| {
                    roles.iter().fold(Bits::default(), |mut sum, r| {
                        sum.union(&own[r]);
                        sum
                    })
                })
                .collect()
        };
        Composition {
            valid: constant_around(
                at,
                model
                    .inheritance
                    .iter()
                    .map(|i| i.valid)
                    .chain(model.role_permissions.iter().map(|rp| rp.valid)),
            ),
            always: flatten(&own_always),
            sometimes: flatten(&own_sometimes),
            inherits: inherits.into(),
        }
    }

    /// How `role` gives `permission`.
    #[inline]
    pub fn gives(&self, role: Role, permission: Permission) -> Gives {
        let (r, p) = (role.index(), permission.index());
        if self.always.get(r).is_some_and(|b| b.contains(p)) {
            Gives::Always
        } else if self.sometimes.get(r).is_some_and(|b| b.contains(p)) {
            Gives::Conditionally
        } else {
            Gives::No
        }
    }

    /// The role and every role that it inherits.
    pub fn roles_of(&self, role: Role) -> impl Iterator<Item = Role> + '_ {
        let known = self.inherits.get(role.index());
        // A role that the composition has never heard of has nothing, but it can still be denied something.
        let unknown = known.is_none().then_some(role);
        let inherited = known.into_iter().flat_map(|b| b.iter().map(|r| Role(r as u32)));
        unknown.into_iter().chain(inherited)
    }

    /// Every row through which `role` has `permission` at `at`.
    pub fn ways<'m>(
        &'m self,
        model: &'m Model,
        role: Role,
        permission: Permission,
        at: Instant,
    ) -> impl Iterator<Item = &'m RolePermission> {
        self.roles_of(role)
            .flat_map(|r| model.role_has(r))
            .filter(move |rp| rp.valid.contains(at) && model.implies(rp.permission, permission))
    }
}
