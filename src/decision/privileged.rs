//! The privileged sessions that a principal acts under.

use super::current;
use crate::pg::clock;
use crate::session;
use authz_engine::subject::PrivilegedSession;
use uuid::Uuid;

/// The privileged session that a principal acts under in a tenant (`None`: in any), now: what audit events name.
pub fn privileged_session(principal: Uuid, tenant: Option<Uuid>) -> Option<Uuid> {
    let subject = current(Some(principal)).1?;
    evident(&subject.privileged_sessions(tenant, clock::now()))
}

/// Of several privileged sessions the one that evidence names: break-glass, which nothing hides; else the one that the
/// session's context names; else the first.
pub(super) fn evident(in_force: &[&PrivilegedSession]) -> Option<Uuid> {
    let first = in_force.first()?;
    let session = session::current();
    let named = session.as_ref().and_then(|s| s.context["session_id"].as_str());
    let is_named = |s: &&&PrivilegedSession| named == Some(s.id.to_string().as_str());
    let break_glass = in_force.iter().find(|s| s.break_glass);
    let chosen = break_glass.or_else(|| in_force.iter().find(is_named));
    Some(chosen.unwrap_or(first).id)
}

/// Does the session act under a support session that was not approved to reach sensitive data? Then what it sees is
/// masked. Of a session that names no tenant one such support session is enough.
pub fn is_masked() -> bool {
    session::current().is_some_and(|session| {
        current(Some(session.principal)).1.is_some_and(|subject| {
            subject
                .privileged_sessions(session.tenant, clock::now())
                .iter()
                .any(|s| !s.break_glass && !s.includes_sensitive)
        })
    })
}
