//! A check answers as `authz_can` does and leaves one event, there once and in order, or fails where none can be written (R50).

use crate::{check, count, fill};
use authz_tests::cluster::Cluster;
use authz_tests::make::{self, id};
use authz_tests::session::act_with;
use authz_tests::waiting::soon;
use authz_tests::{Db, Start, execute, refused, refused_with_hint, value};
use std::time::Duration;
use uuid::Uuid;

#[test]
fn a_check_answers_and_leaves_one_event() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    assert!(check(&mut c, "case.view"));
    assert!(!check(&mut c, "case.edit"));
    let rows = c
        .query(
            "SELECT tenant_id, principal_id, action_code, resource_type, resource_id, access_result, policy_reason,
                    asked_by, db_role::text, context = '{}', abs(extract(epoch FROM clock_timestamp() - occurred_at)) < 60
               FROM authz.access_audit_event ORDER BY occurred_at",
            &[],
        )
        .unwrap();
    assert_eq!(rows.len(), 2);
    for (row, (action, result, reason)) in rows.iter().zip([
        ("case.view", "allowed", None),
        ("case.edit", "denied", Some("no_grant")),
    ]) {
        assert_eq!(row.get::<_, Option<Uuid>>(0), Some(id("acme")));
        assert_eq!(row.get::<_, Option<Uuid>>(1), Some(id("alice")));
        assert_eq!(row.get::<_, String>(2), action);
        assert_eq!(row.get::<_, String>(3), "case");
        assert_eq!(row.get::<_, String>(4), id("affair").to_string());
        assert_eq!(row.get::<_, String>(5), result);
        assert_eq!(row.get::<_, Option<String>>(6).as_deref(), reason);
        assert_eq!(row.get::<_, Option<Uuid>>(7), None);
        assert_eq!(row.get::<_, String>(8), "postgres");
        assert!(row.get::<_, bool>(9) && row.get::<_, bool>(10));
    }
}

#[test]
fn the_answer_is_that_of_authz_can_for_every_form_of_the_question() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let (alice, affair) = (id("alice"), id("affair"));
    for (n, arguments) in [
        format!("'{alice}', 'case.view', '{affair}'::uuid"),
        format!("'{alice}', 'case.view', '{affair}'::text"),
        format!("'{alice}', 'case.view', '{affair}'::uuid, '{}'::uuid", id("acme")),
        format!("'{alice}', 'case.view', '{affair}'::uuid, '{}'::uuid", id("elsewhere")),
        format!("'{alice}', 'case.view', '{affair}'::uuid, context => '{{\"mfa\": true}}'"),
        format!("'{alice}', 'case.view', 7::bigint"),
        format!("'{alice}', 'case.view', NULL::uuid"),
        format!("NULL, 'case.view', '{affair}'::uuid"),
        format!("'{alice}', NULL, '{affair}'::uuid"),
        format!("'{}', 'case.view', '{affair}'::uuid", id("nobody")),
        format!("'{}', 'case.view', '{affair}'::uuid", id("bob")),
    ]
    .iter()
    .enumerate()
    {
        let can: bool = value(&mut c, &format!("SELECT authz_can({arguments})"), &[]);
        let checked: bool = value(&mut c, &format!("SELECT authz_check({arguments})"), &[]);
        assert_eq!(can, checked, "{arguments}");
        assert_eq!(count(&mut c), n as i64 + 1, "{arguments}");
        let recorded: String = value(
            &mut c,
            "SELECT access_result FROM authz.access_audit_event ORDER BY occurred_at DESC LIMIT 1",
            &[],
        );
        assert_eq!(recorded == "allowed", can, "{arguments}");
    }
    refused_with_hint(
        &mut c,
        &format!("SELECT authz_check('{alice}', 'case.veiw', '{affair}'::uuid)"),
        "42704",
        &["case.view"],
    );
}

