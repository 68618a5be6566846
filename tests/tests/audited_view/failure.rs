//! Where events cannot be written: the read fails, or its event is found elsewhere (R43).

use crate::in_log;
use authz_tests::cluster::{BARE, Cluster, PRELOADED};
use authz_tests::reading::{BREAK, World, act, events, settle};
use authz_tests::waiting::until_it_waits;
use authz_tests::{execute, refused, refused_with_hint, value};
use postgres::Client;

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
