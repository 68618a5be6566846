//! Cells: authority that logical replication brings is recorded once and decides by what has arrived (R19, R51, PITFALLS 20, 35).

use crate::{events_of, everything};
use authz_tests::make::{self, id};
use authz_tests::office::{Office, with_ids};
use authz_tests::waiting::within;
use authz_tests::{Db, Start, execute, report, value};
use postgres::Client;
use std::time::Duration;

/// Waits until a query gives true: a first copy may take long.
#[track_caller]
fn wait_for(c: &mut Client, what: &str, query: &str) {
    within(Duration::from_secs(180), what, || value(c, query, &[]));
}

/// A hub and a cell that subscribes to it, in one cluster. Dropped, the subscription goes first.
struct Cell {
    hub: Db,
    cell: Db,
}

impl Cell {
    /// Subscribes to the authority tables, with or without the events.
    fn subscribe(hub: Db, with_events: bool) -> Cell {
        let cell = Db::with(Start::Extension);
        let mut h = hub.connect();
        let tables: String = value(
            &mut h,
            "SELECT string_agg(t.tgrelid::regclass::text, ', ') FROM pg_trigger AS t
              WHERE t.tgname = 'invalidate' AND t.tgrelid <> 'authz.resource_type'::regclass",
            &[],
        );
        let events = if with_events { ", authz.access_change_event" } else { "" };
        execute(
            &mut h,
            &format!("CREATE PUBLICATION authority FOR TABLE {tables}{events}"),
        );
        execute(
            &mut h,
            &format!("SELECT pg_create_logical_replication_slot('{}', 'pgoutput')", cell.name),
        );
        let s = &hub.server;
        execute(
            &mut cell.connect(),
            &format!(
                "CREATE SUBSCRIPTION {0} CONNECTION 'host={1} port={2} user={3} dbname={4}' PUBLICATION authority
                    WITH (create_slot = false, slot_name = '{0}')",
                cell.name, s.host, s.port, s.user, hub.name
            ),
        );
        let cell = Cell { hub, cell };
        wait_for(
            &mut cell.cell.connect(),
            "the first copy",
            "SELECT bool_and(srsubstate = 'r') AND count(*) > 10 FROM pg_subscription_rel",
        );
        cell
    }

    /// Waits until the cell has what the hub has.
    fn catch_up(&self) {
        let mut h = self.hub.connect();
        let lsn: String = value(&mut h, "SELECT pg_current_wal_lsn()::text", &[]);
        wait_for(
            &mut h,
            "the cell catches up",
            &format!(
                "SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots WHERE slot_name = '{}'",
                self.cell.name
            ),
        );
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let name = &self.cell.name;
        let Ok(mut c) = self.cell.server.try_connect(name, &self.cell.server.user) else {
            return;
        };
        // Each a statement of its own: dropping the slot cannot be part of a transaction.
        for statement in ["ALTER SUBSCRIPTION {} DISABLE", "DROP SUBSCRIPTION {}"] {
            if let Err(e) = c.batch_execute(&statement.replace("{}", name)) {
                eprintln!("{}", report(&e));
            }
        }
    }
}

fn changes(c: &mut Client) {
    make::role(c, "auditor", &["case.view"]);
    make::member(c, id("acme"), "carol");
    make::assign(c, id("acme"), id("carol"), "auditor", "tenant", id("acme"));
    execute(
        c,
        &with_ids(
            "UPDATE authz.principal_role_assignment SET revoked_at = now(), reason = 'left' WHERE principal_id = '{carol}';
             UPDATE authz.principal SET status = 'suspended' WHERE principal_id = '{carol}';
             INSERT INTO authz.project (tenant_id, project_id, name) VALUES ('{acme}', '{atlas}', 'atlas');
             DELETE FROM authz.project WHERE project_id = '{atlas}'",
        ),
    );
}

/// Events that arrive with the changes are not written a second time (DESIGN 7).
#[test]
fn replicated_with_its_events_a_change_is_recorded_once() {
    let office = Office::open();
    let cell = Cell::subscribe(office.db, true);
    changes(&mut cell.hub.connect());
    cell.catch_up();
    let (hub, there) = (
        everything(&mut cell.hub.connect()),
        everything(&mut cell.cell.connect()),
    );
    let invented: Vec<_> = there.difference(&hub).collect();
    let lost: Vec<_> = hub.difference(&there).collect();
    assert!(
        invented.is_empty() && lost.is_empty(),
        "invented {invented:#?}, lost {lost:#?}"
    );
    // What is done in the cell itself is the cell's.
    let found = events_of(&mut cell.cell.connect(), |c| {
        execute(c, "UPDATE authz.tenant SET name = 'local' WHERE slug = 'acme'")
    });
    assert_eq!(found.len(), 1);
}

/// Without them each change is recorded where it arrives.
#[test]
fn replicated_without_its_events_a_change_is_recorded_there() {
    let office = Office::open();
    let cell = Cell::subscribe(office.db, false);
    let mut c = cell.cell.connect();
    let copied: i64 = value(
        &mut c,
        "SELECT count(*) FROM authz.access_change_event WHERE table_name = 'tenant' AND change_type = 'insert'",
        &[],
    );
    assert_eq!(copied, 2, "the first copy");
    let found = events_of(&mut c, |_| {
        changes(&mut cell.hub.connect());
        cell.catch_up();
    });
    let mut kinds: Vec<_> = found.iter().map(|e| format!("{} {}", e.table, e.what)).collect();
    kinds.sort();
    assert_eq!(
        kinds,
        [
            "principal insert",
            "principal update",
            "principal_role_assignment close",
            "principal_role_assignment insert",
            "principal_status_history close",
            "principal_status_history insert",
            "principal_status_history insert",
            "project delete",
            "project insert",
            "role_definition insert",
            "role_permission insert",
            "tenant_membership insert",
            "tenant_membership_history insert",
        ]
    );
    assert!(found.iter().all(|e| e.actor.is_none()));
    let closed = found
        .iter()
        .find(|e| e.what == "close" && e.table == "principal_role_assignment");
    assert_eq!(closed.unwrap().reason.as_deref(), Some("left"));
}

/// R19, PITFALLS 35: whoever asks in the cell is answered by what has arrived, also in a transaction that was open before.
#[test]
fn a_cell_decides_by_what_has_arrived() {
    let office = Office::open();
    let mut hub = office.db.connect();
    make::role(&mut hub, "visitor", &["tenant.view"]);
    let carol = make::member(&mut hub, id("acme"), "carol");
    let cell = Cell::subscribe(office.db, true);
    let mut c = cell.cell.connect();
    let may = |c: &mut Client| make::can(c, carol, "tenant.view", id("acme"));
    execute(&mut c, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert!(!may(&mut c));
    let assignment = make::assign(&mut hub, id("acme"), carol, "visitor", "tenant", id("acme"));
    cell.catch_up();
    assert!(may(&mut c), "given");
    make::revoke(&mut hub, assignment);
    cell.catch_up();
    assert!(!may(&mut c), "revoked");
    make::assign(&mut hub, id("acme"), carol, "visitor", "tenant", id("acme"));
    cell.catch_up();
    assert!(may(&mut c), "given again");
    execute(&mut hub, "UPDATE authz.tenant_membership SET status = 'suspended'");
    cell.catch_up();
    assert!(!may(&mut c), "suspended");
    execute(&mut c, "COMMIT");
}
