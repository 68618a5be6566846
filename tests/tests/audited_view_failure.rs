//! Audited views (R43) where events cannot be written, or the server fails: the read fails, or its event is found elsewhere.

use std::time::Duration;

use authz_tests::cluster::{Cluster, kill};
use authz_tests::make::id;
use authz_tests::reading::{World, act, events, lines, logged, settle};
use authz_tests::waiting::{soon, until_it_waits};
use authz_tests::{Server, execute, refused, refused_with_hint, value};
use postgres::Client;

const PRELOADED: &[&str] = &["shared_preload_libraries = authz_ext", "max_prepared_transactions = 5"];
const BARE: &[&str] = &["max_prepared_transactions = 5"];

/// What was logged of a request, as `events` has it.
fn in_log(cluster: &Cluster, request: &str) -> Vec<String> {
    logged(cluster)
        .iter()
        .filter(|l| l["request_id"] == request)
        .map(|l| {
            format!(
                "{} {} {}",
                l["resource_id"]
                    .as_str()
                    .unwrap_or_default()
                    .trim_start_matches("public."),
                l["context"]["rows"],
                l["context"]["outcome"].as_str().unwrap_or_default()
            )
        })
        .collect()
}

/// From now on no event can be written.
const BREAK: &str = "CREATE FUNCTION public.broken() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'no room'; END $$;
    CREATE TRIGGER broken BEFORE INSERT ON authz.access_audit_event FOR EACH ROW EXECUTE FUNCTION public.broken()";

#[test]
fn where_nothing_can_be_written_the_read_fails_before_its_first_row() {
    let world = World::new();
    let mut admin = world.db.connect();
    let mut c = world.reader();
    for begin in [
        "BEGIN READ ONLY",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
        "BEGIN; SET TRANSACTION READ ONLY",
    ] {
        for sql in [
            "SELECT * FROM v",
            "DECLARE c CURSOR FOR SELECT * FROM v",
            "EXPLAIN ANALYZE SELECT * FROM v",
            "DO $$ BEGIN PERFORM FROM v; END $$",
        ] {
            execute(&mut c, begin);
            refused_with_hint(&mut c, sql, "0A000", &["public.v", "read-only"]);
            execute(&mut c, "ROLLBACK");
        }
        execute(&mut c, &format!("{begin}; EXPLAIN SELECT * FROM v; COMMIT"));
    }
    execute(&mut c, "SET default_transaction_read_only = on");
    refused(&mut c, "SELECT * FROM v", "0A000", &[]);
    execute(&mut c, "RESET default_transaction_read_only");
    assert!(events(&mut admin, "true").is_empty());

    execute(&mut admin, BREAK);
    act(&mut c, "alice", "broken");
    for sql in [
        "SELECT * FROM v",
        "COPY (SELECT * FROM v) TO STDOUT",
        "CREATE TEMP TABLE t AS SELECT * FROM v",
    ] {
        let failed = if sql.starts_with("COPY") {
            let outcome = c
                .copy_out(sql)
                .map(|mut r| std::io::Read::read_to_end(&mut r, &mut Vec::new()));
            !matches!(outcome, Ok(Ok(n)) if n > 0)
        } else {
            c.batch_execute(sql).is_err()
        };
        assert!(failed, "{sql}");
    }
    refused(
        &mut c,
        "BEGIN; DECLARE c CURSOR FOR SELECT * FROM v",
        "53100",
        &["no room"],
    );
    execute(&mut c, "ROLLBACK");
    // An error that is caught leaves everything in order.
    execute(
        &mut c,
        "DO $$ BEGIN
             FOR n IN 1 .. 3 LOOP
                 BEGIN PERFORM FROM v; RAISE 'read'; EXCEPTION WHEN disk_full THEN NULL; END;
             END LOOP;
         END $$",
    );
    execute(&mut admin, "DROP TRIGGER broken ON authz.access_audit_event");
    assert!(events(&mut admin, "true").is_empty());
    execute(&mut c, "SELECT * FROM v");
    assert_eq!(events(&mut admin, "true"), ["v 10 completed"]);
    // A trigger that reads what it is fired by reading has no end: an error, not a crash.
    execute(
        &mut admin,
        "CREATE FUNCTION public.endless() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM FROM public.v; RETURN NEW; END $$;
         CREATE TRIGGER endless BEFORE INSERT ON authz.access_audit_event FOR EACH ROW EXECUTE FUNCTION public.endless()",
    );
    refused(&mut c, "SELECT * FROM v", "54001", &[]);
    execute(&mut admin, "DROP TRIGGER endless ON authz.access_audit_event");
    execute(&mut c, "SELECT * FROM v");
    assert_eq!(events(&mut admin, "true").len(), 2);
}

