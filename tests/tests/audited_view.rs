//! Audited views (R43): each statement that reads one leaves exactly one event, however it reads, in clusters with the
//! library preloaded and without.

use authz_tests::cluster::Cluster;
use authz_tests::make::id;
use authz_tests::reading::{World, act, events, logged, settle};
use authz_tests::{execute, refused, report, value};
use postgres::Client;
use serde_json::Value;

const PRELOADED: &[&str] = &["shared_preload_libraries = authz_ext", "max_prepared_transactions = 5"];
const BARE: &[&str] = &["max_prepared_transactions = 5"];

/// Runs a step: SQL, or `!SQLSTATE SQL` that must fail so.
fn step(c: &mut Client, sql: &str) {
    if let Some(rest) = sql.strip_prefix('!') {
        let (code, sql) = rest.split_once(' ').expect("a code and a statement");
        refused(c, sql, code, &[]);
    } else if sql.starts_with("COPY") {
        let mut reader = c.copy_out(sql).unwrap_or_else(|e| panic!("{}", report(&e)));
        std::io::Read::read_to_end(&mut reader, &mut Vec::new()).expect("it is copied");
    } else {
        execute(c, sql);
    }
}

/// Each way of reading: its name, what is done, and the events in any order.
const WAYS: &[(&str, &[&str], &[&str])] = &[
    ("all", &["SELECT * FROM v"], &["v 10 completed"]),
    ("count", &["SELECT count(*) FROM v"], &["v 1 completed"]),
    ("limit", &["SELECT * FROM v LIMIT 3"], &["v 3 completed"]),
    ("none", &["SELECT * FROM v WHERE id > 10"], &["v 0 completed"]),
    ("never", &["SELECT * FROM v WHERE false"], &[]),
    (
        "explain",
        &["EXPLAIN SELECT * FROM v", "EXPLAIN (VERBOSE) SELECT * FROM v"],
        &[],
    ),
    (
        "explain_analyze",
        &["EXPLAIN ANALYZE SELECT * FROM v"],
        &["v 10 completed"],
    ),
    (
        "prepared",
        &[
            "SET plan_cache_mode = force_generic_plan",
            "PREPARE p (int) AS SELECT * FROM v WHERE id <= $1",
            "EXECUTE p (2)",
            "EXECUTE p (4)",
            "EXPLAIN ANALYZE EXECUTE p (5)",
            "EXPLAIN EXECUTE p (5)",
            "DEALLOCATE p",
            "RESET plan_cache_mode",
        ],
        &["v 2 completed", "v 4 completed", "v 5 completed"],
    ),
    (
        "cursor",
        &[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT * FROM v",
            "FETCH 3 FROM c",
            "FETCH 4 FROM c",
            "CLOSE c",
            "COMMIT",
        ],
        &["v 7 completed"],
    ),
    (
        "cursor_left_open",
        &[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT * FROM v",
            "FETCH 3 FROM c",
            "COMMIT",
        ],
        &["v 3 completed"],
    ),
    (
        "cursor_never_fetched",
        &["BEGIN", "DECLARE c CURSOR FOR SELECT * FROM v", "COMMIT"],
        &["v 0 completed"],
    ),
    (
        "cursor_held",
        &[
            "BEGIN",
            "DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT * FROM v",
            "FETCH 2 FROM c",
            "COMMIT",
            "FETCH 3 FROM c",
            "CLOSE c",
        ],
        &["v 10 completed"],
    ),
    (
        "cursor_backward",
        &[
            "BEGIN",
            "DECLARE c SCROLL CURSOR FOR SELECT * FROM v",
            "FETCH 4 FROM c",
            "FETCH BACKWARD 2 FROM c",
            "COMMIT",
        ],
        &["v 6 completed"],
    ),
    (
        "cursor_rolled_back",
        &[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT * FROM v",
            "FETCH 3 FROM c",
            "ROLLBACK",
        ],
        &["v 3 failed"],
    ),
    (
        "cursor_of_a_savepoint",
        &[
            "BEGIN",
            "SAVEPOINT s",
            "DECLARE c CURSOR FOR SELECT * FROM v",
            "FETCH 2 FROM c",
            "ROLLBACK TO s",
            "COMMIT",
        ],
        &["v 2 failed"],
    ),
    (
        "cursor_of_a_released_savepoint",
        &[
            "BEGIN",
            "SAVEPOINT s",
            "DECLARE c CURSOR FOR SELECT * FROM v",
            "FETCH 2 FROM c",
            "RELEASE s",
            "SAVEPOINT t",
            "FETCH 2 FROM c",
            "ROLLBACK TO t",
            "FETCH 2 FROM c",
            "COMMIT",
        ],
        &["v 6 completed"],
    ),
    (
        "cursor_that_fails_in_a_savepoint",
        &[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT 1 / (5 - id) FROM v",
            "FETCH 2 FROM c",
            "SAVEPOINT s",
            "!22012 FETCH 5 FROM c",
            "ROLLBACK TO s",
            "COMMIT",
        ],
        &["v 4 failed"],
    ),
    ("half_way", &["!22012 SELECT 1 / (5 - id) FROM v"], &["v 4 failed"]),
    (
        "half_way_in_a_transaction",
        &[
            "BEGIN",
            "SELECT * FROM v",
            "!22012 SELECT 1 / (5 - id) FROM v",
            "ROLLBACK",
        ],
        &["v 10 completed", "v 4 failed"],
    ),
    (
        "rolled_back",
        &["BEGIN", "SELECT * FROM v", "ROLLBACK"],
        &["v 10 completed"],
    ),
    (
        "savepoints",
        &[
            "BEGIN",
            "SELECT * FROM v LIMIT 1",
            "SAVEPOINT s",
            "SELECT * FROM v LIMIT 2",
            "ROLLBACK TO s",
            "SELECT * FROM v LIMIT 3",
            "COMMIT",
        ],
        &["v 1 completed", "v 2 completed", "v 3 completed"],
    ),
    (
        "repeatable_read",
        &[
            "BEGIN ISOLATION LEVEL REPEATABLE READ",
            "SELECT * FROM v",
            "SELECT * FROM v LIMIT 1",
            "COMMIT",
        ],
        &["v 10 completed", "v 1 completed"],
    ),
    (
        "serializable",
        &["BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT * FROM v", "COMMIT"],
        &["v 10 completed"],
    ),
    (
        "prepared_transaction",
        &[
            "BEGIN",
            "SELECT * FROM v",
            "PREPARE TRANSACTION 'audited'",
            "COMMIT PREPARED 'audited'",
        ],
        &["v 10 completed"],
    ),
    ("function", &["SELECT read_it(5)"], &["v 1 completed"]),
    (
        "function_for_each_row",
        &["SELECT read_it(n) FROM generate_series(1, 2) AS n"],
        &["v 1 completed", "v 1 completed"],
    ),
    (
        "function_of_sql",
        &["SELECT * FROM rows_of_sql() LIMIT 4"],
        &["v 4 completed"],
    ),
    (
        "function_that_is_lazy",
        &["SELECT lazy_rows() LIMIT 4"],
        &["v 4 completed"],
    ),
    (
        "loop",
        &["DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM v LOOP EXIT WHEN r.id = 3; END LOOP; END $$"],
        &["v 3 completed"],
    ),
    (
        "loops",
        &["DO $$ BEGIN FOR n IN 1 .. 3 LOOP PERFORM * FROM v LIMIT n; END LOOP; END $$"],
        &["v 1 completed", "v 2 completed", "v 3 completed"],
    ),
    (
        "caught",
        &["DO $$ BEGIN PERFORM 1 / (5 - id) FROM v; EXCEPTION WHEN division_by_zero THEN NULL; END $$"],
        &["v 4 failed"],
    ),
    (
        "procedure_that_commits",
        &["DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM v LOOP COMMIT; END LOOP; END $$"],
        &["v 10 completed"],
    ),
    (
        "create_table_as",
        &["CREATE TABLE copied AS SELECT * FROM v", "DROP TABLE copied"],
        &["v 10 completed"],
    ),
    (
        "create_table_without_data",
        &[
            "CREATE TABLE copied AS SELECT * FROM v WITH NO DATA",
            "DROP TABLE copied",
        ],
        &[],
    ),
    (
        "select_into",
        &["SELECT * INTO copied FROM v", "DROP TABLE copied"],
        &["v 10 completed"],
    ),
    (
        "materialized_view",
        &[
            "CREATE MATERIALIZED VIEW copied AS SELECT * FROM v",
            "REFRESH MATERIALIZED VIEW copied",
            "DROP MATERIALIZED VIEW copied",
        ],
        &["v 10 completed", "v 10 completed"],
    ),
    (
        "insert_select",
        &[
            "CREATE TEMP TABLE kept (id int)",
            "INSERT INTO kept SELECT id FROM v",
            "DROP TABLE kept",
        ],
        &["v 10 completed"],
    ),
    (
        "writing_cte",
        &[
            "CREATE TEMP TABLE kept (id int)",
            "WITH k AS (INSERT INTO kept SELECT id FROM v RETURNING id) SELECT max(id) FROM k",
            "DROP TABLE kept",
        ],
        &["v 1 completed"],
    ),
    (
        "update_from",
        &[
            "CREATE TEMP TABLE kept (id int, word text)",
            "INSERT INTO kept VALUES (1), (2), (77)",
            "UPDATE kept SET word = v.word FROM v WHERE v.id = kept.id",
            "DELETE FROM kept USING v WHERE v.id = kept.id",
            "MERGE INTO kept USING v ON v.id = kept.id WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.word)",
            "DROP TABLE kept",
        ],
        &["v 2 completed", "v 2 completed", "v 10 completed"],
    ),
    ("copy", &["COPY (SELECT * FROM v) TO STDOUT"], &["v 10 completed"]),
    ("view_over_it", &["SELECT * FROM over_v"], &["v 10 completed"]),
    (
        "twice",
        &["SELECT * FROM v AS a JOIN v AS b USING (id)"],
        &["v 10 completed"],
    ),
    (
        "twice_by_a_view",
        &["SELECT * FROM v JOIN over_v USING (id)"],
        &["v 10 completed"],
    ),
    (
        "two_views",
        &["SELECT * FROM v JOIN w USING (id)"],
        &["v 10 completed", "w 10 completed"],
    ),
    (
        "exists",
        &["SELECT 1 WHERE EXISTS (SELECT FROM v WHERE id = 3)"],
        &["v 1 completed"],
    ),
    (
        "in",
        &["SELECT n FROM generate_series(1, 3) AS n WHERE n IN (SELECT id FROM v)"],
        &["v 3 completed"],
    ),
    (
        "not_in",
        &["SELECT n FROM generate_series(1, 3) AS n WHERE n NOT IN (SELECT id FROM v)"],
        &["v 0 completed"],
    ),
    (
        "scalar",
        &["SELECT (SELECT word FROM v WHERE id = 3)"],
        &["v 1 completed"],
    ),
    (
        "cte",
        &["WITH x AS MATERIALIZED (SELECT * FROM v) SELECT * FROM x WHERE id < 3"],
        &["v 2 completed"],
    ),
    (
        "lateral",
        &["SELECT * FROM generate_series(1, 2) AS n, LATERAL (SELECT * FROM v WHERE id = n) AS x"],
        &["v 2 completed"],
    ),
    (
        "union",
        &["SELECT id FROM v UNION ALL SELECT id FROM v"],
        &["v 20 completed"],
    ),
    (
        "outer_join",
        &["SELECT * FROM generate_series(1, 3) AS n LEFT JOIN v ON v.id = n AND v.id = 2"],
        &["v 3 completed"],
    ),
    (
        "recursive",
        &["WITH RECURSIVE r AS (SELECT 1 AS id UNION SELECT v.id FROM r JOIN v ON v.id = r.id + 1) SELECT * FROM r"],
        &["v 10 completed"],
    ),
    ("for_update", &["!42501 SELECT * FROM v FOR UPDATE"], &[]),
    (
        "after_discard_all",
        &["DISCARD PLANS", "SELECT * FROM v"],
        &["v 10 completed"],
    ),
    (
        "trigger",
        &["INSERT INTO watched SELECT id FROM v LIMIT 3"],
        &["v 3 completed", "v 1 completed", "v 2 completed", "v 3 completed"],
    ),
    (
        "deferred_trigger",
        &["BEGIN", "INSERT INTO deferred VALUES (2), (3)", "COMMIT"],
        &["v 2 completed", "v 3 completed"],
    ),
    (
        "cancelled",
        &[
            "SET statement_timeout = '150ms'",
            "!57014 SELECT pg_sleep(0.04 * id) FROM v",
            "RESET statement_timeout",
        ],
        &["v ? failed"],
    ),
    (
        "named_only",
        &["SELECT 'v'::regclass, has_table_privilege('w', 'SELECT'), pg_get_viewdef('v'::regclass)"],
        &[],
    ),
];

