//! Each way of reading leaves its events, in clusters with the library preloaded and without (R43).

use crate::{Way, by_itself, by_statement};
use authz_tests::cluster::{BARE, Cluster, PRELOADED};
use authz_tests::make::id;
use authz_tests::reading::{World, act, events, line_of, logged, settle};
use authz_tests::{execute, refused, report, value};
use postgres::Client;
use serde_json::Value;

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

/// All of them, in this order.
fn ways() -> impl Iterator<Item = &'static Way> {
    by_itself::WAYS.iter().chain(by_statement::WAYS)
}

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
    for (name, steps, _) in ways() {
        act(&mut c, "alice", name);
        for sql in *steps {
            step(&mut c, sql);
        }
    }
    settle(&mut admin);
    let lines = logged(&cluster);
    let mut wrong = Vec::new();
    for (name, _, expected) in ways() {
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
        found.extend(lines.iter().filter(fresh).map(line_of));
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

#[test]
fn a_parallel_plan_leaves_one_event() {
    let world = World::new();
    let mut admin = world.db.connect();
    let mut o = world.owner();
    execute(
        &mut o,
        "INSERT INTO reading SELECT n, 'word' FROM generate_series(11, 20000) AS n; ANALYZE reading",
    );
    let mut c = world.reader();
    execute(
        &mut c,
        "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
         SET max_parallel_workers_per_gather = 2",
    );
    for leader in ["on", "off"] {
        execute(&mut c, &format!("SET parallel_leader_participation = {leader}"));
        act(&mut c, "alice", leader);
        let plan: Vec<String> = c
            .query(
                "EXPLAIN (ANALYZE, COSTS OFF) SELECT count(*) FROM w WHERE word LIKE '%o%'",
                &[],
            )
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert!(plan.iter().any(|l| l.contains("Workers Launched: 2")), "{plan:#?}");
        assert_eq!(
            value::<i64>(&mut c, "SELECT count(*) FROM w WHERE word LIKE '%o%'", &[]),
            20000
        );
        execute(&mut c, "SELECT * FROM w WHERE word LIKE '%o%'");
        assert_eq!(
            events(&mut admin, &format!("request_id = '{leader}'")),
            ["w 1 completed", "w 1 completed", "w 20000 completed"]
        );
    }
    // A function that says it can be called in workers, where nothing can be written, does not read unseen.
    execute(
        &mut c,
        "CREATE FUNCTION hidden(n int) RETURNS bigint PARALLEL SAFE STABLE LANGUAGE plpgsql AS
             $$ BEGIN RETURN count(*) FROM w WHERE id = n; END $$",
    );
    let over = "SELECT sum(hidden(id)) FROM w WHERE id < 50 AND word LIKE '%o%'";
    let whole = "SELECT count(*) FROM w WHERE word LIKE '%o%' AND hidden(id) > 0 AND id < 50";
    for sql in [over, whole] {
        match c.batch_execute(sql) {
            Err(e) => assert_eq!(e.code().map(|c| c.code().to_owned()).as_deref(), Some("0A000"), "{sql}"),
            Ok(()) => {
                let nested = events(&mut admin, "true").len();
                assert!(nested >= 49, "{sql}: {nested} events");
            }
        }
    }
}
