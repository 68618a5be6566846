//! `authz_can` and `authz_can_many`.
//!
//! A NULL argument is a deny, never NULL: in a policy `NOT (NULL)` and `coalesce(NULL, true)` are traps.

use super::id;
use crate::decision::{self, Ask, Asker};
use crate::pg::json::JsonArgument;
use crate::resource::Given;
use crate::session;
use authz_engine::Reason;
use pgrx::iter::TableIterator;
use pgrx::{Uuid, default, name, pg_extern};

fn can(
    principal: Option<Uuid>,
    permission: Option<&str>,
    resource: Option<Given<'_>>,
    tenant: Option<Uuid>,
    context: Option<JsonArgument>,
) -> bool {
    let (Some(principal), Some(permission), Some(resource)) = (principal, permission, resource) else {
        return false;
    };
    let ask = Ask {
        principal: id(principal),
        resource,
        tenant: tenant.map(id),
        context: context.as_ref().map(|c| &c.0),
    };
    decision::check(permission, &ask) == Reason::Allowed
}

fn session_can(permission: Option<&str>, resource: Option<Given<'_>>) -> bool {
    let (Some(session), Some(permission), Some(resource)) = (session::current(), permission, resource) else {
        return false;
    };
    let ask = Ask {
        principal: session.principal,
        resource,
        tenant: session.tenant,
        context: Some(&session.context),
    };
    decision::check(permission, &ask) == Reason::Allowed
}

/// `authz_can(principal, permission, resource)` for uuid keys.
#[pg_extern(name = "authz_can", stable, parallel_safe)]
fn can_uuid(
    principal: Option<Uuid>,
    permission: Option<&str>,
    resource: Option<Uuid>,
    tenant: default!(Option<Uuid>, "NULL"),
    context: default!(Option<JsonArgument>, "NULL"),
) -> bool {
    can(
        principal,
        permission,
        resource.map(|r| Given::Uuid(id(r))),
        tenant,
        context,
    )
}

/// The same for smallint, integer and bigint keys.
#[pg_extern(name = "authz_can", stable, parallel_safe)]
fn can_int(
    principal: Option<Uuid>,
    permission: Option<&str>,
    resource: Option<i64>,
    tenant: default!(Option<Uuid>, "NULL"),
    context: default!(Option<JsonArgument>, "NULL"),
) -> bool {
    can(principal, permission, resource.map(Given::Int), tenant, context)
}

/// The same for text keys, and for keys of any type spelled as text.
#[pg_extern(name = "authz_can", stable, parallel_safe)]
fn can_text(
    principal: Option<Uuid>,
    permission: Option<&str>,
    resource: Option<&str>,
    tenant: default!(Option<Uuid>, "NULL"),
    context: default!(Option<JsonArgument>, "NULL"),
) -> bool {
    can(principal, permission, resource.map(Given::Text), tenant, context)
}

/// `authz_can(permission, resource)`: the session's principal; without a session, no.
#[pg_extern(name = "authz_can", stable, parallel_safe)]
fn session_can_uuid(permission: Option<&str>, resource: Option<Uuid>) -> bool {
    session_can(permission, resource.map(|r| Given::Uuid(id(r))))
}

/// The same for smallint, integer and bigint keys.
#[pg_extern(name = "authz_can", stable, parallel_safe)]
fn session_can_int(permission: Option<&str>, resource: Option<i64>) -> bool {
    session_can(permission, resource.map(Given::Int))
}

/// The same for text keys.
#[pg_extern(name = "authz_can", stable, parallel_safe)]
fn session_can_text(permission: Option<&str>, resource: Option<&str>) -> bool {
    session_can(permission, resource.map(Given::Text))
}

/// Decides for each resource, in the order given.
fn can_many<T: Clone>(
    principal: Option<Uuid>,
    permission: Option<&str>,
    resources: Option<Vec<Option<T>>>,
    tenant: Option<Uuid>,
    context: Option<JsonArgument>,
    given: impl for<'a> Fn(&'a T) -> Given<'a>,
) -> Vec<(Option<T>, bool)> {
    let resources = resources.unwrap_or_default();
    let (Some(principal), Some(permission)) = (principal, permission) else {
        return resources.into_iter().map(|r| (r, false)).collect();
    };
    let principal = id(principal);
    let asker = Asker::now(principal);
    let permission = asker.permission(permission);
    resources
        .into_iter()
        .map(|resource| {
            let allowed = resource.as_ref().is_some_and(|resource| {
                let ask = Ask {
                    principal,
                    resource: given(resource),
                    tenant: tenant.map(id),
                    context: context.as_ref().map(|c| &c.0),
                };
                asker.check(permission, &ask) == Reason::Allowed
            });
            (resource, allowed)
        })
        .collect()
}

/// `authz_can_many` for uuid keys.
#[pg_extern(name = "authz_can_many", stable, parallel_safe)]
fn can_many_uuid(
    principal: Option<Uuid>,
    permission: Option<&str>,
    resources: Option<Vec<Option<Uuid>>>,
    tenant: default!(Option<Uuid>, "NULL"),
    context: default!(Option<JsonArgument>, "NULL"),
) -> TableIterator<'static, (name!(resource, Option<Uuid>), name!(allowed, bool))> {
    TableIterator::new(can_many(principal, permission, resources, tenant, context, |r| {
        Given::Uuid(id(*r))
    }))
}

/// The same for smallint, integer and bigint keys.
#[pg_extern(name = "authz_can_many", stable, parallel_safe)]
fn can_many_int(
    principal: Option<Uuid>,
    permission: Option<&str>,
    resources: Option<Vec<Option<i64>>>,
    tenant: default!(Option<Uuid>, "NULL"),
    context: default!(Option<JsonArgument>, "NULL"),
) -> TableIterator<'static, (name!(resource, Option<i64>), name!(allowed, bool))> {
    TableIterator::new(can_many(principal, permission, resources, tenant, context, |r| {
        Given::Int(*r)
    }))
}

/// The same for text keys.
#[pg_extern(name = "authz_can_many", stable, parallel_safe)]
fn can_many_text(
    principal: Option<Uuid>,
    permission: Option<&str>,
    resources: Option<Vec<Option<String>>>,
    tenant: default!(Option<Uuid>, "NULL"),
    context: default!(Option<JsonArgument>, "NULL"),
) -> TableIterator<'static, (name!(resource, Option<String>), name!(allowed, bool))> {
    TableIterator::new(can_many(
        principal,
        permission,
        resources,
        tenant,
        context,
        |r: &String| Given::Text(r),
    ))
}
