//! What other parts of the extension ask about privileged sessions.

use super::id;
use crate::decision;
use pgrx::{Uuid, default, pg_extern};

/// For audit events.
#[pg_extern(name = "active_privileged_session", schema = "authz", stable, parallel_safe)]
fn active_privileged_session(principal: Option<Uuid>, tenant: default!(Option<Uuid>, "NULL")) -> Option<Uuid> {
    let found = decision::privileged_session(id(principal?), tenant.map(id))?;
    Some(Uuid::from_bytes(found.into_bytes()))
}

/// For masked views.
#[pg_extern(name = "session_is_masked", schema = "authz", stable, parallel_safe)]
fn session_is_masked() -> bool {
    decision::is_masked()
}
