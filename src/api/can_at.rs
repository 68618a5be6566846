//! `authz_can_at`: `authz_can` at another instant, by authority as it stood then.

use super::id;
use crate::decision::{self, Ask};
use crate::pg::json::JsonArgument;
use crate::resource::Given;
use authz_engine::Reason;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::{Uuid, default, pg_extern};

macro_rules! can_at {
    ($name:ident, $key:ty, $resource:ident => $given:expr) => {
        /// `authz_can_at` for one form of keys. A NULL argument is a deny.
        #[pg_extern(name = "authz_can_at", stable, parallel_safe)]
        fn $name(
            principal: Option<Uuid>,
            permission: Option<&str>,
            resource: Option<$key>,
            at: Option<TimestampWithTimeZone>,
            tenant: default!(Option<Uuid>, "NULL"),
            context: default!(Option<JsonArgument>, "NULL"),
        ) -> bool {
            let (Some(principal), Some(permission), Some($resource), Some(at)) = (principal, permission, resource, at)
            else {
                return false;
            };
            let ask = Ask {
                principal: id(principal),
                resource: $given,
                tenant: tenant.map(id),
                context: context.as_ref().map(|c| &c.0),
            };
            decision::check_at(permission, &ask, i64::from(at)) == Reason::Allowed
        }
    };
}

by_key!(can_at: can_at_uuid, can_at_int, can_at_text);
