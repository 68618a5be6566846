//! Where the server fails, or is a standby (R43, R50, R72, PITFALLS 21).

use crate::in_log;
use authz_tests::cluster::{BARE, Cluster, PRELOADED, kill};
use authz_tests::make::id;
use authz_tests::reading::{World, act, events, lines, logged, settle};
use authz_tests::waiting::soon;
use authz_tests::{Server, execute, refused_with_hint, value};
use postgres::Client;
use std::time::Duration;

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
