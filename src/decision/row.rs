//! Decisions about rows that a policy passes.

use super::{Ask, Asker, kind_of, uses_mfa};
use crate::certainty;
use crate::pg::user_table::Boundary;
use crate::places;
use crate::resource::{self, Given, Located};
use crate::session::{self, Session};
use authz_engine::{Key, Reason};
use serde_json::Value;
use std::cell::Cell;
use uuid::Uuid;

/// What a policy passes of a row.
pub struct RowCheck<'a> {
    /// Its key.
    pub key: Key,
    /// Its tenant.
    pub tenant: Option<Uuid>,
    /// Its organization.
    pub organization: Option<Uuid>,
    /// Its team.
    pub team: Option<Uuid>,
    /// Its project.
    pub project: Option<Uuid>,
    /// Its owner.
    pub owner: Option<Uuid>,
    /// Its level.
    pub confidentiality: Option<&'a str>,
    /// Is it soft-deleted?
    pub deleted: bool,
    /// Its parent's key.
    pub parent: Option<&'a str>,
}

/// Where conditions find the columns of the row that is decided about.
pub enum Columns<'a> {
    /// The statement's snapshot shows the row as it is decided about: there, by its key.
    Stored,
    /// Here: a row that is about to be written, or that is decided again after a lock was waited for.
    Given(&'a Value),
    /// Nowhere yet. Whether one was asked for them is noted: then the answer is none.
    Missing(Cell<bool>),
}

/// As whom a row is decided about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// The session: with its tenant, and with its context.
    Session,
    /// The session's principal: in all its tenants, and without a context, as `authz_can(authz_principal(), …)` decides.
    Principal,
}

impl As {
    /// The tenant that a session names.
    pub const fn tenant(self, session: &Session) -> Option<Uuid> {
        match self {
            As::Session => session.tenant,
            As::Principal => None,
        }
    }

    /// What is said of the request.
    pub const fn context(self, session: &Session) -> Option<&Value> {
        match self {
            As::Session => Some(&session.context),
            As::Principal => None,
        }
    }
}

/// May the session use the permission on a row? Without a session: no. `None`: that depends on columns that are missing.
pub fn check_row(code: &str, row: RowCheck<'_>, who: As, columns: &Columns<'_>) -> Option<bool> {
    let Some(session) = session::current() else {
        return Some(false);
    };
    let tenant = who.tenant(&session);
    if tenant.is_some() && tenant != row.tenant {
        return Some(false);
    }
    let places = places::of(code, who);
    if let Some(surely) = places.as_ref().and_then(|places| places.surely(&row)) {
        return Some(surely);
    }
    let asker = Asker::now(session.principal);
    let permission = asker.permission(code);
    let kind = kind_of(&asker.policy, permission);
    let registration = asker.policy.loaded.registrations.get(&kind);
    let has_levels = registration.is_some_and(|r| r.columns.confidentiality.is_some());
    if let (Some(places), Some(tenant), Some(subject), Some(registration)) =
        (&places, row.tenant, &asker.subject, registration)
        && registration.parent.is_none()
        && !row.deleted
    {
        let asked = certainty::Asked {
            subject,
            permission,
            kind,
            levels: has_levels,
            mfa: uses_mfa(who.context(&session)),
            policy: &asker.policy,
        };
        places.note(tenant, &asked);
    }
    let boundary = Boundary {
        key: row.key,
        tenant: row.tenant,
        organization: row.organization,
        team: row.team,
        project: row.project,
        owner: row.owner,
        confidentiality: has_levels.then(|| row.confidentiality.map(str::to_owned)),
        deleted: row.deleted,
        parent: row.parent.map(Key::from_text),
    };
    let ask = Ask {
        principal: session.principal,
        resource: Given::Text(""),
        tenant: None,
        context: who.context(&session),
    };
    let found = resource::of_row(&asker.policy, kind, boundary).map(Located::Row);
    let allowed = asker.decide_row(permission, &found, &ask, columns) == Reason::Allowed;
    match columns {
        Columns::Missing(asked) if asked.get() => None,
        _ => Some(allowed),
    }
}
