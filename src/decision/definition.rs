//! What is defined: permissions, the types that they are about, the tables of those.

use super::current;
use crate::cache::Policy;
use crate::error;
use crate::pg::plan::Registered;
use crate::pg::relation::Relation;
use crate::pg::user_table::ColumnNames;
use authz_engine::name::{Kind, Permission};

/// The policy, now.
pub fn policy_now() -> Policy {
    current(None).0
}

/// Have rows of the permission's type parents? `None`: the permission is not defined.
pub fn has_parent(code: &str) -> Option<bool> {
    let policy = policy_now();
    let permission = policy.loaded.model.permission(code)?;
    let registration = policy.loaded.registrations.get(&kind_of(&policy, permission));
    Some(registration.is_some_and(|r| r.parent.is_some()))
}

/// The columns of the table that rows of the permission's type are in.
pub fn columns(code: &str) -> Option<ColumnNames> {
    let policy = policy_now();
    let kind = kind_of(&policy, policy.loaded.model.permission(code)?);
    Some(policy.loaded.registrations.get(&kind)?.columns.clone())
}

/// The table that rows of the permission's type are in, if it is `table` and its key is the column `key`.
pub fn registered(code: &str, table: pgrx::pg_sys::Oid, key: i16) -> Option<Registered> {
    let policy = policy_now();
    let permission = policy.loaded.model.permission(code)?;
    let registration = policy.loaded.registrations.get(&kind_of(&policy, permission))?;
    let is_key = || Relation::open(table).and_then(|t| t.column(&registration.columns.key)) == Some(key);
    if registration.target != table || !is_key() {
        return None;
    }
    let registrations = &policy.loaded.registrations;
    let above = std::iter::successors(Some(registration), |r| registrations.get(&r.parent?));
    Some(Registered {
        target: table,
        columns: registration.columns.clone(),
        above: above
            .skip(1)
            .take(registrations.len())
            .map(|r| (r.target, r.columns.clone()))
            .collect(),
    })
}

/// A permission by its code; one that is not defined is an error.
pub fn permission(policy: &Policy, code: &str) -> Permission {
    let model = &policy.loaded.model;
    model.permission(code).unwrap_or_else(|| {
        let codes = model
            .permissions()
            .map(|p| model.names.permissions.name(p.permission.0));
        error::unknown_permission(code, nearest(code, codes))
    })
}

/// The name most like `wanted`, if one is like it at all.
pub fn nearest<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(likeness, _)| *likeness > 0.7)
        .map(|(_, name)| name)
}

/// The type that a permission is about.
pub fn kind_of(policy: &Policy, permission: Permission) -> Kind {
    // A permission is known only by its definition, which names its type.
    policy
        .loaded
        .model
        .definition(permission)
        .map_or(Kind::PLATFORM, |d| d.kind)
}