/// What is found out only at the end, when rows were given away already: the transaction fails, and the event is elsewhere.
#[test]
fn what_cannot_be_written_at_the_end_is_not_lost() {
    for settings in [PRELOADED, BARE] {
        let cluster = Cluster::start(settings);
        let world = World::on(&cluster.server);
        let mut admin = world.db.connect();
        let mut c = world.reader();
        let expect = |admin: &mut Client, request: &str, expected: &str| {
            settle(admin);
            let mut found = events(admin, &format!("request_id = '{request}'"));
            found.extend(in_log(&cluster, request));
            assert_eq!(found, [expected], "{request}");
        };
        act(&mut c, "alice", "read only meanwhile");
        execute(
            &mut c,
            "BEGIN; DECLARE c CURSOR FOR SELECT * FROM v; SET TRANSACTION READ ONLY; FETCH 3 FROM c",
        );
        refused(&mut c, "COMMIT", "0A000", &[]);
        expect(&mut admin, "read only meanwhile", "v 3 failed");

        act(&mut c, "alice", "broken meanwhile");
        execute(&mut c, "BEGIN; DECLARE c CURSOR FOR SELECT * FROM v; FETCH 3 FROM c");
        settle(&mut admin);
        execute(&mut admin, BREAK);
        refused(&mut c, "CLOSE c", "53100", &[]);
        execute(&mut c, "ROLLBACK");
        settle(&mut admin);
        execute(&mut admin, "DROP TRIGGER broken ON authz.access_audit_event");
        expect(&mut admin, "broken meanwhile", "v 3 failed");

        // Who waits to write is cancelled, or terminated.
        for how in ["cancel", "terminate"] {
            let request = format!("to {how}");
            let mut d = world.reader();
            act(&mut d, "alice", &request);
            execute(&mut d, "BEGIN; DECLARE c CURSOR FOR SELECT * FROM v; FETCH 3 FROM c");
            let pid: i32 = value(&mut d, "SELECT pg_backend_pid()", &[]);
            let mut holder = world.db.connect();
            // The lock of the rehearsal is gone with it.
            execute(
                &mut holder,
                "BEGIN; LOCK TABLE authz.access_audit_event IN ACCESS EXCLUSIVE MODE",
            );
            std::thread::scope(|scope| {
                let closing = scope.spawn(move || d.batch_execute("CLOSE c"));
                until_it_waits(&mut admin, pid);
                let _: bool = value(&mut admin, &format!("SELECT pg_{how}_backend($1)"), &[&pid]);
                assert!(closing.join().expect("no panic").is_err(), "{how}");
            });
            execute(&mut holder, "ROLLBACK");
            expect(&mut admin, &request, "v 3 failed");
        }
        assert!(!cluster.log().contains("terminated by signal"));
    }
}