#[test]
fn require_returns_or_fails_the_same_way_for_absent_and_forbidden() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let mut app = db.connect_as(&db.role());
    let ask = |what: &str, case: &str| format!("SELECT authz_require('{what}', '{}'::uuid)", id(case));
    // Without a session.
    refused_with_hint(&mut app, &ask("case.view", "affair"), "42501", &["case.view"]);
    execute(
        &mut c,
        &format!(
            "GRANT EXECUTE ON FUNCTION authz_set_session TO {}",
            value::<String>(&mut app, "SELECT current_user::text", &[])
        ),
    );
    act_with(&mut app, "alice", None, "{}");
    execute(&mut app, &ask("case.view", "affair"));
    let forbidden = refused(&mut app, &ask("case.edit", "affair"), "42501", &[]);
    let absent = refused(&mut app, &ask("case.edit", "no such case"), "42501", &[]);
    assert_eq!(forbidden, absent);
    // Only the allowed one is a row: without background workers denials are in the server's log.
    assert_eq!(count(&mut c), 1);
    assert!(value::<i64>(&mut app, "SELECT audit_logged FROM authz_stats()", &[]) >= 3);
    assert_eq!(
        value::<String>(&mut app, "SELECT audit_outlet FROM authz_stats()", &[]),
        "log"
    );
}

#[test]
fn where_nothing_can_be_written_a_check_is_0a000_and_authz_can_still_answers() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    execute(&mut c, "BEGIN READ ONLY");
    assert!(make::can(&mut c, id("alice"), "case.view", id("affair")));
    for sql in [
        format!(
            "SELECT authz_check('{}', 'case.view', '{}'::uuid)",
            id("alice"),
            id("affair")
        ),
        format!("SELECT authz_require('case.view', '{}'::uuid)", id("affair")),
    ] {
        execute(&mut c, "SAVEPOINT s");
        refused_with_hint(&mut c, &sql, "0A000", &["authz_can", "read-only"]);
        execute(&mut c, "ROLLBACK TO s");
    }
    execute(&mut c, "ROLLBACK");
    assert_eq!(count(&mut c), 0);

    let primary = Cluster::start(&["wal_level = replica", "max_wal_senders = 5"]);
    let db = Db::on(&primary.server, Start::Fixture);
    fill(&mut db.connect());
    let standby = primary.standby();
    let mut s = standby.server.connect(&db.name, "postgres");
    soon("the standby has it all", || {
        make::can(&mut s, id("alice"), "case.view", id("affair"))
    });
    refused_with_hint(
        &mut s,
        &format!(
            "SELECT authz_check('{}', 'case.view', '{}'::uuid)",
            id("alice"),
            id("affair")
        ),
        "0A000",
        &["authz_can", "standby"],
    );
    drop(s);
}

/// In savepoints, loops and under a lock on somebody else's row: one event for each check that is committed.
#[test]
fn events_of_what_is_committed_are_there_once() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    execute(&mut c, "BEGIN");
    check(&mut c, "case.view");
    execute(&mut c, "SAVEPOINT a");
    check(&mut c, "case.view");
    execute(&mut c, "RELEASE a; SAVEPOINT b");
    check(&mut c, "case.view");
    execute(&mut c, "ROLLBACK TO b");
    execute(&mut c, "COMMIT");
    assert_eq!(count(&mut c), 2);
    execute(
        &mut c,
        &format!(
            "DO $$ BEGIN FOR n IN 1 .. 50 LOOP
                BEGIN
                    PERFORM authz_check('{}', 'case.view', '{}'::uuid);
                    IF n % 2 = 0 THEN RAISE EXCEPTION 'x'; END IF;
                EXCEPTION WHEN raise_exception THEN NULL; END;
             END LOOP; END $$",
            id("alice"),
            id("affair")
        ),
    );
    assert_eq!(count(&mut c), 27);
    assert_eq!(value::<i64>(&mut c, "SELECT audit_logged FROM authz_stats()", &[]), 26);
}

/// Later keys are greater, so that inserts meet in the same pages of the index.
#[test]
fn ids_of_events_grow_with_time() {
    let db = Db::new();
    fill(&mut db.connect());
    let mut c = db.connect();
    let mut last = Uuid::nil();
    for _ in 0..5 {
        let next: Uuid = value(
            &mut c,
            "SELECT authz.record_access('x', NULL, NULL, NULL, 'allowed')",
            &[],
        );
        assert!(next > last);
        last = next;
        std::thread::sleep(Duration::from_millis(2));
    }
}
