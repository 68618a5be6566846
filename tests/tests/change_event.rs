//! Change events (R51, R52): whatever changes authority, by whatever way, leaves one event a row, and events stay.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use authz_tests::make::{self, id};
use authz_tests::office::{Office, made, with_ids};
use authz_tests::{Db, Start, execute, refused_with_hint, report, run, value};
use postgres::Client;
use serde_json::Value;
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

/// Tables of schema authz whose changes leave no event, and why.
const NOT_WATCHED: [(&str, &str); 14] = [
    ("access_audit_event", "append-only: evidence itself"),
    ("access_change_event", "append-only: the events"),
    ("audit_seal", "append-only: the chain over both"),
    ("data_export_chunk", "content; its hash stands in the job"),
    ("export_rate", "a counter; each request is a job"),
    ("hierarchy_lock", "a lock"),
    ("profile", "what is known of a person; gives no authority"),
    ("reveal_charge", "a counter; each reveal is an access event"),
    ("reveal_lock", "a lock"),
    ("sod_lock", "a lock"),
    ("sod_use", "append-only: what was done under which role"),
    (
        "tenant_principal_profile",
        "what a tenant may know of a person; gives no authority",
    ),
    (
        "work_assignment",
        "who works on what; gives no authority, rows are closed",
    ),
    ("work_load", "a counter"),
];

/// R51: each table of schema authz leaves change events, or stands above with a reason.
#[test]
fn every_table_leaves_events_or_has_a_reason_not_to() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    let not_watched: BTreeSet<String> = c
        .query(
            "SELECT c.relname::text FROM pg_class AS c
              WHERE c.relnamespace = 'authz'::regnamespace AND c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition
                AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgfoid = 'authz.record_change()'::regprocedure)",
            &[],
        )
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert_eq!(not_watched, NOT_WATCHED.iter().map(|t| t.0.to_owned()).collect());
}

/// Every table whose changes are announced is watched, whatever helper added it, in every mode of a session.
#[test]
fn every_authority_table_is_watched() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    let bad: Vec<String> = c
        .query(
            "SELECT t.tgrelid::regclass::text FROM pg_trigger AS t WHERE t.tgname = 'invalidate'
             UNION SELECT unnest('{authz.signing_key,authz.sod_constraint}'::text[])
             EXCEPT
             SELECT t.tgrelid::regclass::text FROM pg_trigger AS t
              WHERE t.tgfoid = 'authz.record_change()'::regprocedure GROUP BY t.tgrelid
             HAVING array_agg(t.tgname || ' ' || t.tgenabled::text ORDER BY t.tgname)
                  = '{record_delete A,record_insert A,record_replicated R,record_truncate A,record_update A}'",
            &[],
        )
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert_eq!(bad, Vec::<String>::new());
}

#[test]
fn plain_sql_is_recorded_with_who_and_why() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::role(&mut c, "viewer", &["case.view"]);
    make::member(&mut c, acme, "alice");
    let me: String = value(&mut c, "SELECT session_user::text", &[]);

    let found = events_of(&mut c, |c| {
        execute(c, "SET authz.change_reason = 'ticket 7'");
        make::assign(c, acme, id("alice"), "viewer", "tenant", acme);
    });
    let [e] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(
        (e.table.as_str(), e.what.as_str()),
        ("principal_role_assignment", "insert")
    );
    assert_eq!(
        (e.actor, e.role.as_str(), e.reason.as_deref()),
        (None, me.as_str(), Some("ticket 7"))
    );
    assert_eq!((e.tenant, e.target), (Some(acme), Some(id("alice"))));
    assert_eq!(e.scope, (Some("tenant".to_owned()), Some(acme.to_string())));
    assert!(e.before.is_none());
    assert_eq!(e.after.as_ref().unwrap()["role_code"], "viewer");

    // Its own reason comes before the setting; why it was granted is not why it was closed.
    let found = events_of(&mut c, |c| {
        execute(
            c,
            "UPDATE authz.principal_role_assignment SET revoked_at = now(), reason = 'left'",
        );
    });
    let [e] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!((e.what.as_str(), e.reason.as_deref()), ("close", Some("left")));
    assert_eq!(e.before.as_ref().unwrap()["revoked_at"], Value::Null);
    assert!(e.after.as_ref().unwrap()["revoked_at"].is_string());
    execute(
        &mut c,
        &with_ids(
            "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, reason)
             VALUES ('{acme}', '{alice}', 'viewer', 'tenant', '{acme}', 'helps out')",
        ),
    );
    let found = events_of(&mut c, |c| {
        execute(
            c,
            "UPDATE authz.principal_role_assignment SET revoked_at = now() WHERE revoked_at IS NULL",
        );
    });
    assert_eq!(found[0].reason.as_deref(), Some("ticket 7"));

    // Blank is none; the actor is the session's principal, whoever logged in.
    let found = events_of(&mut c, |c| {
        execute(
            c,
            &with_ids(
                "SET authz.change_reason = '  '; SELECT authz_set_session('{alice}', is_local => false);
                 UPDATE authz.tenant SET name = 'Acme Ltd'; SELECT authz_clear_session()",
            ),
        );
    });
    let [e] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(
        (e.actor, e.reason.as_deref(), e.what.as_str()),
        (Some(id("alice")), None, "update")
    );
    assert_eq!((e.tenant, e.key.as_str()), (Some(acme), acme.to_string().as_str()));

    // What changes nothing, and what is rolled back, is no change.
    let found = events_of(&mut c, |c| {
        execute(
            c,
            "UPDATE authz.tenant SET status = status; UPDATE authz.tenant SET name = 'x' WHERE false;
             BEGIN; UPDATE authz.tenant SET name = 'y'; ROLLBACK;
             BEGIN; SAVEPOINT s; UPDATE authz.tenant SET name = 'y'; ROLLBACK TO s; COMMIT",
        );
    });
    assert!(found.is_empty(), "{found:#?}");
}

