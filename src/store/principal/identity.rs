//! Who a principal is: status, locks, clearance, second factor.

use crate::pg::authority::Reading;
use crate::pg::relation::ScanKey;
use crate::store::When;
use crate::store::model::clearance_level;
use authz_engine::subject::PrincipalFacts;
use authz_engine::{Instant, Interval};
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// Who it is: status, locks, clearance, second factor.
pub(super) fn load_identity(id: Uuid, when: When, reading: &Reading) -> Option<PrincipalFacts> {
    let table = reading.open("principal");
    let [key, kind, external_id, email, display_name, status, locked_until] = table.columns([
        "principal_id",
        "principal_type",
        "external_id",
        "email",
        "display_name",
        "status",
        "locked_until",
    ]);
    let mut found = None;
    table.scan("principal_pkey", &[ScanKey::uuid(key, &id)], |row| {
        let status = row.text(status);
        let attributes = json!({
            "id": id.to_string(),
            "type": row.text(kind),
            "external_id": row.text(external_id),
            "email": row.text(email),
            "display_name": row.text(display_name),
            "status": status,
        });
        found = Some((
            status.as_deref() == Some("active"),
            row.instant(locked_until),
            attributes,
        ));
        false
    });
    let (is_active, locked_until, mut attributes) = found?;

    let operator = load_operator(id, reading);
    let (account_mfa, account_lock) = load_account(id, reading);
    let (active, locked_until) = match when {
        When::Now(_) if is_active => (vec![Interval::ALWAYS], locked_until.max(account_lock)),
        When::Now(_) => (Vec::new(), None),
        When::At(at) => (active_in_the_past(id, at, reading), None),
    };
    let mfa_enrolled = account_mfa || operator.mfa_enabled;
    attributes["mfa_enabled"] = mfa_enrolled.into();
    if let (Value::Object(all), Value::Object(more)) = (&mut attributes, operator.attributes) {
        all.extend(more);
    }
    Some(PrincipalFacts {
        id,
        active,
        locked_until,
        clearance: operator.clearance,
        mfa_enrolled,
        attributes: Arc::new(attributes),
        memberships: Vec::new(),
        teams: Vec::new(),
        assignments: Vec::new(),
        sessions: Vec::new(),
    })
}

/// When it was active, around that instant; never, if it was locked then.
fn active_in_the_past(id: Uuid, at: Instant, reading: &Reading) -> Vec<Interval> {
    let locks = reading.open("principal_lock_history");
    let [key, from, until] = locks.columns(["principal_id", "active_from", "active_until"]);
    let mut locked = false;
    locks.scan("principal_lock_history_pkey", &[ScanKey::uuid(key, &id)], |row| {
        locked = row.interval(from, until).contains(at);
        !locked
    });
    let mut active = Vec::new();
    if locked {
        return active;
    }
    let table = reading.open("principal_status_history");
    let [key, status, from, until] = table.columns(["principal_id", "status", "active_from", "active_until"]);
    table.scan("principal_status_history_pkey", &[ScanKey::uuid(key, &id)], |row| {
        if row.text(status).as_deref() == Some("active") {
            active.push(row.interval(from, until));
        }
        true
    });
    active
}

#[derive(Default)]
struct Operator {
    clearance: u8,
    mfa_enabled: bool,
    attributes: Value,
}

fn load_operator(id: Uuid, reading: &Reading) -> Operator {
    let table = reading.open("operator_profile");
    let [key, role, clearance, mfa, quota, clients, admin] = table.columns([
        "principal_id",
        "operator_role",
        "clearance_level",
        "mfa_enabled",
        "alert_quota",
        "assigned_clients",
        "is_admin",
    ]);
    let mut operator = Operator::default();
    table.scan("operator_profile_pkey", &[ScanKey::uuid(key, &id)], |row| {
        let level = row.text(clearance);
        operator = Operator {
            // A level that is none of L1 to L3 clears nothing.
            clearance: Some(clearance_level(level.as_deref())).filter(|l| *l <= 3).unwrap_or(0),
            mfa_enabled: row.bool(mfa) == Some(true),
            attributes: json!({
                "operator_role": row.text(role),
                "clearance_level": level,
                "alert_quota": row.int4(quota),
                "assigned_clients": row.int4(clients),
                "is_admin": row.bool(admin),
            }),
        };
        false
    });
    operator
}

fn load_account(id: Uuid, reading: &Reading) -> (bool, Option<Instant>) {
    let table = reading.open("account_security");
    let [key, mfa, locked_until] = table.columns(["principal_id", "mfa_enabled", "locked_until"]);
    let mut account = (false, None);
    table.scan("account_security_pkey", &[ScanKey::uuid(key, &id)], |row| {
        account = (row.bool(mfa) == Some(true), row.instant(locked_until));
        false
    });
    account
}
