//! Access events (R50, R52): what they say, who can make them say something else (nobody), where they are kept.

use std::time::{Duration, Instant};

use authz_tests::cluster::Cluster;
use authz_tests::make::{self, id};
use authz_tests::waiting::soon;
use authz_tests::{Db, Start, execute, refused, refused_with_hint, report, run, value};
use postgres::{Client, GenericClient};
use uuid::Uuid;

/// Alice may view the case `affair` and not edit it.
fn fill(c: &mut Client) {
    fill_unprepared(c);
    execute(c, "SELECT authz.prepare_audit_partitions(2)");
}

fn fill_unprepared(c: &mut Client) {
    let acme = make::tenant(c, "acme");
    make::role(c, "viewer", &["case.view"]);
    make::member(c, acme, "alice");
    make::member(c, acme, "bob");
    make::case(c, acme, "affair");
    make::assign(c, acme, id("alice"), "viewer", "tenant", acme);
}

fn check(c: &mut impl GenericClient, permission: &str) -> bool {
    value(
        c,
        "SELECT authz_check($1::uuid, $2, $3::uuid)",
        &[&id("alice"), &permission, &id("affair")],
    )
}

/// Begins a session for the connection.
fn act_as(c: &mut Client, name: &str, context: &str) {
    execute(
        c,
        &format!("SELECT authz_set_session('{}', NULL, '{context}', false)", id(name)),
    );
}

fn count(c: &mut impl GenericClient) -> i64 {
    value(c, "SELECT count(*) FROM authz.access_audit_event", &[])
}

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
    act_as(&mut app, "alice", "{}");
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

/// PITFALLS 12: whoever asks cannot choose what the event says of him.
#[test]
fn the_actor_is_not_supplied_by_the_caller() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let role = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT EXECUTE ON FUNCTION authz_set_session TO {role}; CREATE ROLE {role}_other; GRANT {role}_other TO {role}"
        ),
    );
    let mut app = db.connect_as(&role);
    act_as(
        &mut app,
        "bob",
        r#"{"request_id": "real", "source_ip": "192.0.2.7", "user_agent": "browser"}"#,
    );
    execute(&mut app, &format!("SET ROLE {role}_other"));
    let _: bool = value(
        &mut app,
        r#"SELECT authz_check($1::uuid, 'case.view', $2::uuid, NULL,
            '{"request_id": "forged", "source_ip": "198.51.100.1", "user_agent": "forged", "asked_by": "forged", "db_role": "forged"}')"#,
        &[&id("alice"), &id("affair")],
    );
    let row = c
        .query_one(
            "SELECT principal_id, asked_by, db_role::text, request_id, host(source_ip), user_agent, context ->> 'request_id'
               FROM authz.access_audit_event",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, Uuid>(0), id("alice"));
    assert_eq!(row.get::<_, Uuid>(1), id("bob"));
    assert_eq!(row.get::<_, String>(2), role);
    assert_eq!(row.get::<_, String>(3), "real");
    assert_eq!(row.get::<_, String>(4), "192.0.2.7");
    assert_eq!(row.get::<_, String>(5), "browser");
    // What was said to the decision is kept as what was said.
    assert_eq!(row.get::<_, String>(6), "forged");
    execute(&mut app, "RESET ROLE");
    drop(app);
    execute(&mut c, &format!("DROP ROLE {role}_other"));
}

/// Whatever is in the context, the event is written.
#[test]
fn no_context_keeps_an_event_from_being_written() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    for (n, context) in [
        r#"{"source_ip": "nowhere"}"#,
        r#"{"source_ip": "10.0.0.1/99"}"#,
        r#"{"source_ip": 7, "request_id": {"a": [1]}, "user_agent": null}"#,
        r#"{"source_ip": "fe80::1%eth0"}"#,
        r#"{"request_id": "line\nfeed \"quoted\" \\ \u2028"}"#,
        "[1, 2]",
        "\"text\"",
        "null",
    ]
    .iter()
    .enumerate()
    {
        for side in ["call", "session"] {
            match side {
                "call" => execute(
                    &mut c,
                    &format!(
                        "SELECT authz_check('{}', 'case.view', '{}'::uuid, context => '{context}')",
                        id("alice"),
                        id("affair")
                    ),
                ),
                _ if context.starts_with('{') => {
                    act_as(&mut c, "alice", context);
                    execute(
                        &mut c,
                        &format!("SELECT authz_require('case.view', '{}'::uuid)", id("affair")),
                    );
                    execute(&mut c, "SELECT authz_clear_session()");
                }
                _ => continue,
            }
            assert!(count(&mut c) > n as i64, "{context}");
        }
    }
}

