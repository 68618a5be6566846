//! `authz_set_session`, `authz_set_session_token`, `authz_clear_session`, and what the session says.

use super::id;
use crate::error;
use crate::pg::json::JsonArgument;
use crate::session::{self, Session};
use crate::token;
use pgrx::{JsonB, Uuid, default, pg_extern};
use serde_json::{Map, Value};

/// Begins a session. Its caller decides who acts, so it is executable by nobody until it is granted.
#[pg_extern(name = "authz_set_session", volatile, parallel_unsafe)]
fn set_session(
    principal: Option<Uuid>,
    tenant: default!(Option<Uuid>, "NULL"),
    context: default!(Option<JsonArgument>, "'{}'"),
    is_local: default!(Option<bool>, "true"),
) {
    let Some(principal) = principal else {
        error::invalid_session("The principal is NULL.", "To end a session call authz_clear_session().");
    };
    let context = match context.map(|c| c.0) {
        None => Value::Object(Map::new()),
        Some(context @ Value::Object(_)) => context,
        Some(_) => error::invalid_session(
            "The context is not a JSON object.",
            "Pass an object, such as {\"mfa\": true}.",
        ),
    };
    let session = Session {
        principal: id(principal),
        tenant: tenant.map(id),
        context,
        expires: None,
    };
    session::set(&session, is_local.unwrap_or(true));
}

/// Begins the session of whoever holds the token. Executable by everybody: the signature is the permission.
#[pg_extern(name = "authz_set_session_token", volatile, parallel_unsafe)]
fn set_session_token(token: Option<&str>, is_local: default!(Option<bool>, "true")) {
    match token::accept(token) {
        Ok(session) => session::set(&session, is_local.unwrap_or(true)),
        Err(fault) => {
            error::log_bad_token(&fault.describe());
            error::bad_token()
        }
    }
}

/// Ends the session.
#[pg_extern(name = "authz_clear_session", volatile, parallel_unsafe)]
fn clear_session() {
    session::clear();
}

/// The session's principal.
#[pg_extern(name = "authz_principal", stable, parallel_safe)]
fn principal() -> Option<Uuid> {
    session::current().map(|s| Uuid::from_bytes(s.principal.into_bytes()))
}

/// The session's tenant.
#[pg_extern(name = "authz_tenant", stable, parallel_safe)]
fn tenant() -> Option<Uuid> {
    session::current()?.tenant.map(|t| Uuid::from_bytes(t.into_bytes()))
}

/// The session's context.
#[pg_extern(name = "authz_context", stable, parallel_safe)]
fn context() -> Option<JsonB> {
    session::current().map(|s| JsonB(s.context.clone()))
}
