//! What the functions that change authority ask. Internal: they tell of other principals' authority.

use super::id;
use crate::delegation::{At, Who};
use crate::error;
use crate::pg::trigger;
use crate::write::ownership;
use pgrx::{JsonB, Uuid, pg_extern, pg_sys};

/// `authz.holds(permission, tenant, scope_type, scope_id)`: the session's principal, by standing authority.
#[pg_extern(schema = "authz", stable)]
fn holds(permission: Option<&str>, tenant: Option<Uuid>, scope_type: Option<&str>, scope_id: Option<&str>) -> bool {
    let (Some(who), Some(permission), Some(scope_type)) = (Who::session(), permission, scope_type) else {
        return false;
    };
    who.holds(permission, &at(tenant, scope_type, scope_id))
}

/// `authz.terms(permission, tenant, scope_type, scope_id)`: the obligations with which the session's principal holds it.
#[pg_extern(schema = "authz", stable)]
fn terms(
    permission: Option<&str>,
    tenant: Option<Uuid>,
    scope_type: Option<&str>,
    scope_id: Option<&str>,
) -> Option<JsonB> {
    Who::session()?
        .terms(permission?, &at(tenant, scope_type?, scope_id))
        .map(JsonB)
}

/// `authz.principal_holds(principal, permission, tenant, scope_type, scope_id)`.
#[pg_extern(schema = "authz", stable)]
fn principal_holds(
    principal: Option<Uuid>,
    permission: Option<&str>,
    tenant: Option<Uuid>,
    scope_type: Option<&str>,
    scope_id: Option<&str>,
) -> bool {
    let (Some(principal), Some(permission), Some(scope_type)) = (principal, permission, scope_type) else {
        return false;
    };
    Who::principal(id(principal)).holds(permission, &at(tenant, scope_type, scope_id))
}

/// `authz.role_missing(role, tenant, scope_type, scope_id)`: NULL where the session's principal has no say at all.
#[pg_extern(schema = "authz", stable)]
fn role_missing(
    role: Option<&str>,
    tenant: Option<Uuid>,
    scope_type: Option<&str>,
    scope_id: Option<&str>,
) -> Option<Vec<String>> {
    Who::session()?.role_missing(role?, &at(tenant, scope_type?, scope_id))
}

/// `authz.permission_missing(permission, tenant, scope_type, scope_id)`: the same for a permission and what it implies.
#[pg_extern(schema = "authz", stable)]
fn permission_missing(
    permission: Option<&str>,
    tenant: Option<Uuid>,
    scope_type: Option<&str>,
    scope_id: Option<&str>,
) -> Option<Vec<String>> {
    Who::session()?.permission_missing(permission?, &at(tenant, scope_type?, scope_id))
}

/// `authz.is_addressed(grantee_type, grantee_id, tenant)`: is the session's principal among those that a grant or rule addresses?
#[pg_extern(schema = "authz", stable)]
fn is_addressed(grantee_type: Option<&str>, grantee_id: Option<&str>, tenant: Option<Uuid>) -> bool {
    let (Some(who), Some(grantee_type), Some(tenant)) = (Who::session(), grantee_type, tenant) else {
        return false;
    };
    who.is_addressed(grantee_type, grantee_id, id(tenant))
}

/// `authz.session_is_member(tenant)`: is the session's principal an active member of the tenant? For policies, so for everybody.
#[pg_extern(schema = "authz", stable, parallel_safe)]
fn session_is_member(tenant: Option<Uuid>) -> bool {
    let (Some(who), Some(tenant)) = (Who::session(), tenant) else {
        return false;
    };
    who.is_member(id(tenant))
}

/// `authz.in_logical_worker()`: is this a worker of logical replication, which fires row triggers only?
#[pg_extern(schema = "authz", stable)]
fn in_logical_worker() -> bool {
    trigger::in_logical_worker()
}

/// `authz.lock_owner(table_owner, statement, key, tenant)`: part of `authz_transfer_ownership`.
#[pg_extern(schema = "authz", volatile, parallel_unsafe, strict)]
fn lock_owner(table_owner: pg_sys::Oid, statement: &str, key: &str, tenant: Uuid) -> Option<String> {
    ownership::lock(table_owner, statement, key, tenant)
}

/// `authz.write_owner(table_owner, statement, key, tenant, new_owner)`: part of `authz_transfer_ownership`.
#[pg_extern(schema = "authz", volatile, parallel_unsafe, strict)]
fn write_owner(table_owner: pg_sys::Oid, statement: &str, key: &str, tenant: Uuid, new_owner: &str) {
    if !ownership::write(table_owner, statement, key, tenant, new_owner) {
        error::owner_not_written();
    }
}

fn at<'a>(tenant: Option<Uuid>, scope_type: &'a str, scope_id: Option<&'a str>) -> At<'a> {
    At {
        tenant: tenant.map(id),
        scope_type,
        scope_id,
    }
}
