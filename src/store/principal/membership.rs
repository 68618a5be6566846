//! Which tenants and teams a principal is in.

use crate::pg::authority::Reading;
use crate::pg::relation::ScanKey;
use crate::store::{When, scope, tenant};
use authz_engine::name::Kind;
use authz_engine::subject::TeamMembership;
use authz_engine::{Instant, Interval};
use uuid::Uuid;

/// When it is an active member of which tenant.
pub(super) fn load_memberships(id: Uuid, when: When, reading: &mut Reading) -> Vec<(Uuid, Interval)> {
    let table = reading.open("tenant_membership");
    let [key, tenant_id, status, joined_at, from, until] = table.columns([
        "principal_id",
        "tenant_id",
        "status",
        "joined_at",
        "active_from",
        "active_until",
    ]);
    let mut rows = Vec::new();
    let keys = [ScanKey::uuid(key, &id), ScanKey::after(until, when.horizon())];
    table.scan("tenant_membership_principal_idx", &keys, |row| {
        if let (Some(tenant), Some(joined)) = (row.uuid(tenant_id), row.instant(joined_at)) {
            rows.push((
                tenant,
                joined,
                row.text(status).as_deref() == Some("active"),
                row.interval(from, until),
            ));
        }
        true
    });
    let active = match when {
        When::Now(_) => rows
            .into_iter()
            .filter(|(.., active, _)| *active)
            .map(|(t, _, _, valid)| (t, valid))
            .collect::<Vec<_>>(),
        When::At(_) => {
            let history = membership_history(id, reading);
            let held = |(t, joined, _, valid): (Uuid, Instant, bool, Interval)| {
                history
                    .iter()
                    .filter(move |h| h.0 == t && h.1 == joined)
                    .filter_map(move |h| valid.intersect(&h.2).map(|both| (t, both)))
                    .collect::<Vec<_>>()
            };
            rows.into_iter().flat_map(held).collect()
        }
    };
    active
        .into_iter()
        .filter(|(t, _)| tenant::is_active(*t, when, reading))
        .collect()
}

/// Tenant, start of the membership, and an interval in which it was active.
fn membership_history(id: Uuid, reading: &Reading) -> Vec<(Uuid, Instant, Interval)> {
    let table = reading.open("tenant_membership_history");
    let [key, tenant, joined_at, status, from, until] = table.columns([
        "principal_id",
        "tenant_id",
        "joined_at",
        "status",
        "active_from",
        "active_until",
    ]);
    let mut active = Vec::new();
    table.scan(
        "tenant_membership_history_principal_idx",
        &[ScanKey::uuid(key, &id)],
        |row| {
            if row.text(status).as_deref() == Some("active")
                && let (Some(tenant), Some(joined)) = (row.uuid(tenant), row.instant(joined_at))
            {
                active.push((tenant, joined, row.interval(from, until)));
            }
            true
        },
    );
    active
}

pub(super) fn load_teams(id: Uuid, when: When, reading: &mut Reading) -> Vec<TeamMembership> {
    let table = reading.open("team_membership_history");
    let [key, tenant, team, from, until] =
        table.columns(["principal_id", "tenant_id", "team_id", "active_from", "active_until"]);
    let mut rows = Vec::new();
    let keys = [ScanKey::uuid(key, &id), ScanKey::after(until, when.horizon())];
    table.scan("team_membership_principal_idx", &keys, |row| {
        let valid = row.interval(from, until);
        if let (Some(tenant), Some(team), true) = (row.uuid(tenant), row.uuid(team), when.concerns(&valid)) {
            rows.push((tenant, team, valid));
        }
        true
    });
    rows.into_iter()
        .filter_map(|(tenant, team, valid)| {
            let within = scope::load(Kind::TEAM, team, reading)
                .into_iter()
                .find(|r| r.tenant == Some(tenant))?;
            Some(TeamMembership {
                tenant,
                valid,
                within: within.chain.as_slice().into(),
            })
        })
        .collect()
}