/// Every form of writing, and several rows at once: one event a row.
#[test]
fn every_form_of_writing_leaves_one_event_a_row() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    for mode in ["origin", "replica", "local"] {
        execute(&mut c, &format!("SET session_replication_role = {mode}"));
        let found = events_of(&mut c, |c| {
            execute(
                c,
                &format!(
                    "INSERT INTO authz.project (tenant_id, name) SELECT '{acme}', 'p' || i FROM generate_series(1, 5) AS i;
                     INSERT INTO authz.project (tenant_id, name) VALUES ('{acme}', 'q');
                     UPDATE authz.project SET name = name || '!';
                     INSERT INTO authz.project (tenant_id, project_id, name) SELECT tenant_id, project_id, 'again' FROM authz.project
                        ON CONFLICT (tenant_id, project_id) DO UPDATE SET name = excluded.name;
                     MERGE INTO authz.project AS p USING (SELECT 1) AS s ON true WHEN MATCHED AND p.name = 'again' THEN UPDATE SET name = 'merged';
                     WITH gone AS (DELETE FROM authz.project RETURNING *) SELECT count(*) FROM gone"
                ),
            );
            use std::io::Write;
            let mut copy = c.copy_in("COPY authz.project (tenant_id, name) FROM STDIN").unwrap();
            copy.write_all(format!("{acme}\ta\n{acme}\tb\n").as_bytes()).unwrap();
            copy.finish().unwrap();
            execute(
                c,
                "UPDATE authz.project SET project_id = gen_random_uuid() WHERE name = 'a'; DELETE FROM authz.project; TRUNCATE authz.permission_implication",
            );
        });
        let count = |what: &str| found.iter().filter(|e| e.table == "project" && e.what == what).count();
        assert_eq!(count("insert"), 6 + 2 + 1, "{mode}: {found:#?}");
        assert_eq!(count("update"), 6 * 3, "{mode}");
        // A new key is a row that goes and one that comes.
        assert_eq!(count("delete"), 6 + 1 + 2, "{mode}");
        assert!(
            found
                .iter()
                .any(|e| e.table == "permission_implication" && e.what == "truncate")
        );
        assert_eq!(found.len(), 9 + 18 + 9 + 1, "{mode}");
        for e in found.iter().filter(|e| e.what == "update") {
            assert_eq!(
                e.before.as_ref().unwrap()["project_id"],
                e.after.as_ref().unwrap()["project_id"]
            );
            assert_ne!(e.before, e.after);
        }
    }
}