/// An id that is too long for the index of events does not keep the event from being written, nor the question from being
/// answered.
#[test]
fn no_length_keeps_an_event_from_being_written() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    // Random, so that it cannot be compressed.
    let long = "(SELECT string_agg(gen_random_uuid()::text, 'ä') FROM generate_series(1, 1000))";
    let allowed: bool = value(
        &mut c,
        &format!("SELECT authz_check($1::uuid, 'case.view', {long})"),
        &[&id("alice")],
    );
    assert!(!allowed);
    execute(
        &mut c,
        &format!("SELECT authz.record_access({long}, {long}, {long}, NULL, 'denied', {long})"),
    );
    assert_eq!(count(&mut c), 2);
    let cut: bool = value(
        &mut c,
        "SELECT bool_and(resource_id LIKE '%...' AND octet_length(resource_id) <= 2000) FROM authz.access_audit_event",
        &[],
    );
    assert!(cut);
}

/// R52: not by the owner, not by a superuser, not in replica mode, not on a partition; TRUNCATE is refused apart.
#[test]
fn events_and_seals_are_append_only() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    check(&mut c, "case.view");
    execute(
        &mut c,
        "SELECT authz.prepare_audit_partitions(1); SELECT authz_audit_seal()",
    );
    let owner = db.role();
    execute(
        &mut c,
        &format!("GRANT ALL ON ALL TABLES IN SCHEMA authz TO {owner}; GRANT USAGE ON SCHEMA authz TO {owner}"),
    );
    let mut tables: Vec<String> = c
        .query(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'authz.access_audit_event'::regclass",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(tables.len() >= 3, "{tables:?}");
    tables.push("authz.access_audit_event".to_owned());
    tables.push("authz.audit_seal".to_owned());
    let mut o = db.connect_as(&owner);
    let before: String = value(
        &mut c,
        "SELECT md5(string_agg(e::text, '')) FROM authz.access_audit_event e",
        &[],
    );
    for mode in ["origin", "replica", "local"] {
        execute(&mut c, &format!("SET session_replication_role = {mode}"));
        for table in &tables {
            let rows: i64 = value(&mut c, &format!("SELECT count(*) FROM {table}"), &[]);
            let column = if table.ends_with("seal") {
                "events"
            } else {
                "user_agent"
            };
            for sql in [
                format!("UPDATE {table} SET {column} = {column}"),
                format!("DELETE FROM {table}"),
                format!("TRUNCATE {table}"),
                format!("TRUNCATE {table} CASCADE"),
            ] {
                if rows == 0 && !sql.starts_with("TRUNCATE") {
                    continue;
                }
                refused_with_hint(&mut c, &sql, "55000", &["append-only"]);
                refused_with_hint(&mut o, &sql, "55000", &["append-only"]);
            }
        }
    }
    // An upsert cannot update, and a merge cannot either.
    refused(
        &mut c,
        "INSERT INTO authz.access_audit_event_default SELECT * FROM authz.access_audit_event
         ON CONFLICT (audit_id) DO UPDATE SET user_agent = 'x'",
        "23514",
        &[],
    );
    let after: String = value(
        &mut c,
        "SELECT md5(string_agg(e::text, '')) FROM authz.access_audit_event e",
        &[],
    );
    assert_eq!(before, after);
}

#[test]
fn a_runtime_role_can_neither_read_nor_write_events_itself() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let mut app = db.connect_as(&db.role());
    assert!(check(&mut app, "case.view"));
    for sql in [
        "SELECT * FROM authz.access_audit_event",
        "INSERT INTO authz.access_audit_event (action_code, access_result) VALUES ('x', 'allowed')",
        "SELECT authz.record_access('x', NULL, NULL, NULL, 'allowed')",
        "SELECT authz.record_denial('x', NULL, NULL, NULL, 'denied')",
        "SELECT authz.prepare_audit_partitions(1)",
        "SELECT authz_audit_seal()",
        "SELECT authz_audit_verify()",
        "SELECT authz_audit_head()",
        "SELECT authz_archive_audit(now())",
    ] {
        refused(&mut app, sql, "42501", &[]);
    }
    // Nor through objects of the same names that come first.
    execute(
        &mut app,
        "CREATE TEMP TABLE access_audit_event (LIKE pg_catalog.pg_class);
         CREATE FUNCTION pg_temp.pg_current_xact_id() RETURNS xid8 LANGUAGE sql AS 'SELECT NULL::xid8';
         CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';
         SET search_path = pg_temp, public",
    );
    assert!(check(&mut app, "case.view"));
    assert_eq!(count(&mut c), 2);
}

