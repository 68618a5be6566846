//! `authz_can` and `authz_can_many`.
//!
//! Keys are uuid, bigint (for smallint and integer as well) or text (for keys of any type spelled as text).
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

macro_rules! can {
    ($name:ident, $key:ty, $resource:ident => $given:expr) => {
        /// `authz_can(principal, permission, resource)` for one form of keys.
        #[pg_extern(name = "authz_can", stable, parallel_safe)]
        fn $name(
            principal: Option<Uuid>,
            permission: Option<&str>,
            resource: Option<$key>,
            tenant: default!(Option<Uuid>, "NULL"),
            context: default!(Option<JsonArgument>, "NULL"),
        ) -> bool {
            can(
                principal,
                permission,
                resource.map(|$resource| $given),
                tenant,
                context,
            )
        }
    };
}
by_key!(can: can_uuid, can_int, can_text);

macro_rules! session_can {
    ($name:ident, $key:ty, $resource:ident => $given:expr) => {
        /// `authz_can(permission, resource)` for one form of keys: the session's principal; without a session, no.
        #[pg_extern(name = "authz_can", stable, parallel_safe)]
        fn $name(permission: Option<&str>, resource: Option<$key>) -> bool {
            session_can(permission, resource.map(|$resource| $given))
        }
    };
}
by_key!(session_can: session_can_uuid, session_can_int, session_can_text);

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

macro_rules! can_many {
    ($name:ident, $key:ty, $resource:ident => $given:expr) => {
        /// `authz_can_many` for one form of keys.
        #[pg_extern(name = "authz_can_many", stable, parallel_safe)]
        fn $name(
            principal: Option<Uuid>,
            permission: Option<&str>,
            resources: Option<Vec<Option<$key>>>,
            tenant: default!(Option<Uuid>, "NULL"),
            context: default!(Option<JsonArgument>, "NULL"),
        ) -> TableIterator<'static, (name!(resource, Option<$key>), name!(allowed, bool))> {
            TableIterator::new(can_many(
                principal,
                permission,
                resources,
                tenant,
                context,
                |$resource: &$key| $given,
            ))
        }
    };
}
can_many!(can_many_uuid, Uuid, r => Given::Uuid(id(*r)));
can_many!(can_many_int, i64, r => Given::Int(*r));
can_many!(can_many_text, String, r => Given::Text(r));