/// PostgreSQL takes a cursor that could not be closed for an open one, after a rollback to before that: fetching from it
/// ended the server.
#[test]
fn a_cursor_whose_event_cannot_be_written_is_closed_all_the_same() {
    let cluster = Cluster::start(BARE);
    let world = World::on(&cluster.server);
    let mut admin = world.db.connect();
    let mut c = world.reader();
    let open = "BEGIN; DECLARE c CURSOR FOR SELECT * FROM v; FETCH 3 FROM c";
    let gone = |c: &mut Client| {
        refused(c, "FETCH 1 FROM c", "34000", &["does not exist"]);
        execute(c, "ROLLBACK TO s");
    };

    act(&mut c, "alice", "read only");
    execute(
        &mut c,
        &format!("{open}; SET TRANSACTION READ ONLY; SAVEPOINT s; CLOSE c; ROLLBACK TO s"),
    );
    gone(&mut c);
    refused(&mut c, "COMMIT", "0A000", &[]);

    act(&mut c, "alice", "broken");
    execute(&mut c, open);
    execute(&mut admin, BREAK);
    execute(&mut c, "SAVEPOINT s; CLOSE c; ROLLBACK TO s");
    gone(&mut c);
    refused(&mut c, "COMMIT", "53100", &[]);
    // Mended meanwhile, it is written after all.
    act(&mut c, "alice", "mended");
    execute(
        &mut admin,
        "ALTER TABLE authz.access_audit_event DISABLE TRIGGER broken",
    );
    execute(&mut c, open);
    execute(&mut admin, "ALTER TABLE authz.access_audit_event ENABLE TRIGGER broken");
    execute(
        &mut c,
        "DO $$ DECLARE c refcursor := 'c'; BEGIN CLOSE c; EXCEPTION WHEN disk_full THEN RAISE; END $$",
    );
    execute(&mut admin, "DROP TRIGGER broken ON authz.access_audit_event");
    execute(&mut c, "COMMIT");

    // Who waits to write is cancelled.
    act(&mut c, "alice", "in time");
    execute(&mut c, open);
    let mut holder = world.db.connect();
    execute(
        &mut holder,
        "BEGIN; LOCK TABLE authz.access_audit_event IN ACCESS EXCLUSIVE MODE",
    );
    execute(
        &mut c,
        "SAVEPOINT s; SET LOCAL statement_timeout = '200ms'; CLOSE c; ROLLBACK TO s",
    );
    gone(&mut c);
    execute(&mut holder, "ROLLBACK");
    execute(&mut c, "COMMIT");

    for request in ["read only", "broken", "mended", "in time"] {
        let mut found = events(&mut admin, &format!("request_id = '{request}'"));
        found.extend(in_log(&cluster, request));
        assert_eq!(found, ["v 3 completed"], "{request}");
    }
    assert!(!cluster.log().contains("terminated by signal"));
}

#[test]
fn where_its_owner_chose_so_the_event_goes_elsewhere() {
    for settings in [PRELOADED, BARE] {
        let cluster = Cluster::start(settings);
        let world = World::on(&cluster.server);
        let mut admin = world.db.connect();
        let mut c = world.reader();
        execute(
            &mut world.owner(),
            "SELECT authz_alter_audited_view('v', on_failure => 'log')",
        );
        let steps: &[(&str, &[&str], &[&str])] = &[
            ("writable", &["SELECT * FROM v"], &["v 10 completed"]),
            (
                "read only",
                &["BEGIN READ ONLY", "SELECT * FROM v LIMIT 2", "COMMIT"],
                &["v 2 completed"],
            ),
            (
                "read only, rolled back",
                &["BEGIN READ ONLY", "SELECT * FROM v LIMIT 2", "ROLLBACK"],
                &["v 2 completed"],
            ),
            (
                "read only meanwhile",
                &[
                    "BEGIN",
                    "DECLARE c CURSOR FOR SELECT * FROM v",
                    "SET TRANSACTION READ ONLY",
                    "FETCH 3 FROM c",
                    "COMMIT",
                ],
                &["v 3 completed"],
            ),
            (
                "rolled back",
                &["BEGIN", "SELECT * FROM v", "ROLLBACK"],
                &["v 10 completed"],
            ),
        ];
        for (request, sqls, _) in steps {
            act(&mut c, "alice", request);
            sqls.iter().for_each(|sql| execute(&mut c, sql));
        }
        settle(&mut admin);
        execute(&mut admin, BREAK);
        let broken: &[(&str, &[&str], &[&str])] = &[
            ("broken", &["SELECT * FROM v"], &["v 10 completed"]),
            (
                "broken in a transaction",
                &["BEGIN", "SELECT * FROM v", "SELECT 1", "COMMIT"],
                &["v 10 completed"],
            ),
            (
                "broken at the commit",
                &[
                    "BEGIN",
                    "DECLARE c CURSOR FOR SELECT * FROM v",
                    "FETCH 2 FROM c",
                    "COMMIT",
                ],
                &["v 2 completed"],
            ),
        ];
        for (request, sqls, _) in broken {
            act(&mut c, "alice", request);
            sqls.iter().for_each(|sql| execute(&mut c, sql));
        }
        // Of two views in a statement the stricter one decides.
        refused(&mut c, "SELECT * FROM v, w", "53100", &[]);
        settle(&mut admin);
        execute(&mut admin, "DROP TRIGGER broken ON authz.access_audit_event");
        settle(&mut admin);
        for (request, _, expected) in steps.iter().chain(broken) {
            let mut found = events(&mut admin, &format!("request_id = '{request}'"));
            found.extend(in_log(&cluster, request));
            assert_eq!(found, *expected, "{request}");
        }
        // Whoever cancels is not kept from it.
        act(&mut c, "alice", "cancelled");
        let mut holder = world.db.connect();
        execute(
            &mut holder,
            "BEGIN; LOCK TABLE authz.access_audit_event IN ACCESS EXCLUSIVE MODE",
        );
        execute(&mut c, "SET statement_timeout = '200ms'");
        refused(&mut c, "SELECT * FROM v", "57014", &[]);
        execute(&mut holder, "ROLLBACK");
        settle(&mut admin);
        let mut found = events(&mut admin, "request_id = 'cancelled'");
        found.extend(in_log(&cluster, "cancelled"));
        assert_eq!(found, ["v 10 failed"]);
    }
}