#[test]
fn what_the_recording_functions_refuse() {
    let db = Db::new();
    let mut c = db.connect();
    for result in ["'maybe'", "NULL", "''"] {
        for function in ["record_access", "record_denial"] {
            refused_with_hint(
                &mut c,
                &format!("SELECT authz.{function}('x', 'case', '1', NULL, {result})"),
                "22023",
                &["access_result"],
            );
        }
    }
    let audit_id: Uuid = value(
        &mut c,
        "SELECT authz.record_access('export.run', 'tenant', '1', NULL, 'allowed', context => '{\"rows\": 7}')",
        &[],
    );
    let rows: i64 = value(
        &mut c,
        "SELECT count(*) FROM authz.access_audit_event WHERE audit_id = $1 AND context ->> 'rows' = '7'",
        &[&audit_id],
    );
    assert_eq!(rows, 1);
    for months in ["-1", "121", "NULL"] {
        refused_with_hint(
            &mut c,
            &format!("SELECT authz.prepare_audit_partitions({months})"),
            "22023",
            &["months"],
        );
    }
    refused_with_hint(
        &mut c,
        "SELECT authz_archive_audit(now() + interval '1 day')",
        "22023",
        &[],
    );
    refused_with_hint(&mut c, "SELECT authz_audit_verify('authz1:x')", "22023", &["anchor"]);
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

#[test]
fn the_first_event_of_a_month_that_nobody_prepared_makes_its_partition() {
    let db = Db::new();
    let mut c = db.connect();
    fill_unprepared(&mut c);
    let others = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'authz.access_audit_event'::regclass";
    assert_eq!(value::<i64>(&mut c, others, &[]), 1);
    assert!(check(&mut c, "case.view"));
    soon("a background worker makes partitions", || {
        value::<i64>(&mut c, others, &[]) >= 5
    });
    assert!(check(&mut c, "case.view"));
    let placed: String = value(
        &mut c,
        "SELECT string_agg(DISTINCT tableoid::regclass::text, ' ') FROM authz.access_audit_event",
        &[],
    );
    let month: String = value(
        &mut c,
        "SELECT to_char(now() AT TIME ZONE 'UTC', '\"authz.access_audit_event_y\"YYYY\"m\"MM')",
        &[],
    );
    assert_eq!(placed, month, "the first event was moved, the second went there");
    assert_eq!(count(&mut c), 2);
}

#[test]
fn preparing_moves_rows_waits_for_nobody_and_lets_nobody_wait() {
    let db = Db::new();
    let mut c = db.connect();
    for month in [
        "2025-01-31 23:59:59.999999Z",
        "2025-02-01 00:00Z",
        "2024-02-29Z",
        "1999-12-31Z",
    ] {
        execute(
            &mut c,
            &format!(
                "INSERT INTO authz.access_audit_event (action_code, access_result, occurred_at) VALUES ('x', 'allowed', '{month}')"
            ),
        );
    }
    // Somebody is writing, and does not end.
    let mut writer = db.connect();
    execute(
        &mut writer,
        "BEGIN; INSERT INTO authz.access_audit_event (action_code, access_result, occurred_at) VALUES ('x', 'allowed', '2025-01-01')",
    );
    let begin = Instant::now();
    refused_with_hint(&mut c, "SELECT authz.prepare_audit_partitions(0)", "55P03", &[]);
    assert!(begin.elapsed() < Duration::from_secs(10));
    let preparing = std::thread::spawn({
        let mut p = db.connect();
        move || {
            p.batch_execute("SELECT authz.prepare_audit_partitions(0)")
                .map_err(|e| report(&e))
        }
    });
    std::thread::sleep(Duration::from_millis(300));
    let mut other = db.connect();
    let begin = Instant::now();
    execute(
        &mut other,
        "SET statement_timeout = '5s'; INSERT INTO authz.access_audit_event (action_code, access_result, occurred_at) VALUES ('x', 'denied', '2025-02-02')",
    );
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    execute(&mut writer, "COMMIT");
    assert_eq!(preparing.join().unwrap(), Ok(()));
    let placed: Vec<String> = c
        .query(
            "SELECT tableoid::regclass || ' ' || count(*) FROM authz.access_audit_event GROUP BY tableoid ORDER BY 1",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let expected = [
        "authz.access_audit_event_y1999m12 1",
        "authz.access_audit_event_y2024m02 1",
        "authz.access_audit_event_y2025m01 2",
        "authz.access_audit_event_y2025m02 2",
    ];
    assert_eq!(placed, expected);
    // Moving has left the guard in place.
    refused_with_hint(&mut c, "DELETE FROM authz.access_audit_event", "55000", &[]);
    execute(
        &mut c,
        "INSERT INTO authz.access_audit_event (action_code, access_result, occurred_at) VALUES ('x', 'denied', '2031-02-02');",
    );
    refused_with_hint(&mut c, "DELETE FROM authz.access_audit_event_default", "55000", &[]);
    assert_eq!(value::<i32>(&mut c, "SELECT authz.prepare_audit_partitions(0)", &[]), 1);
    assert_eq!(value::<i32>(&mut c, "SELECT authz.prepare_audit_partitions(0)", &[]), 0);
}

#[test]
fn two_that_prepare_at_once_make_each_partition_once() {
    let db = Db::new();
    let made: i32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let mut c = db.connect();
                scope.spawn(move || value::<i32>(&mut c, "SELECT authz.prepare_audit_partitions(11)", &[]))
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(made, 12);
}

/// R52, PITFALLS 34: every row is in the dump, also those of partitions that a function made; and what is restored is
/// guarded, can be written, sealed and verified.
#[test]
fn dump_and_restore_keep_every_event_and_the_chain() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    execute(
        &mut c,
        "INSERT INTO authz.access_audit_event (action_code, access_result, occurred_at)
         SELECT 'x', 'allowed', '2025-01-15'::timestamptz + n * interval '7 days' FROM generate_series(1, 20) AS n;
         SELECT authz.prepare_audit_partitions(2);
         INSERT INTO authz.access_audit_event (action_code, access_result, occurred_at, context)
         VALUES ('y', 'denied', '2019-01-15', '{\"a\": [1.50, \"\\u00e9\"]}'), ('y', 'denied', '2035-01-15', '{}')",
    );
    check(&mut c, "case.view");
    execute(&mut c, "SELECT authz_audit_seal()");
    check(&mut c, "case.edit");
    let all = "SELECT count(*) || ' ' || md5(string_agg(tableoid::regclass || e::text, '' ORDER BY audit_id)) FROM authz.access_audit_event AS e";
    let before: String = value(&mut c, all, &[]);
    let head: String = value(&mut c, "SELECT authz_audit_head()", &[]);
    let dump = std::env::temp_dir().join(format!("{}.dump", db.name));
    for format in ["custom", "plain"] {
        run(db
            .command("pg_dump")
            .args([&format!("--format={format}"), "--file"])
            .arg(&dump));
        let restored = Db::with(Start::Empty);
        match format {
            "plain" => run(restored
                .command("psql")
                .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
                .arg(&dump)),
            _ => run(restored
                .command("pg_restore")
                .args(["--exit-on-error", "--dbname", &restored.name])
                .arg(&dump)),
        };
        std::fs::remove_file(&dump).unwrap();
        let mut r = restored.connect();
        assert_eq!(before, value::<String>(&mut r, all, &[]), "{format}");
        let verified = r
            .query_one("SELECT valid, detail FROM authz_audit_verify($1)", &[&head])
            .unwrap_or_else(|e| panic!("{}", report(&e)));
        assert!(
            verified.get::<_, bool>(0),
            "{format}: {:?}",
            verified.get::<_, Option<String>>(1)
        );
        for table in [
            "access_audit_event",
            "access_audit_event_default",
            "access_audit_event_y2025m02",
        ] {
            refused_with_hint(&mut r, &format!("DELETE FROM authz.{table}"), "55000", &["append-only"]);
            refused_with_hint(&mut r, &format!("TRUNCATE authz.{table}"), "55000", &["append-only"]);
        }
        // What was not sealed is sealed here, and life goes on.
        assert!(check(&mut r, "case.view"));
        for _ in 0..2 {
            execute(&mut r, "SELECT authz_audit_seal()");
            check(&mut r, "case.view");
            let valid: bool = value(&mut r, "SELECT valid FROM authz_audit_verify($1)", &[&head]);
            assert!(valid, "{format}");
        }
        assert_eq!(
            value::<i32>(&mut r, "SELECT authz.prepare_audit_partitions(5)", &[]),
            5,
            "{format}"
        );
        assert!(value::<bool>(
            &mut r,
            "SELECT valid FROM authz_audit_verify($1)",
            &[&head]
        ));
        execute(&mut r, "DROP EXTENSION authz_ext");
    }
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