fn every_way(settings: &[&str]) {
    let cluster = Cluster::start(settings);
    let world = World::on(&cluster.server);
    let mut admin = world.db.connect();
    let mut c = world.reader();
    execute(
        &mut c,
        "CREATE FUNCTION read_it(n integer) RETURNS bigint LANGUAGE plpgsql AS
             $$ BEGIN RETURN count(*) FROM (SELECT * FROM v LIMIT n) AS x; END $$;
         CREATE FUNCTION rows_of_sql() RETURNS SETOF integer LANGUAGE sql STABLE AS 'SELECT id FROM v';
         CREATE FUNCTION lazy_rows() RETURNS SETOF integer LANGUAGE sql VOLATILE AS 'SELECT id FROM v';
         CREATE VIEW over_v AS SELECT id, upper(word) AS loud FROM v;
         CREATE TABLE watched (id int);
         CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM FROM v LIMIT NEW.id; RETURN NEW; END $$;
         CREATE TRIGGER watch BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION watch();
         CREATE TABLE deferred (id int);
         CREATE CONSTRAINT TRIGGER watch AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION watch();
         GRANT SELECT ON over_v TO PUBLIC",
    );
    for (name, steps, _) in WAYS {
        act(&mut c, "alice", name);
        for sql in *steps {
            step(&mut c, sql);
        }
    }
    settle(&mut admin);
    let lines = logged(&cluster);
    let mut wrong = Vec::new();
    for (name, _, expected) in WAYS {
        let mut found = events(&mut admin, &format!("request_id = '{name}'"));
        let written: Vec<String> = admin
            .query(
                "SELECT audit_id::text FROM authz.access_audit_event WHERE request_id = $1",
                &[name],
            )
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        // What is prepared is a row and a line: the line says which row it would become.
        let fresh = |l: &&Value| l["request_id"] == *name && !written.iter().any(|id| l["audit_id"] == *id.as_str());
        found.extend(lines.iter().filter(fresh).map(|l| {
            format!(
                "{} {} {}",
                l["resource_id"]
                    .as_str()
                    .unwrap_or_default()
                    .trim_start_matches("public."),
                l["context"]["rows"],
                l["context"]["outcome"].as_str().unwrap_or_default()
            )
        }));
        // How far one that is cancelled comes is not known.
        if *name == "cancelled" {
            assert_eq!(found.len(), 1, "{name}: {found:?}");
            assert!(
                found[0].ends_with("failed") && found[0] != "v 10 failed",
                "{name}: {found:?}"
            );
            continue;
        }
        let mut expected: Vec<String> = expected.iter().map(|e| (*e).to_owned()).collect();
        found.sort();
        expected.sort();
        if found != expected {
            wrong.push(format!("{name}: {found:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Nothing is left of what was held for a crash, and the server is well.
    assert!(!cluster.log().contains("terminated by signal"));
    let principals: i64 = value(
        &mut admin,
        "SELECT count(*) FROM authz.access_audit_event
          WHERE action_code = 'audited_view.read' AND principal_id IS DISTINCT FROM $1",
        &[&id("alice")],
    );
    assert_eq!(principals, 0);
}

#[test]
fn r43_each_way_of_reading_leaves_one_event_with_workers() {
    every_way(PRELOADED);
}

#[test]
fn r43_each_way_of_reading_leaves_one_event_without_workers() {
    every_way(BARE);
}

#[test]
fn r43_a_backend_that_never_called_the_library_leaves_events_too() {
    let world = World::new();
    let mut admin = world.db.connect();
    for (n, steps) in [
        &["SELECT * FROM v"][..],
        &["PREPARE p AS SELECT * FROM v", "EXECUTE p"],
        &[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT * FROM v",
            "FETCH ALL FROM c",
            "COMMIT",
        ],
        &["EXPLAIN ANALYZE SELECT * FROM v"],
        &["COPY (SELECT * FROM v) TO STDOUT"],
        &["DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM v LOOP NULL; END LOOP; END $$"],
    ]
    .iter()
    .enumerate()
    {
        let mut c = world.reader();
        steps.iter().for_each(|sql| step(&mut c, sql));
        let found = events(
            &mut admin,
            &format!(
                "principal_id IS NULL AND asked_by IS NULL AND db_role = '{}'",
                world.reader
            ),
        );
        assert_eq!(found, vec!["v 10 completed"; n + 1], "{steps:?}");
        let principal: Option<uuid::Uuid> = value(&mut c, "SELECT authz_principal()", &[]);
        assert_eq!(principal, None);
    }
    // The extended protocol, by which drivers read: rows in portions, and a portal that is left before its end.
    let mut c = world.reader();
    assert_eq!(c.query("SELECT * FROM v WHERE id > $1", &[&7]).unwrap().len(), 3);
    let mut transaction = c.transaction().unwrap();
    let portal = transaction.bind("SELECT * FROM v", &[]).unwrap();
    assert_eq!(transaction.query_portal(&portal, 4).unwrap().len(), 4);
    assert_eq!(transaction.query_portal(&portal, 2).unwrap().len(), 2);
    transaction.commit().unwrap();
    let found = events(&mut admin, &format!("db_role = '{}'", world.reader));
    assert_eq!(found[6..], ["v 3 completed", "v 6 completed"]);
}
