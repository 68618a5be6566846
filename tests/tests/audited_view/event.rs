//! What the events say: who has read what in which request (R43, PITFALLS 12).

use authz_tests::make::id;
use authz_tests::reading::{World, act};
use authz_tests::{execute, value};
use uuid::Uuid;

const READS: &str = "FROM authz.access_audit_event WHERE action_code = 'audited_view.read'";

#[test]
fn r43_pitfall_12_events_say_who_read_what_in_which_request() {
    let world = World::new();
    let mut admin = world.db.connect();
    let mut c = world.reader();
    execute(
        &mut c,
        &format!(
            "SELECT authz_set_session('{}', '{}', '{{\"request_id\": \"r-1\", \"source_ip\": \"10.1.2.3\", \"user_agent\": \"report\"}}', false);
             SELECT word FROM v WHERE id > 6",
            id("alice"),
            id("acme")
        ),
    );
    let row = admin
        .query_one(
            &format!(
                "SELECT principal_id, asked_by, tenant_id, request_id, host(source_ip), user_agent, resource_type, resource_id,
                        access_result, policy_reason, db_role::text, context, occurred_at <= now() {READS}"
            ),
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, Option<Uuid>>(0), Some(id("alice")));
    assert_eq!(row.get::<_, Option<Uuid>>(1), Some(id("alice")));
    assert_eq!(row.get::<_, Option<Uuid>>(2), Some(id("acme")));
    for (n, expected) in [
        (3, Some("r-1")),
        (4, Some("10.1.2.3")),
        (5, Some("report")),
        (6, Some("audited_view")),
        (7, Some("public.v")),
        (8, Some("allowed")),
        (9, None),
        (10, Some(world.reader.as_str())),
    ] {
        assert_eq!(row.get::<_, Option<&str>>(n), expected, "column {n}");
    }
    let context: serde_json::Value = row.get(11);
    assert_eq!(
        context,
        serde_json::json!({"surface": "public.v", "statement": "SELECT", "rows": 4, "outcome": "completed"})
    );
    assert!(row.get::<_, bool>(12));

    // A cursor is read by whom the session is when it is fetched from, not by who opened it.
    execute(
        &mut c,
        &format!(
            "SELECT authz_clear_session();
             BEGIN;
             DECLARE c CURSOR FOR SELECT * FROM v;
             SELECT authz_set_session('{}', NULL, '{{\"request_id\": \"late\"}}');
             FETCH 1 FROM c;
             SELECT authz_set_session('{}');
             FETCH 2 FROM c;
             COMMIT",
            id("bob"),
            id("alice")
        ),
    );
    let row = admin
        .query_one(
            &format!(
                "SELECT principal_id, context ->> 'rows', context -> 'also_read_by' {READS} AND request_id = 'late'"
            ),
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, Option<Uuid>>(0), Some(id("bob")));
    assert_eq!(row.get::<_, &str>(1), "3");
    assert_eq!(
        row.get::<_, serde_json::Value>(2),
        serde_json::json!([id("alice").to_string()])
    );

    // Whatever SET ROLE makes of it, the role that logged in is named; and a principal bound to it.
    execute(&mut admin, &format!("GRANT {} TO {}", world.owner, world.reader));
    let mut d = world.reader();
    execute(&mut d, &format!("SET ROLE {}; SELECT * FROM v", world.owner));
    let role: String = value(
        &mut admin,
        &format!("SELECT db_role::text {READS} AND request_id IS NULL ORDER BY occurred_at DESC LIMIT 1"),
        &[],
    );
    assert_eq!(role, world.reader);
    execute(
        &mut admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{}' WHERE principal_id = '{}'",
            world.reader,
            id("bob")
        ),
    );
    execute(&mut d, "RESET ROLE; SELECT * FROM v");
    let principal: Option<Uuid> = value(
        &mut admin,
        &format!("SELECT principal_id {READS} AND request_id IS NULL ORDER BY occurred_at DESC LIMIT 1"),
        &[],
    );
    assert_eq!(principal, Some(id("bob")));
}

/// Who has read through a function of its own, in rows that were never returned, does not pass for somebody else.
#[test]
fn r43_pitfall_12_a_cursor_without_rows_is_of_whoever_ran_it() {
    let world = World::new();
    let mut admin = world.db.connect();
    let mut c = world.reader();
    execute(
        &mut c,
        "CREATE TEMP TABLE leaked (word text);
         CREATE FUNCTION public.leak(word text) RETURNS boolean LANGUAGE sql VOLATILE AS
             'INSERT INTO leaked VALUES (word) RETURNING false'",
    );
    act(&mut c, "alice", "alice");
    execute(
        &mut c,
        "BEGIN; DECLARE c CURSOR FOR SELECT 1 FROM v WHERE public.leak(word); FETCH ALL FROM c",
    );
    act(&mut c, "bob", "bob");
    execute(&mut c, "FETCH ALL FROM c; COMMIT");
    assert_eq!(value::<i64>(&mut c, "SELECT count(*) FROM leaked", &[]), 10);
    let readers: Vec<String> = value(
        &mut admin,
        &format!("SELECT array_agg(concat(principal_id, ' and ', context -> 'also_read_by')) {READS}"),
        &[],
    );
    assert_eq!(readers, [format!("{} and [\"{}\"]", id("alice"), id("bob"))]);
}
