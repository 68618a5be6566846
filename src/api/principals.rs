//! `authz_principals`: who may use a permission on a resource.

use super::id;
use crate::listing;
use crate::resource::Given;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::iter::TableIterator;
use pgrx::{Uuid, default, name, pg_extern};

fn principals(
    permission: Option<&str>,
    resource: Option<Given<'_>>,
    tenant: Option<Uuid>,
    at: Option<TimestampWithTimeZone>,
) -> Vec<(Uuid, Option<String>, Option<Uuid>)> {
    let (Some(permission), Some(resource)) = (permission, resource) else {
        return Vec::new();
    };
    let out = |id: uuid::Uuid| Uuid::from_bytes(id.into_bytes());
    let found = listing::principals(permission, resource, tenant.map(id), at.map(i64::from));
    found
        .into_iter()
        .map(|(principal, binding)| {
            (
                out(principal),
                binding.as_ref().map(|b| b.origin.name().to_owned()),
                binding.and_then(|b| b.id).map(out),
            )
        })
        .collect()
}

/// `authz_principals` for uuid keys.
#[pg_extern(name = "authz_principals", stable, parallel_safe)]
fn principals_uuid(
    permission: Option<&str>,
    resource: Option<Uuid>,
    tenant: default!(Option<Uuid>, "NULL"),
    at: default!(Option<TimestampWithTimeZone>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(principal, Uuid),
        name!(via, Option<String>),
        name!(binding, Option<Uuid>),
    ),
> {
    TableIterator::new(principals(permission, resource.map(|r| Given::Uuid(id(r))), tenant, at))
}

/// The same for smallint, integer and bigint keys.
#[pg_extern(name = "authz_principals", stable, parallel_safe)]
fn principals_int(
    permission: Option<&str>,
    resource: Option<i64>,
    tenant: default!(Option<Uuid>, "NULL"),
    at: default!(Option<TimestampWithTimeZone>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(principal, Uuid),
        name!(via, Option<String>),
        name!(binding, Option<Uuid>),
    ),
> {
    TableIterator::new(principals(permission, resource.map(Given::Int), tenant, at))
}

/// The same for text keys.
#[pg_extern(name = "authz_principals", stable, parallel_safe)]
fn principals_text(
    permission: Option<&str>,
    resource: Option<&str>,
    tenant: default!(Option<Uuid>, "NULL"),
    at: default!(Option<TimestampWithTimeZone>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(principal, Uuid),
        name!(via, Option<String>),
        name!(binding, Option<Uuid>),
    ),
> {
    TableIterator::new(principals(permission, resource.map(Given::Text), tenant, at))
}
