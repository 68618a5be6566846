//! What is the same for everybody in a tenant.

use super::When;
use super::principal::read_rules;
use crate::pg::authority::Reading;
use crate::pg::invalidation::Channel;
use crate::pg::relation::ScanKey;
use authz_engine::Instant;
use authz_engine::name::Vocabulary;
use authz_engine::subject::{Binding, BindingIndex, Grantee};
use uuid::Uuid;

/// Is the tenant's status `active`, or was it at that past instant? Its members are members only then.
pub fn is_active(id: Uuid, when: When, reading: &mut Reading) -> bool {
    reading.depends_on(Channel::tenant(id));
    match when {
        When::Now(_) => is_active_now(id, reading),
        When::At(at) => was_active(id, at, reading),
    }
}

fn was_active(id: Uuid, at: Instant, reading: &Reading) -> bool {
    let table = reading.open("tenant_status_history");
    let [tenant, status, from, until] = table.columns(["tenant_id", "status", "active_from", "active_until"]);
    let mut active = false;
    table.scan("tenant_status_history_pkey", &[ScanKey::uuid(tenant, &id)], |row| {
        active = row.interval(from, until).contains(at) && row.text(status).as_deref() == Some("active");
        !active
    });
    active
}

fn is_active_now(id: Uuid, reading: &Reading) -> bool {
    let table = reading.open("tenant");
    let [tenant, status] = table.columns(["tenant_id", "status"]);
    let mut active = false;
    table.scan("tenant_pkey", &[ScanKey::uuid(tenant, &id)], |row| {
        active = row.text(status).as_deref() == Some("active");
        false
    });
    active
}

/// The rules of a tenant that address everybody.
pub fn load_rules(id: Uuid, when: When, names: &mut Vocabulary, reading: &mut Reading) -> BindingIndex {
    reading.depends_on(Channel::tenant(id));
    let mut placed = Vec::new();
    read_rules(Grantee::Any, Some(id), when, names, reading, |row| {
        placed.push((
            row.place,
            Binding {
                id: row.id,
                tenant: Some(row.tenant),
                valid: row.valid,
                what: row.what,
                grantee: row.grantee,
            },
        ));
    });
    BindingIndex::compile(placed)
}
