//! Events and seals stay: neither owners nor runtime roles change them, and a dump keeps them all (R52, PITFALLS 34).

use crate::{check, count, fill};
use authz_tests::dump::{Dump, Format};
use authz_tests::{Db, execute, refused, refused_with_hint, report, value};

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
    for format in Format::ALL {
        let restored = Dump::of(&db, format).restored();
        let mut r = restored.connect();
        assert_eq!(before, value::<String>(&mut r, all, &[]), "{format:?}");
        let verified = r
            .query_one("SELECT valid, detail FROM authz_audit_verify($1)", &[&head])
            .unwrap_or_else(|e| panic!("{}", report(&e)));
        assert!(
            verified.get::<_, bool>(0),
            "{format:?}: {:?}",
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
            assert!(valid, "{format:?}");
        }
        assert_eq!(
            value::<i32>(&mut r, "SELECT authz.prepare_audit_partitions(5)", &[]),
            5,
            "{format:?}"
        );
        assert!(value::<bool>(
            &mut r,
            "SELECT valid FROM authz_audit_verify($1)",
            &[&head]
        ));
        execute(&mut r, "DROP EXTENSION authz_ext");
    }
}