#[test]
fn r72_on_a_standby_the_read_fails_or_is_logged() {
    for library in [true, false] {
        let mut settings = vec!["wal_level = replica", "max_wal_senders = 4", "log_min_messages = error"];
        if library {
            settings.push("shared_preload_libraries = authz_ext");
        }
        let primary = Cluster::start(&settings);
        let world = World::on(&primary.server);
        execute(
            &mut world.owner(),
            "SELECT authz_alter_audited_view('w', on_failure => 'log')",
        );
        let standby = primary.standby_with(&settings[2..]);
        let connect = || -> Client { Server::connect(&standby.server, &world.db.name, &world.reader) };
        soon("the standby follows", || {
            standby
                .server
                .try_connect(&world.db.name, "postgres")
                .is_ok_and(|mut c| {
                    value::<i64>(
                        &mut c,
                        "SELECT count(*) FROM authz.audited_view WHERE on_failure = 'log'",
                        &[],
                    ) == 1
                })
        });
        let mut c = connect();
        refused_with_hint(&mut c, "SELECT * FROM v", "0A000", &["standby"]);
        act(&mut c, "alice", "standby");
        refused_with_hint(&mut c, "SELECT * FROM v", "0A000", &["standby"]);
        execute(&mut c, "SELECT * FROM w");
        execute(
            &mut c,
            "BEGIN; DECLARE c CURSOR FOR SELECT * FROM w; FETCH 2 FROM c; ROLLBACK",
        );
        assert_eq!(in_log(&standby, "standby"), ["w 10 completed", "w 2 failed"]);
        execute(&mut c, "EXPLAIN SELECT * FROM v");
    }
}

