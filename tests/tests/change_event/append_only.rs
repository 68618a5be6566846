//! Events stay as they are, and what weakens auditing leaves events too (R52, PITFALLS 20).

use crate::{events_of, ids};
use authz_tests::make;
use authz_tests::{Db, Start, execute, refused_with_hint, value};
use serde_json::Value;

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
