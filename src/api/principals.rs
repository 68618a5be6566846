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

macro_rules! principals {
    ($name:ident, $key:ty, $resource:ident => $given:expr) => {
        /// `authz_principals` for one form of keys.
        #[pg_extern(name = "authz_principals", stable, parallel_safe)]
        fn $name(
            permission: Option<&str>,
            resource: Option<$key>,
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
            TableIterator::new(principals(
                permission,
                resource.map(|$resource| $given),
                tenant,
                at,
            ))
        }
    };
}
by_key!(principals: principals_uuid, principals_int, principals_text);