/// PITFALLS 22: the clock is not the order of changes. One that comes back to a state of which the event has a later time
/// is a change all the same.
#[test]
fn a_clock_that_goes_back_loses_no_event() {
    let db = Db::new();
    let mut c = db.connect();
    make::principal(&mut c, "alice");
    let named = |name: &str| {
        format!(
            "UPDATE authz.principal SET display_name = '{name}' WHERE principal_id = '{}'",
            id("alice")
        )
    };
    execute(&mut c, &named("one"));
    execute(
        &mut c,
        "ALTER TABLE authz.access_change_event DISABLE TRIGGER guard_change;
         UPDATE authz.access_change_event SET occurred_at = '2100-01-01'
          WHERE after_value ->> 'display_name' = 'one';
         ALTER TABLE authz.access_change_event ENABLE ALWAYS TRIGGER guard_change",
    );
    for name in ["two", "one", "two", "one"] {
        let found = events_of(&mut c, |c| execute(c, &named(name)));
        assert_eq!(found.len(), 1, "{name}: {found:#?}");
    }
}

#[test]
fn secrets_stay_out() {
    let db = Db::new();
    let mut c = db.connect();
    make::principal(&mut c, "alice");
    let found = events_of(&mut c, |c| {
        execute(
            c,
            &with_ids(
                "INSERT INTO authz.account_security (principal_id, password_hash, mfa_secret_encrypted) VALUES ('{alice}', 'hunter2', 'hunter3');
                 UPDATE authz.account_security SET password_hash = 'hunter4';
                 UPDATE authz.account_security SET failed_login_attempts = 3, last_login_at = now();
                 UPDATE authz.account_security SET mfa_enabled = true, failed_login_attempts = 0;
                 INSERT INTO authz.signing_key (kid, issuer, audience, algorithm, secret)
                 VALUES ('k', 'i', 'a', 'HS256', decode(repeat('6162636465666768', 5), 'hex'));
                 UPDATE authz.signing_key SET valid_until = now()",
            ),
        );
    });
    let kinds: Vec<_> = found.iter().map(|e| (e.table.as_str(), e.what.as_str())).collect();
    assert_eq!(
        kinds,
        [
            ("account_security", "insert"),
            ("account_security", "update"),
            ("account_security", "update"),
            ("signing_key", "insert"),
            ("signing_key", "close")
        ]
    );
    let text: String = value(
        &mut c,
        "SELECT string_agg(e::text, ' ') FROM authz.access_change_event AS e",
        &[],
    );
    for secret in ["hunter", "68756e746572", "6162636465666768"] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert_eq!(found[0].after.as_ref().unwrap()["password_hash"], "[redacted]");
    assert_eq!(found[3].after.as_ref().unwrap()["secret"], "[redacted]");
    assert_eq!(found[0].target, Some(id("alice")));
}

/// Evidence stays, also against the owner and in a replica session (R52, PITFALLS 20).
#[test]
fn events_are_append_only() {
    let db = Db::new();
    let mut c = db.connect();
    make::tenant(&mut c, "acme");
    let before = ids(&mut c);
    for mode in ["origin", "replica", "local"] {
        execute(&mut c, &format!("SET session_replication_role = {mode}"));
        for sql in [
            "UPDATE authz.access_change_event SET reason = 'x'",
            "UPDATE authz.access_change_event SET occurred_at = now() WHERE change_type = 'insert'",
            "DELETE FROM authz.access_change_event",
            "TRUNCATE authz.access_change_event",
            "TRUNCATE authz.tenant, authz.access_change_event CASCADE",
            "INSERT INTO authz.access_change_event (event_id, change_type, table_name, row_key)
             SELECT event_id, 'delete', 'x', 'x' FROM authz.access_change_event ON CONFLICT (event_id) DO UPDATE SET reason = 'x'",
            "MERGE INTO authz.access_change_event AS e USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE",
        ] {
            refused_with_hint(&mut c, sql, "55000", &["append-only"]);
        }
    }
    assert_eq!(ids(&mut c), before);
    let role = db.role();
    let mut stranger = db.connect_as(&role);
    for sql in [
        "SELECT * FROM authz.access_change_event",
        "INSERT INTO authz.access_change_event DEFAULT VALUES",
    ] {
        authz_tests::refused(&mut stranger, sql, "42501", &[]);
    }
}

