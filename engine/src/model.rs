//! What is the same for every principal: permissions and what implies them, role composition, resource types.

use crate::bits::{Bits, reachable};
use crate::condition::Condition;
use crate::name::{Kind, Permission, Role, Vocabulary};
use crate::time::Interval;
use serde_json::Value;
use std::sync::Arc;

/// A row of `authz.permission_definition`.
#[derive(Clone, Debug)]
pub struct PermissionDefinition {
    /// Its code.
    pub permission: Permission,
    /// The type of resource that it is about.
    pub kind: Kind,
    /// `view` of `case.view`.
    pub action: Box<str>,
    /// Does its use need MFA (step 9)?
    pub requires_mfa: bool,
    /// Does it only read? A support session gives these.
    pub read_only: bool,
}

impl PermissionDefinition {
    /// `view_restricted` and `view_sealed` open what is confidential: a privileged session does not give them
    /// by itself.
    pub fn opens_confidential(&self) -> bool {
        matches!(&*self.action, "view_restricted" | "view_sealed")
    }
}

/// A row of `authz.role_inheritance`.
#[derive(Clone, Copy, Debug)]
pub struct Inheritance {
    /// Who inherits.
    pub role: Role,
    /// From whom.
    pub inherits: Role,
    /// When.
    pub valid: Interval,
}

/// A row of `authz.role_permission`.
#[derive(Clone, Debug)]
pub struct RolePermission {
    /// The role that has
    pub role: Role,
    /// this permission,
    pub permission: Permission,
    /// in this interval,
    pub valid: Interval,
    /// where this is true,
    pub condition: Option<Arc<Condition>>,
    /// with these obligations.
    pub obligations: Option<Arc<Value>>,
}

/// What a decision needs of a row of `authz.resource_type`.
#[derive(Clone, Debug)]
pub struct ResourceType {
    /// Its name.
    pub kind: Kind,
    /// The role that an owner holds at the resource.
    pub owner_role: Option<Role>,
    /// Clearance that `restricted` asks for in addition, 1 to 3; 0 = none.
    pub clearance_restricted: u8,
    /// Clearance that `sealed` asks for in addition.
    pub clearance_sealed: u8,
    /// The permission that shows a resource of this type; `None` = `type.view`, else `type.read`.
    pub select_permission: Option<Permission>,
}

/// Rows as loaded.
#[derive(Clone, Debug, Default)]
pub struct ModelFacts {
    /// `authz.permission_definition`
    pub permissions: Vec<PermissionDefinition>,
    /// `authz.permission_implication`: the first implies the second.
    pub implications: Vec<(Permission, Permission)>,
    /// `authz.role_inheritance`
    pub inheritance: Vec<Inheritance>,
    /// `authz.role_permission`
    pub role_permissions: Vec<RolePermission>,
    /// `authz.resource_type`
    pub types: Vec<ResourceType>,
}

/// Compiled [`ModelFacts`].
#[derive(Clone, Debug)]
pub struct Model {
    /// The names that all numbers in here stand for.
    pub names: Vocabulary,
    /// Role composition, as loaded: [`crate::Composition`] is made of it for an instant.
    pub inheritance: Box<[Inheritance]>,
    /// What roles have, sorted by role.
    pub role_permissions: Box<[RolePermission]>,
    permissions: Box<[Option<PermissionDefinition>]>,
    /// For each permission: those that imply it, itself included.
    implied_by: Box<[Bits]>,
    /// For each permission: those that it implies, itself included.
    implies: Box<[Bits]>,
    types: Box<[Option<ResourceType>]>,
    /// For each kind: what shows a resource of it.
    view: Box<[Option<Permission>]>,
    /// For each kind: its [`Privilege`]s.
    privileges: Box<[[Option<Permission>; 3]]>,
}

/// What a decision asks for beside the permission in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Opens what is soft-deleted.
    ViewDeleted,
    /// Opens what is restricted.
    ViewRestricted,
    /// Opens what is sealed.
    ViewSealed,
}

impl Privilege {
    const ALL: [Privilege; 3] = [Privilege::ViewDeleted, Privilege::ViewRestricted, Privilege::ViewSealed];

    /// The action of its permission.
    pub const fn action(self) -> &'static str {
        match self {
            Privilege::ViewDeleted => "view_deleted",
            Privilege::ViewRestricted => "view_restricted",
            Privilege::ViewSealed => "view_sealed",
        }
    }
}

