//! Change events (R51, R52): whatever changes authority, by whatever way, leaves one event a row, and events stay.

mod append_only;
mod cell;
mod dump;
mod record;
mod watched;

use authz_tests::report;
use postgres::Client;
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// An event, as far as tests look at it.
#[derive(Debug)]
struct Event {
    table: String,
    what: String,
    key: String,
    before: Option<Value>,
    after: Option<Value>,
    reason: Option<String>,
    actor: Option<Uuid>,
    tenant: Option<Uuid>,
    target: Option<Uuid>,
    scope: (Option<String>, Option<String>),
    role: String,
}

/// The events that something leaves.
#[track_caller]
fn events_of(c: &mut Client, f: impl FnOnce(&mut Client)) -> Vec<Event> {
    let before: Vec<Uuid> = ids(c);
    f(c);
    c.query(
        "SELECT table_name, change_type, row_key, before_value, after_value, reason, actor_id, tenant_id,
                target_principal_id, scope_type, scope_id, db_role::text
           FROM authz.access_change_event WHERE event_id <> ALL ($1) ORDER BY occurred_at, table_name, row_key",
        &[&before],
    )
    .unwrap_or_else(|e| panic!("{}", report(&e)))
    .iter()
    .map(|r| Event {
        table: r.get(0),
        what: r.get(1),
        key: r.get(2),
        before: r.get(3),
        after: r.get(4),
        reason: r.get(5),
        actor: r.get(6),
        tenant: r.get(7),
        target: r.get(8),
        scope: (r.get(9), r.get(10)),
        role: r.get(11),
    })
    .collect()
}

fn ids(c: &mut Client) -> Vec<Uuid> {
    c.query("SELECT event_id FROM authz.access_change_event ORDER BY 1", &[])
        .unwrap_or_else(|e| panic!("{}", report(&e)))
        .iter()
        .map(|r| r.get(0))
        .collect()
}

fn everything(c: &mut Client) -> BTreeSet<String> {
    c.query("SELECT e::text FROM authz.access_change_event AS e", &[])
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect()
}