/// R50, PITFALLS 21: rows were given away, and then the server is gone.
#[test]
fn a_crash_leaves_no_read_without_a_trace() {
    let cluster = Cluster::start(PRELOADED);
    let world = World::on(&cluster.server);
    let mut committed = world.reader();
    act(&mut committed, "alice", "committed");
    execute(
        &mut committed,
        "SELECT * FROM v; BEGIN; SELECT * FROM w LIMIT 1; COMMIT",
    );
    let mut open = world.reader();
    act(&mut open, "alice", "open cursor");
    execute(&mut open, "BEGIN; DECLARE c CURSOR FOR SELECT * FROM v; FETCH 3 FROM c");
    let mut done = world.reader();
    act(&mut done, "bob", "not committed");
    execute(&mut done, "BEGIN; SELECT * FROM v, w LIMIT 2");
    let mut rolled_back = world.reader();
    act(&mut rolled_back, "bob", "rolled back");
    execute(&mut rolled_back, "BEGIN; SELECT * FROM v LIMIT 4; ROLLBACK");
    settle(&mut world.db.connect());
    let pid: i32 = value(&mut open, "SELECT pg_backend_pid()", &[]);
    kill(pid as u32);
    let mut admin = {
        let mut found = None;
        soon("the server is back", || {
            std::thread::sleep(Duration::from_millis(100));
            found = world.db.server.try_connect(&world.db.name, "postgres").ok();
            found.as_mut().is_some_and(|c| c.batch_execute("SELECT 1").is_ok())
        });
        found.expect("it is back")
    };
    let all = |admin: &mut Client| {
        soon("what was held is written", || {
            events(admin, "request_id IN ('open cursor', 'not committed')").len() == 3
        });
        settle(admin);
        for (request, expected) in [
            ("committed", &["v 10 completed", "w 1 completed"][..]),
            ("open cursor", &["v ? interrupted"]),
            ("not committed", &["v ? interrupted", "w ? interrupted"]),
            ("rolled back", &["v 4 completed"]),
        ] {
            assert_eq!(
                events(admin, &format!("request_id = '{request}'")),
                expected,
                "{request}"
            );
        }
    };
    all(&mut admin);
    let who: Option<uuid::Uuid> = value(
        &mut admin,
        "SELECT principal_id FROM authz.access_audit_event WHERE request_id = 'open cursor'",
        &[],
    );
    assert_eq!(who, Some(id("alice")));

    // The same by a power switch, and with a cursor that has stood open while the queue went round.
    let mut c = world.reader();
    act(&mut c, "bob", "long");
    execute(&mut c, "BEGIN; DECLARE c CURSOR FOR SELECT * FROM v; FETCH 3 FROM c");
    let mut busy = world.reader();
    for n in 0..40 {
        execute(
            &mut busy,
            &format!(
                "BEGIN; DO $$ BEGIN FOR n IN 1 .. 300 LOOP PERFORM FROM v LIMIT 1; END LOOP; END $$; {}",
                if n % 2 == 0 { "COMMIT" } else { "ROLLBACK" }
            ),
        );
    }
    settle(&mut admin);
    let before = logged(&cluster).len();
    drop((admin, busy));
    let cluster = cluster.crash(PRELOADED);
    let mut admin = Server::connect(&cluster.server, &world.db.name, "postgres");
    soon("what was held is written", || {
        // A backend that outlives the postmaster for a moment may still say how far it came.
        let found = events(&mut admin, "request_id = 'long'");
        found == ["v ? interrupted"] || found == ["v 3 failed"]
    });
    settle(&mut admin);
    assert_eq!(logged(&cluster).len(), before);
    assert_eq!(events(&mut admin, "request_id IS NULL").len() + before, 40 * 300);
    all(&mut admin);
}

#[test]
fn without_workers_the_log_says_that_a_read_began() {
    let cluster = Cluster::start(BARE);
    let world = World::on(&cluster.server);
    let mut c = world.reader();
    act(&mut c, "alice", "began");
    execute(&mut c, "BEGIN; DECLARE c CURSOR FOR SELECT * FROM v; FETCH 3 FROM c");
    let began = lines(&cluster.log(), "authz_ext read began: ");
    assert_eq!(began.len(), 1, "{began:#?}");
    assert_eq!(began[0]["request_id"], "began");
    assert_eq!(began[0]["context"]["rows"], serde_json::Value::Null);
    execute(&mut c, "COMMIT");
    // Delivered after a crash, it is a row where there is none, and else nothing.
    let mut admin = world.db.connect();
    let _: Vec<i32> = value(
        &mut admin,
        "SELECT authz.deliver_access_events($1)",
        &[&vec![began[0].to_string()]],
    );
    assert_eq!(events(&mut admin, "request_id = 'began'"), ["v 3 completed"]);
}