impl Model {
    /// Compiles `facts`, whose numbers were given by `names`.
    pub fn compile(names: Vocabulary, facts: ModelFacts) -> Model {
        let size = names.permissions.len();
        let mut permissions = vec![None; size];
        for p in facts.permissions {
            let slot = p.permission.index();
            permissions[slot] = Some(p);
        }
        let forward: Vec<_> = facts.implications.iter().map(|(a, b)| (a.index(), b.index())).collect();
        let backward: Vec<_> = forward.iter().map(|&(a, b)| (b, a)).collect();

        let mut types: Vec<Option<ResourceType>> = vec![None; names.kinds.len()];
        for t in facts.types {
            let slot = t.kind.index();
            types[slot] = Some(t);
        }
        let defined = |code: String| {
            let p = names.permissions.get(&code)?;
            permissions[p as usize].as_ref().map(|_| Permission(p))
        };
        let view = types
            .iter()
            .enumerate()
            .map(|(i, t)| {
                let name = names.kinds.name(i as u32);
                t.as_ref()
                    .and_then(|t| t.select_permission)
                    .or_else(|| defined(format!("{name}.view")))
                    .or_else(|| defined(format!("{name}.read")))
            })
            .collect();

        let mut privileges = vec![[None; 3]; names.kinds.len()];
        for p in permissions.iter().flatten() {
            if let (Some(of_kind), Some(privilege)) = (
                privileges.get_mut(p.kind.index()),
                Privilege::ALL.into_iter().find(|a| a.action() == &*p.action),
            ) {
                of_kind[privilege as usize] = Some(p.permission);
            }
        }

        let mut role_permissions = facts.role_permissions;
        role_permissions.sort_by_key(|rp| (rp.role, rp.permission));
        Model {
            inheritance: facts.inheritance.into(),
            role_permissions: role_permissions.into(),
            permissions: permissions.into(),
            implied_by: reachable(size, &backward).into(),
            implies: reachable(size, &forward).into(),
            types: types.into(),
            view,
            privileges: privileges.into(),
            names,
        }
    }

    /// A permission by its code, if it is defined.
    pub fn permission(&self, code: &str) -> Option<Permission> {
        let p = Permission(self.names.permissions.get(code)?);
        self.definition(p).map(|_| p)
    }

    /// What is known of a permission.
    #[inline]
    pub fn definition(&self, permission: Permission) -> Option<&PermissionDefinition> {
        self.permissions.get(permission.index())?.as_ref()
    }

    /// The permission that is a privilege over resources of a kind, if it is defined.
    #[inline]
    pub fn privilege(&self, kind: Kind, privilege: Privilege) -> Option<Permission> {
        self.privileges.get(kind.index())?[privilege as usize]
    }

    /// Every defined permission, in the order of first mention.
    pub fn permissions(&self) -> impl Iterator<Item = &PermissionDefinition> {
        self.permissions.iter().flatten()
    }

    /// Does having `held` mean having `asked`?
    #[inline]
    pub fn implies(&self, held: Permission, asked: Permission) -> bool {
        held == asked
            || self
                .implied_by
                .get(asked.index())
                .is_some_and(|b| b.contains(held.index()))
    }

    /// Every permission that comes with `held`, itself included.
    pub fn implied(&self, held: Permission) -> impl Iterator<Item = usize> + '_ {
        self.implies[held.index()].iter()
    }

    /// A registered resource type.
    #[inline]
    pub fn resource_type(&self, kind: Kind) -> Option<&ResourceType> {
        self.types.get(kind.index())?.as_ref()
    }

    /// Every registered resource type.
    pub fn resource_types(&self) -> impl Iterator<Item = &ResourceType> {
        self.types.iter().flatten()
    }

    /// The permission that shows a resource of this kind, if there is one.
    pub fn view_permission(&self, kind: Kind) -> Option<Permission> {
        *self.view.get(kind.index())?
    }

    /// What the role itself has, without what it inherits.
    pub fn role_has(&self, role: Role) -> &[RolePermission] {
        let from = self.role_permissions.partition_point(|rp| rp.role < role);
        let len = self.role_permissions[from..].partition_point(|rp| rp.role == role);
        &self.role_permissions[from..from + len]
    }
}