/// Functions that change authority say who and why, also in tables that have no column for it.
#[test]
fn functions_say_who_and_why() {
    let office = Office::open();
    let mut owner = office.owner();
    let found = events_of(&mut owner, |_| {
        let mut tina = office.as_("tina");
        execute(&mut tina, "SET authz.change_reason = 'by the setting'");
        made(
            &mut tina,
            "authz_join_team('{alice}', '{north}', '{acme}', reason => 'by the call')",
        );
        execute(
            &mut tina,
            &with_ids("SELECT authz_leave_team('{alice}', '{north}', '{acme}')"),
        );
        let kept: String = value(&mut tina, "SHOW authz.change_reason", &[]);
        assert_eq!(kept, "by the setting");
        execute(
            &mut tina,
            &with_ids("SELECT authz_revoke_member('{alice}', '{acme}', 'left')"),
        );
    });
    let said: Vec<_> = found
        .iter()
        .map(|e| {
            (
                e.table.as_str(),
                e.what.as_str(),
                e.reason.as_deref(),
                e.actor,
                e.role.as_str(),
            )
        })
        .collect();
    let tina = Some(id("tina"));
    let role = office.role();
    assert_eq!(
        said[0],
        ("team_membership_history", "insert", Some("by the call"), tina, role)
    );
    assert_eq!(
        said[1],
        ("team_membership_history", "close", Some("by the setting"), tina, role)
    );
    assert!(said[2..].iter().all(|s| s.2 == Some("left") && s.3 == tina), "{said:?}");
    assert!(said[2..].iter().any(|s| s.0 == "tenant_membership" && s.1 == "close"));
}

fn everything(c: &mut Client) -> BTreeSet<String> {
    c.query("SELECT e::text FROM authz.access_change_event AS e", &[])
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect()
}

/// A dump has the events, and restoring it makes no new ones (PITFALLS 34); the restored database records as before.
#[test]
fn a_restore_invents_no_events() {
    let office = Office::open();
    let mut c = office.owner();
    let mut tina = office.as_("tina");
    made(
        &mut tina,
        "authz_assign_role('{alice}', 'viewer', '{acme}', reason => 'r')",
    );
    execute(
        &mut tina,
        &with_ids(
            "SELECT authz_revoke_role('{alice}', 'viewer', '{acme}', reason => 'r');
             SELECT authz_suspend_member('{bob}', '{acme}', 'r'); SELECT authz_resume_member('{bob}', '{acme}', 'r');
             SELECT authz_revoke_member('{alice}', '{acme}', 'r'); SELECT authz_add_member('{alice}', '{acme}', reason => 'r')",
        ),
    );
    execute(
        &mut c,
        &with_ids(
            "SET authz.change_reason = 'by hand';
             UPDATE authz.principal SET status = 'suspended' WHERE principal_id = '{bob}';
             UPDATE authz.principal SET locked_until = now() + interval '1 day' WHERE principal_id = '{gus}';
             UPDATE authz.permission_definition SET requires_mfa = true, description = 'new' WHERE permission_code = 'role.assign';
             INSERT INTO authz.account_security (principal_id, password_hash) VALUES ('{bob}', 'x');
             UPDATE authz.account_security SET password_hash = 'y', locked_until = now() + interval '1 hour';
             INSERT INTO authz.sod_constraint (constraint_name, role_codes) VALUES ('s', '{viewer,approver}');
             DELETE FROM authz.permission_definition WHERE permission_code = 'page.edit' AND false;
             UPDATE authz.tenant SET name = 'Acme Ltd' WHERE slug = 'acme'",
        ),
    );
    let before = everything(&mut c);
    let dump = std::env::temp_dir().join(format!("{}.dump", office.db.name));
    run(office
        .db
        .command("pg_dump")
        .args(["--format=custom", "--file"])
        .arg(&dump));
    let restored = Db::with(Start::Empty);
    run(restored
        .command("pg_restore")
        .args(["--exit-on-error", "--dbname", &restored.name])
        .arg(&dump));
    let mut r = restored.connect();
    let after = everything(&mut r);
    let invented: Vec<_> = after.difference(&before).collect();
    let lost: Vec<_> = before.difference(&after).collect();
    assert!(
        invented.is_empty() && lost.is_empty(),
        "invented {invented:#?}, lost {lost:#?}"
    );
    let kept: bool = value(
        &mut r,
        "SELECT requires_mfa AND description = 'new' FROM authz.permission_definition WHERE permission_code = 'role.assign'",
        &[],
    );
    assert!(kept, "what was changed of a system permission");
    let found = events_of(&mut r, |r| {
        execute(
            r,
            "UPDATE authz.tenant SET name = 'x' WHERE slug = 'acme'; UPDATE authz.tenant SET name = 'Acme Ltd' WHERE slug = 'acme'",
        );
    });
    assert_eq!(found.len(), 2, "{found:#?}");
    std::fs::remove_file(&dump).unwrap();
}

