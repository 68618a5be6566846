//! Roles and privileged sessions of a principal.

use crate::pg::authority::Reading;
use crate::pg::relation::ScanKey;
use crate::store::When;
use authz_engine::name::{Kind, Vocabulary};
use authz_engine::node::{Key, Node};
use authz_engine::subject::{Assignment, Place, PrivilegedSession};
use uuid::Uuid;

pub(super) fn load_assignments(id: Uuid, when: When, names: &mut Vocabulary, reading: &Reading) -> Vec<Assignment> {
    let table = reading.open("principal_role_assignment");
    let [key, assignment, tenant, role, scope_type, scope_id, from, until] = table.columns([
        "principal_id",
        "assignment_id",
        "tenant_id",
        "role_code",
        "scope_type",
        "scope_id",
        "active_from",
        "active_until",
    ]);
    let mut found = Vec::new();
    let keys = [ScanKey::uuid(key, &id), ScanKey::after(until, when.horizon())];
    table.scan("principal_role_assignment_principal_idx", &keys, |row| {
        let valid = row.interval(from, until);
        if !when.concerns(&valid) {
            return true;
        }
        if let (Some(id), Some(role), Some(scope_type)) = (row.uuid(assignment), row.text(role), row.text(scope_type)) {
            let place = match (names.kind(&scope_type), row.text(scope_id)) {
                (Kind::PLATFORM, _) => Place::Platform,
                (kind, Some(scope)) => Place::Node(Node::new(kind, Key::from_text(&scope))),
                // A scope without id is refused by the table; were there one, it would reach nothing.
                (_, None) => return true,
            };
            found.push(Assignment {
                id,
                tenant: row.uuid(tenant),
                role: names.role(&role),
                place,
                valid,
            });
        }
        true
    });
    found
}

pub(super) fn load_sessions(id: Uuid, when: When, names: &mut Vocabulary, reading: &Reading) -> Vec<PrivilegedSession> {
    let table = reading.open("privileged_access_session");
    let [key, session, kind, tenant, scope_type, scope_id, sensitive, approved_by] = table.columns([
        "principal_id",
        "session_id",
        "session_kind",
        "tenant_id",
        "scope_type",
        "scope_id",
        "includes_sensitive",
        "approved_by",
    ]);
    let [from, until] = table.columns(["active_from", "active_until"]);
    let mut found = Vec::new();
    let keys = [ScanKey::uuid(key, &id), ScanKey::after(until, when.horizon())];
    table.scan("privileged_access_session_principal_idx", &keys, |row| {
        let valid = row.interval(from, until);
        if let (Some(session), true) = (row.uuid(session), when.concerns(&valid)) {
            let scope = row.text(scope_type).map(|t| (names.kind(&t), row.text(scope_id)));
            found.push(PrivilegedSession {
                id: session,
                break_glass: row.text(kind).as_deref() == Some("break_glass"),
                tenant: row.uuid(tenant),
                scope: match scope {
                    None => None,
                    Some((Kind::PLATFORM, _)) => Some(Node::new(Kind::PLATFORM, Key::Int(0))),
                    // "tenant" without an id is the session's own tenant, which is compared anyway.
                    Some((Kind::TENANT, None)) => None,
                    Some((kind, scope)) => Some(Node::new(kind, Key::from_text(&scope.unwrap_or_default()))),
                },
                valid,
                includes_sensitive: row.bool(sensitive) == Some(true)
                    && row.uuid(approved_by).is_some_and(|approver| approver != id),
            });
        }
        true
    });
    found
}
