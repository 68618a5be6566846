//! Who made a binding, when and why: for explanations.

use crate::pg::authority::Reading;
use crate::pg::relation::ScanKey;
use authz_engine::Instant;
use authz_engine::explain::Origin;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::datum::datetime_support::ToIsoString;
use serde_json::{Map, Value};
use uuid::Uuid;

/// What a column holds.
enum Of {
    Principal,
    Time,
    Text,
}

/// Table, primary key, its index, and the columns worth telling, by the kind of binding.
type Told = (&'static str, &'static str, &'static str, &'static [(&'static str, Of)]);

const fn told(origin: Origin) -> Option<Told> {
    match origin {
        Origin::Assignment => Some((
            "principal_role_assignment",
            "assignment_id",
            "principal_role_assignment_pkey",
            &[
                ("granted_by", Of::Principal),
                ("granted_at", Of::Time),
                ("expires_at", Of::Time),
                ("revoked_at", Of::Time),
                ("reason", Of::Text),
            ],
        )),
        Origin::Grant => Some((
            "resource_access_grant",
            "grant_id",
            "resource_access_grant_pkey",
            &[
                ("granted_by", Of::Principal),
                ("granted_at", Of::Time),
                ("expires_at", Of::Time),
                ("revoked_at", Of::Time),
                ("reason", Of::Text),
            ],
        )),
        Origin::Rule => Some((
            "resource_access_rule",
            "rule_id",
            "resource_access_rule_pkey",
            &[
                ("created_by", Of::Principal),
                ("created_at", Of::Time),
                ("valid_from", Of::Time),
                ("valid_until", Of::Time),
            ],
        )),
        Origin::Session => Some((
            "privileged_access_session",
            "session_id",
            "privileged_access_session_pkey",
            &[
                ("session_kind", Of::Text),
                ("access_reason", Of::Text),
                ("ticket_reference", Of::Text),
                ("approved_by", Of::Principal),
                ("approved_at", Of::Time),
                ("started_at", Of::Time),
                ("expires_at", Of::Time),
            ],
        )),
        Origin::Ownership => None,
    }
}

/// The evidence that a binding's row holds; columns that are NULL are left out.
pub fn of(origin: Origin, id: Uuid) -> Map<String, Value> {
    let mut evidence = Map::new();
    let Some((table, key, index, columns)) = told(origin) else {
        return evidence;
    };
    let reading = Reading::begin();
    let table = reading.open(table);
    let [key] = table.columns([key]);
    table.scan(index, &[ScanKey::uuid(key, &id)], |row| {
        for (name, of) in columns {
            let [column] = table.columns([*name]);
            let value = match of {
                Of::Principal => row.uuid(column).map(|id| id.to_string().into()),
                Of::Time => row.instant(column).map(|at| iso(at).into()),
                Of::Text => row.text(column).map(Into::into),
            };
            if let Some(value) = value {
                evidence.insert((*name).to_owned(), value);
            }
        }
        false
    });
    evidence
}

/// An instant in ISO 8601, in the session's time zone.
pub fn iso(at: Instant) -> String {
    match at {
        Instant::MAX => "infinity".to_owned(),
        Instant::MIN => "-infinity".to_owned(),
        _ => TimestampWithTimeZone::try_from(at).map_or_else(|_| at.to_string(), |t| t.to_iso_string()),
    }
}