/// Waits until a query gives true.
#[track_caller]
fn wait_for(c: &mut Client, what: &str, query: &str) {
    let end = Instant::now() + Duration::from_secs(180);
    while !value::<bool>(c, query, &[]) {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
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

/// R43, R51: whoever lets reads of an audited view go on without their event, or drops the view, is on record.
#[test]
fn weaker_auditing_leaves_events() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    execute(&mut c, "CREATE SCHEMA s; CREATE TABLE s.t (id integer)");
    let found = events_of(&mut c, |c| {
        execute(
            c,
            "SELECT authz_create_audited_view('s.v', 'SELECT id FROM s.t', security_invoker => true)",
        );
        execute(c, "SELECT authz_alter_audited_view('s.v', 'log')");
        execute(c, "SET authz.change_reason = 'ticket 9'; DROP SCHEMA s CASCADE");
    });
    let [made, weaker, gone] = found.as_slice() else {
        panic!("{found:#?}")
    };
    assert!(found.iter().all(|e| e.table == "audited_view"));
    assert_eq!(made.after.as_ref().unwrap()["on_failure"], "error");
    assert_eq!(
        (
            &made.after.as_ref().unwrap()["target"],
            made.key.as_str(),
            made.what.as_str()
        ),
        (&Value::from("s.v"), gone.key.as_str(), "insert")
    );
    assert_eq!(weaker.before.as_ref().unwrap()["on_failure"], "error");
    assert_eq!(weaker.after.as_ref().unwrap()["on_failure"], "log");
    assert_eq!(gone.what, "delete");
    assert_eq!(gone.reason.as_deref(), Some("DROP SCHEMA s.v: ticket 9"));
    let left: String = value(&mut c, "SELECT current_setting('authz.change_reason')", &[]);
    assert_eq!(left, "ticket 9");
    // By hand, and where triggers are off for others.
    execute(
        &mut c,
        "CREATE SCHEMA s; SELECT authz_create_audited_view('s.v', 'SELECT 1 AS one', security_invoker => true)",
    );
    let found = events_of(&mut c, |c| {
        execute(
            c,
            "SET session_replication_role = replica; UPDATE authz.audited_view SET on_failure = 'log'",
        );
    });
    assert_eq!(found.len(), 1, "{found:#?}");
}

/// R32, R44, R51: what is let out of the database, and by whose word, is on record, also where it was done by hand.
#[test]
fn exports_and_feeds_leave_events() {
    let mut w = authz_tests::exports::Exports::new();
    let mut rex = w.of("rex");
    let export = authz_tests::exports::request(&mut rex, ", unmasked => true");
    let key = export.to_string();
    let found = events_of(&mut w.admin, |c| {
        execute(
            c,
            &format!("UPDATE authz.data_export_job SET approved_by = '{}'", id("ann")),
        );
    });
    let [by_hand] = found.as_slice() else {
        panic!("{found:#?}")
    };
    assert_eq!(
        (by_hand.table.as_str(), &by_hand.key, by_hand.actor),
        ("data_export_job", &key, None)
    );
    assert_eq!(
        by_hand.after.as_ref().unwrap()["approved_by"],
        Value::from(id("ann").to_string())
    );
    // How it went is in the access events.
    let found = events_of(&mut w.admin, |_| {
        authz_tests::exports::run_export(&mut rex, export);
    });
    assert!(found.is_empty(), "{found:#?}");
    let found = events_of(&mut w.admin, |_| {
        execute(
            &mut rex,
            &format!("SELECT authz_end_export('{export}', 'no longer needed')"),
        );
    });
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].actor, Some(id("rex")));
    let found = events_of(&mut w.admin, |c| {
        execute(
            c,
            "SELECT authz_create_feed('public.claim_feed', 'public.claim');
             CREATE TABLE public.copy AS SELECT * FROM public.claim_feed; SELECT authz_register_copy('public.claim_feed', 'public.copy');
             SELECT authz_create_feed('public.claim_feed', 'public.claim', up_to => 'pii'); DELETE FROM authz.feed",
        );
    });
    let what: BTreeSet<String> = found.iter().map(|e| format!("{} {}", e.table, e.what)).collect();
    let expected = [
        "feed insert",
        "feed_copy insert",
        "feed update",
        "feed delete",
        "feed_copy delete",
    ];
    assert_eq!(what, expected.map(str::to_owned).into());
}
