//! `authz_check` and `authz_require`: decisions that leave an event. And what other functions record events by.

use super::id;
use crate::decision::{self, Ask, Asker};
use crate::error;
use crate::pg::json::JsonArgument;
use crate::pg::{clock, statement};
use crate::resource::Given;
use crate::session;
use crate::write::audit;
use crate::write::event::{Event, Said};
use authz_engine::Reason;
use pgrx::{Uuid, default, pg_extern};
use serde_json::Value;

/// The cluster that transactions are counted in.
#[pg_extern(schema = "authz", stable, parallel_safe)]
fn cluster_id() -> i64 {
    statement::cluster_id()
}

/// Called first by functions that change something and leave an event of it: on a standby, and in a read-only transaction,
/// they fail (0A000) before anything is decided.
#[pg_extern(schema = "authz", volatile, parallel_unsafe)]
fn demand_writable() {
    if let Some(why) = statement::read_only() {
        error::no_change_here(why);
    }
}

/// A question that may be incomplete: what is missing is denied.
struct Question<'a> {
    principal: Option<uuid::Uuid>,
    permission: Option<&'a str>,
    resource: Option<Given<'a>>,
    tenant: Option<uuid::Uuid>,
    context: Option<&'a Value>,
}

impl Question<'_> {
    /// Decides, and says what is to be recorded.
    fn decide(&self) -> (bool, Event) {
        audit::must_be_writable();
        let mut said = Said {
            principal: self.principal,
            tenant: self.tenant,
            action: self.permission.unwrap_or("(none)"),
            resource_type: None,
            resource_id: self.resource.map(|r| r.to_string()),
            allowed: false,
            reason: Some(Reason::ResourceNotFound.code()),
            privileged: None,
            context: self.context,
        };
        let Some(permission) = self.permission else {
            return (false, Event::new(said, clock::wall()));
        };
        // A principal that is not given is one that does not exist.
        let principal = self.principal.unwrap_or_default();
        let asker = Asker::now(principal);
        let permission = asker.permission(permission);
        let kind = asker.kind(permission);
        let names = &asker.policy().loaded.model.names;
        said.resource_type = Some(names.kinds.name(kind.0));
        let reason = match self.resource {
            None => Reason::ResourceNotFound,
            Some(resource) => {
                let ask = Ask {
                    principal,
                    resource,
                    tenant: self.tenant,
                    context: self.context,
                };
                let found = asker.find(kind, &ask);
                if let Ok(resource) = &found {
                    said.tenant = resource.tenant.or(said.tenant);
                    said.resource_id = Some(resource.key.to_string());
                    said.privileged = asker.privileged(resource);
                }
                asker.decide(permission, &found, &ask)
            }
        };
        said.allowed = reason == Reason::Allowed && self.principal.is_some();
        said.reason = (!said.allowed).then(|| reason.code());
        (said.allowed, Event::new(said, clock::wall()))
    }
}

fn check(
    principal: Option<Uuid>,
    permission: Option<&str>,
    resource: Option<Given<'_>>,
    tenant: Option<Uuid>,
    context: Option<JsonArgument>,
) -> bool {
    let question = Question {
        principal: principal.map(id),
        permission,
        resource,
        tenant: tenant.map(id),
        context: context.as_ref().map(|c| &c.0),
    };
    let (allowed, event) = question.decide();
    audit::record(&event);
    allowed
}

fn require(permission: Option<&str>, resource: Option<Given<'_>>) {
    let session = session::current();
    let question = Question {
        principal: session.as_ref().map(|s| s.principal),
        permission,
        resource,
        tenant: session.as_ref().and_then(|s| s.tenant),
        context: session.as_ref().map(|s| &s.context),
    };
    let (allowed, event) = question.decide();
    if allowed {
        audit::record(&event);
    } else {
        audit::hand_over(&event);
        error::denied(&event.action);
    }
}

macro_rules! check {
    ($name:ident, $key:ty, $resource:ident => $given:expr) => {
        /// `authz_check(principal, permission, resource)` for one form of keys.
        #[pg_extern(name = "authz_check", volatile, parallel_unsafe)]
        fn $name(
            principal: Option<Uuid>,
            permission: Option<&str>,
            resource: Option<$key>,
            tenant: default!(Option<Uuid>, "NULL"),
            context: default!(Option<JsonArgument>, "NULL"),
        ) -> bool {
            check(
                principal,
                permission,
                resource.map(|$resource| $given),
                tenant,
                context,
            )
        }
    };
}
by_key!(check: check_uuid, check_int, check_text);

macro_rules! require {
    ($name:ident, $key:ty, $resource:ident => $given:expr) => {
        /// `authz_require(permission, resource)` for one form of keys: the session's principal; without a session, refused.
        #[pg_extern(name = "authz_require", volatile, parallel_unsafe)]
        fn $name(permission: Option<&str>, resource: Option<$key>) {
            require(permission, resource.map(|$resource| $given));
        }
    };
}
by_key!(require: require_uuid, require_int, require_text);

#[allow(clippy::too_many_arguments)]
fn event(
    action_code: Option<&str>,
    resource_type: Option<&str>,
    resource_id: Option<String>,
    tenant_id: Option<Uuid>,
    access_result: Option<&str>,
    policy_reason: Option<&str>,
    context: Option<JsonArgument>,
    principal_id: Option<Uuid>,
) -> Event {
    let principal = principal_id.map(id).or_else(|| session::current().map(|s| s.principal));
    let tenant = tenant_id.map(id);
    let said = Said {
        principal,
        tenant,
        action: action_code.filter(|a| !a.is_empty()).unwrap_or("(none)"),
        resource_type,
        resource_id,
        allowed: match access_result {
            Some("allowed") => true,
            Some("denied") => false,
            _ => error::bad_access_result(access_result),
        },
        reason: policy_reason,
        privileged: principal.and_then(|p| decision::privileged_session(p, tenant)),
        context: context.as_ref().map(|c| &c.0),
    };
    Event::new(said, clock::wall())
}

/// Writes an access event; its id.
#[pg_extern(schema = "authz", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn record_access(
    action_code: Option<&str>,
    resource_type: Option<&str>,
    resource_id: Option<String>,
    tenant_id: Option<Uuid>,
    access_result: Option<&str>,
    policy_reason: default!(Option<&str>, "NULL"),
    context: default!(Option<JsonArgument>, "'{}'"),
    principal_id: default!(Option<Uuid>, "NULL"),
) -> Uuid {
    let event = event(
        action_code,
        resource_type,
        resource_id,
        tenant_id,
        access_result,
        policy_reason,
        context,
        principal_id,
    );
    audit::record(&event);
    Uuid::from_bytes(event.audit_id.into_bytes())
}

/// Hands an access event over that stays although the transaction rolls back.
#[pg_extern(schema = "authz", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn record_denial(
    action_code: Option<&str>,
    resource_type: Option<&str>,
    resource_id: Option<String>,
    tenant_id: Option<Uuid>,
    access_result: Option<&str>,
    policy_reason: default!(Option<&str>, "NULL"),
    context: default!(Option<JsonArgument>, "'{}'"),
    principal_id: default!(Option<Uuid>, "NULL"),
) {
    audit::hand_over(&event(
        action_code,
        resource_type,
        resource_id,
        tenant_id,
        access_result,
        policy_reason,
        context,
        principal_id,
    ));
}
